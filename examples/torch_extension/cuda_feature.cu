// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "cuda_scalars.cuh"
#include "feature_operators.hpp"

#include <tessera/conv/convolution.cuh>

#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_IMPL(tessera, CUDA, library)
{
  tessera_torch::FeatureOperators<tessera::Device>::add_to(library);
}
