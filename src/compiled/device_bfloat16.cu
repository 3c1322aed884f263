// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include <tessera/compiled.cuh>

template struct tessera::ConvolutionKernels<__nv_bfloat16>;
