// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#define TESSERA_COMPILED  // the kernels are in device.cu and device_bfloat16.cu
#include <tessera/compiled.cuh>

TESSERA_COMPILED_LAYERS(, 3, __nv_bfloat16, tessera::Device)
