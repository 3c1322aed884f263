// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/module.hpp>
#include <tessera/ops/pool_over_map.hpp>
#include <tessera/ops/pooling.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What the modules of pools have in common.
template <PoolKind Kind, int Dim, class Scalar, class Space>
class PoolModule : public nn::Module<Dim, Scalar, Space> {
 public:
  using typename nn::Module<Dim, Scalar, Space>::Tensor;

  explicit PoolModule(PoolOptions<Dim> const& options) : options_{options} {}

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    if constexpr (Kind == PoolKind::max) {
      return max_pool(x, options_, exec);
    } else if constexpr (Kind == PoolKind::average) {
      return average_pool(x, options_, exec);
    } else {
      return sum_pool(x, options_, exec);
    }
  }
  [[nodiscard]] PoolOptions<Dim>& options() noexcept { return options_; }

 private:
  PoolOptions<Dim> options_;
};

}  // namespace detail

namespace nn {

/// max_pool() as a module (spconv's SparseMaxPool).
template <int Dim, class Scalar, class Space = Device>
class MaxPool final : public detail::PoolModule<PoolKind::max, Dim, Scalar, Space> {
 public:
  using detail::PoolModule<PoolKind::max, Dim, Scalar, Space>::PoolModule;
};

/// average_pool() as a module (spconv's SparseAvgPool).
template <int Dim, class Scalar, class Space = Device>
class AveragePool final : public detail::PoolModule<PoolKind::average, Dim, Scalar, Space> {
 public:
  using detail::PoolModule<PoolKind::average, Dim, Scalar, Space>::PoolModule;
};

/// sum_pool() as a module (MinkowskiEngine's MinkowskiSumPooling).
template <int Dim, class Scalar, class Space = Device>
class SumPool final : public detail::PoolModule<PoolKind::sum, Dim, Scalar, Space> {
 public:
  using detail::PoolModule<PoolKind::sum, Dim, Scalar, Space>::PoolModule;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
