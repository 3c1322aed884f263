// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Profiles of models on the device.

#include <tessera/conv/convolution.cuh>
#include <tessera/nn/detail/operation_clock.cuh>
#include <tessera/nn/profile.hpp>
