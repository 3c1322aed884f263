// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "cuda_scalars.cuh"
#include "map_operators.hpp"

#include <tessera/kmap/build.cuh>

#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_IMPL(tessera, CUDA, library)
{
  tessera_torch::MapOperators<tessera::Device>::add_to(library);
}
