// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Tuning of layers on the device.

#include <tessera/conv/convolution.cuh>
#include <tessera/nn/detail/tune_backend.cuh>
#include <tessera/nn/tune.hpp>
