// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/tensor/dense.hpp>

#include <optional>

namespace tessera {
inline namespace v0 {

/// How dense() lays out; without a range that of the tensor is taken.
template <int Dim>
struct DenseOptions {
  std::optional<SpatialRange<Dim>> range;
  DenseLayout layout = DenseLayout::channels_last;
};

}  // namespace v0
}  // namespace tessera
