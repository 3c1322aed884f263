// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/collate.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Several tensors as one batch: rows one tensor after the other, batch entries as collate_coordinates()
/// says, so that tensors of one cloud each become entries 0, 1, 2, ...
///
/// @throws invalid_argument  the tensors have different numbers of channels, and what collate_coordinates()
/// says
/// Cost: one copy.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
/// Source: TorchSparse's sparse_collate, which drops spatial ranges where this keeps them.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sparse_collate(
    std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors, Execution<Space> const& exec)
{
  std::vector<CoordinateSetPointer<Dim, Space>> sets;
  for (auto const& tensor : tensors) {
    detail::expects(tensor.channels() == tensors.front().channels(), "sparse_collate: tensors of ",
                    tensors.front().channels(), " and ", tensor.channels(), " channels");
    sets.push_back(tensor.coordinates());
  }
  auto coordinates = collate_coordinates<Dim, Space>(sets, exec);
  Matrix<Scalar, Space> features{coordinates->num_rows(), tensors.front().channels(), exec};
  auto* to = features.data();
  for (auto const& tensor : tensors) {
    auto const size = tensor.num_rows() * tensor.channels();
    detail::Transfer<Space>::copy(to, tensor.features().data, static_cast<std::size_t>(size) * sizeof(Scalar),
                                  exec);
    to += size;
  }
  return {std::move(coordinates), std::move(features)};
}

}  // namespace v0
}  // namespace tessera
