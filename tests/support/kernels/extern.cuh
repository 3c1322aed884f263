// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Included first by every source of ours that convolves on the device (tessera_executable() in
// CMakeLists.txt): the kernels, which take minutes, are compiled once, in the .cu files beside this one.

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/core/scalar.cuh>

extern template struct tessera::ConvolutionKernels<float>;
extern template struct tessera::ConvolutionKernels<__half>;
extern template struct tessera::ConvolutionKernels<__nv_bfloat16>;
