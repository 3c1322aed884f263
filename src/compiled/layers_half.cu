// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#define TESSERA_COMPILED  // the kernels are in device.cu and device_half.cu
#include <tessera/compiled.cuh>

TESSERA_COMPILED_LAYERS(, 3, __half, tessera::Device)
