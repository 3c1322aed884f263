// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/module.hpp>
#include <tessera/ops/pooling.hpp>

namespace tessera {
inline namespace v0 {
namespace nn {

/// max_pool() as a module (spconv's SparseMaxPool).
template <int Dim, class Scalar, class Space = Device>
class MaxPool final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  explicit MaxPool(PoolOptions<Dim> const& options) : options_{options} {}

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return max_pool(x, options_, exec);
  }
  [[nodiscard]] PoolOptions<Dim>& options() noexcept { return options_; }

 private:
  PoolOptions<Dim> options_;
};

/// average_pool() as a module (spconv's SparseAvgPool).
template <int Dim, class Scalar, class Space = Device>
class AveragePool final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  explicit AveragePool(PoolOptions<Dim> const& options) : options_{options} {}

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return average_pool(x, options_, exec);
  }
  [[nodiscard]] PoolOptions<Dim>& options() noexcept { return options_; }

 private:
  PoolOptions<Dim> options_;
};

/// sum_pool() as a module (MinkowskiEngine's MinkowskiSumPooling).
template <int Dim, class Scalar, class Space = Device>
class SumPool final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  explicit SumPool(PoolOptions<Dim> const& options) : options_{options} {}

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return sum_pool(x, options_, exec);
  }
  [[nodiscard]] PoolOptions<Dim>& options() noexcept { return options_; }

 private:
  PoolOptions<Dim> options_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
