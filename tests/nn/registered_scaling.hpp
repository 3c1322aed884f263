// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/layer_registry.hpp>
#include <tessera/ops/combine.hpp>

#include <memory>

namespace test {

/// A layer of the test's own: `times * x` by addition.
template <class Space>
class Scaling final : public tessera::nn::Module<3, float, Space> {
 public:
  using typename tessera::nn::Module<3, float, Space>::Tensor;

  explicit Scaling(int times) : times_{times} {}

  [[nodiscard]] Tensor forward(Tensor const& x, tessera::Execution<Space> const& exec) override
  {
    Tensor y = x;
    for (int i = 1; i < times_; ++i) { y = tessera::add(y, x, exec); }
    return y;
  }

 private:
  int times_;
};

/// Registers it as `name` with an option "times".
template <class Space>
bool register_scaling(char const* name)
{
  tessera::nn::layer_registry<3, float, Space>().add(
      name, [](tessera::nn::LayerConfig const& config, tessera::Execution<Space> const&) {
        config.expect_only({"times"});
        return std::make_unique<Scaling<Space>>(config.get("times", 2));
      });
  return true;
}

}  // namespace test
