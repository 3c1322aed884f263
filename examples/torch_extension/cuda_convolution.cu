// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "convolution_operators.hpp"
#include "cuda_scalars.cuh"

#include <tessera/conv/convolution.cuh>

#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_IMPL(tessera, CUDA, library)
{
  tessera_torch::ConvolutionOperators<tessera::Device>::add_to(library);
}
