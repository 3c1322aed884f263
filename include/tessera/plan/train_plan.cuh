// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// TrainPlan on the device: what plan/train_plan.hpp says, as one CUDA graph.

#include <tessera/plan/detail/step_graph.cuh>
#include <tessera/train/gradient_reducer.cuh>
//
#include <tessera/plan/train_plan.hpp>
