// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Coordinate sets on the device, and coords/quantize.hpp.

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/core/detail/scan.cuh>
#include <tessera/core/detail/sort.cuh>
#include <tessera/core/launch.cuh>
