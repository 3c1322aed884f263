// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Everything, for nvcc: the device's side of each stage, then what both spaces share.

#include <tessera/core/execution.cuh>
#include <tessera/core/launch.cuh>
#include <tessera/core/scalar.cuh>
#include <tessera/core/scan.cuh>
#include <tessera/core/sort.cuh>
//
#include <tessera/coords/detail/hard_voxels_device.cuh>
//
#include <tessera/kmap/detail/cut_tiles.cuh>
//
#include <tessera/conv/detail/convolution_device.cuh>
#include <tessera/nn/detail/tune_backend.cuh>
//
#include <tessera/plan/plan.cuh>
//
#include <tessera/tessera.hpp>
