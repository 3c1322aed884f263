// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What a test needs besides a stage's .hpp so that it also runs on the device.

#include "spaces.hpp"

#ifdef __CUDACC__
#include <tessera/core/detail/scan.cuh>
#include <tessera/core/detail/sort.cuh>
#include <tessera/core/launch.cuh>
#include <tessera/core/scalar.cuh>
#endif
