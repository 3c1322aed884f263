// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "feature_operators.hpp"

#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_IMPL(tessera, CPU, library)
{
  tessera_torch::FeatureOperators<tessera::Host>::add_to(library);
}
