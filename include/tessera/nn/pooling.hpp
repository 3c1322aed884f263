// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/module.hpp>
#include <tessera/ops/global_pooling.hpp>

#include <optional>

namespace tessera {
inline namespace v0 {
namespace nn {

/// global_average_pool() as a module, from a sparse tensor to a matrix with a row per batch entry, which
/// Linear and the other layers of a head take; without a `compat` of its own, that of the calling thread's
/// configuration.
template <int Dim, class Scalar, class Space = Device>
class GlobalAveragePool final : public ModuleBase {
  static_assert(detail::layer::LayerArguments<Dim, Scalar, Space>::are_valid);

 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  explicit GlobalAveragePool(std::optional<Compatibility> compat = {}) : compat_{compat} {}

  [[nodiscard]] Matrix<Scalar, Space> forward(Tensor const& x, Execution<Space> const& exec) const
  {
    return global_average_pool(x, compat_ ? *compat_ : thread_conv_config().compat, exec);
  }
  [[nodiscard]] Matrix<Scalar, Space> operator()(Tensor const& x, Execution<Space> const& exec) const
  {
    return forward(x, exec);
  }

 private:
  std::optional<Compatibility> compat_;
};

/// global_max_pool() as a module, from a sparse tensor to a matrix with a row per batch entry.
template <int Dim, class Scalar, class Space = Device>
class GlobalMaxPool final : public ModuleBase {
  static_assert(detail::layer::LayerArguments<Dim, Scalar, Space>::are_valid);

 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  [[nodiscard]] Matrix<Scalar, Space> forward(Tensor const& x, Execution<Space> const& exec) const
  {
    return global_max_pool(x, exec);
  }
  [[nodiscard]] Matrix<Scalar, Space> operator()(Tensor const& x, Execution<Space> const& exec) const
  {
    return forward(x, exec);
  }
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
