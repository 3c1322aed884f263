// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "cuda_scalars.cuh"
#include "voxel_operators.hpp"

#include <tessera/coords/voxelize.cuh>

#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_IMPL(tessera, CUDA, library)
{
  tessera_torch::VoxelOperators<tessera::Device>::add_to(library);
}
