// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Everything, for nvcc: the device's side of each stage, then what both spaces share.

#include <tessera/core/execution.cuh>
#include <tessera/core/launch.cuh>
#include <tessera/core/scalar.cuh>
//
#include <tessera/coords/coordinate_set.cuh>
#include <tessera/coords/voxelize.cuh>
//
#include <tessera/kmap/build.cuh>
//
#include <tessera/conv/convolution.cuh>
#include <tessera/nn/profile.cuh>
#include <tessera/nn/tune.cuh>
//
#include <tessera/train/gradient_reducer.cuh>
//
#include <tessera/plan/plan.cuh>
#include <tessera/plan/train_plan.cuh>
//
#include <tessera/tessera.hpp>

#ifdef TESSERA_COMPILED
#include <tessera/compiled.cuh>
#endif
