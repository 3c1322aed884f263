// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/matrix.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/ops/copy.hpp>

namespace tessera {
inline namespace v0 {
namespace nn {

/// A module that treats each row by itself, so that it takes a matrix as well as a sparse tensor: the layers
/// of a head behind global pooling, whose rows are batch entries.
template <int Dim, class Scalar, class Space = Device>
class RowModule : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  using Module<Dim, Scalar, Space>::forward;
  /// The same of the rows of a matrix in `Space`. Errors, cost, stream, determinism: those of the form for
  /// tensors.
  [[nodiscard]] virtual Matrix<Scalar, Space> forward(Matrix<Scalar, Space> const& x,
                                                      Execution<Space> const& exec) = 0;

  using Module<Dim, Scalar, Space>::operator();
  [[nodiscard]] Matrix<Scalar, Space> operator()(Matrix<Scalar, Space> const& x, Execution<Space> const& exec)
  {
    return forward(x, exec);
  }
};

}  // namespace nn

}  // namespace v0
}  // namespace tessera
