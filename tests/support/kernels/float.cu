// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/core/scalar.cuh>

template struct tessera::ConvolutionKernels<float>;
