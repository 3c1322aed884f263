// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/elementwise.hpp>
#include <tessera/nn/module.hpp>

#include <cmath>

namespace tessera {
inline namespace v0 {
namespace detail {

/// `slope * x` below 0, x from there on; NaN stays NaN.
template <class Sum>
struct LeakyReluFunction {
  Sum slope;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    return x[0] <= Sum{0} ? slope * x[0] : x[0];
  }
};

template <class Sum>
struct ReluFunction {
  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    return x[0] <= Sum{0} ? Sum{0} : x[0];
  }
};

template <class Sum>
struct SiluFunction {
  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    using std::exp;
    return x[0] / (Sum{1} + exp(-x[0]));
  }
};

template <int Dim, class Scalar, class Space, class Function>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> activate(SparseTensor<Dim, Scalar, Space> const& x,
                                                        Function const& function, char const* who,
                                                        Execution<Space> const& exec)
{
  expect_coordinates(x, who);
  return x.with_features(map_elements<Scalar>(function, exec, x.features()));
}

}  // namespace detail

/// `max(x, 0)` of every feature; NaN stays NaN.
/// Cost: one pass over the features. Stream: enqueues one kernel, does not wait. Determinism: same input,
/// same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> relu(SparseTensor<Dim, Scalar, Space> const& x,
                                                    Execution<Space> const& exec)
{
  return detail::activate(x, detail::ReluFunction<accumulator_t<Scalar>>{}, "relu", exec);
}

/// `x` where it is positive, else `slope * x`. Cost, stream, determinism: as relu().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> leaky_relu(SparseTensor<Dim, Scalar, Space> const& x,
                                                          double slope, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  return detail::activate(x, detail::LeakyReluFunction<Sum>{static_cast<Sum>(slope)}, "leaky_relu", exec);
}

/// `x / (1 + exp(-x))`. Cost, stream, determinism: as relu(), but host and device round exp() differently.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> silu(SparseTensor<Dim, Scalar, Space> const& x,
                                                    Execution<Space> const& exec)
{
  return detail::activate(x, detail::SiluFunction<accumulator_t<Scalar>>{}, "silu", exec);
}

namespace nn {

/// An activation as a module, of which fuse() makes a part of the layer before.
template <int Dim, class Scalar, class Space = Device>
class ActivationModule : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) final
  {
    return in_layer_before_ ? x : activate(x, exec);
  }
  bool fuse_into(Module<Dim, Scalar, Space>& before, Execution<Space> const&) final
  {
    in_layer_before_ = in_layer_before_ || before.activate_output(this->as_epilogue());
    return in_layer_before_;
  }

 protected:
  [[nodiscard]] virtual Tensor activate(Tensor const& x, Execution<Space> const& exec) const = 0;

 private:
  bool in_layer_before_ = false;
};

/// relu() as a module.
template <int Dim, class Scalar, class Space = Device>
class ReLU final : public ActivationModule<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  [[nodiscard]] Epilogue<Scalar> as_epilogue() const override { return {{}, Activation::relu}; }

 private:
  [[nodiscard]] Tensor activate(Tensor const& x, Execution<Space> const& exec) const override
  {
    return relu(x, exec);
  }
};

/// leaky_relu() as a module.
template <int Dim, class Scalar, class Space = Device>
class LeakyReLU final : public ActivationModule<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  explicit LeakyReLU(double slope = 0.01) : slope_{slope} {}

  [[nodiscard]] Epilogue<Scalar> as_epilogue() const override
  {
    return {{}, Activation::leaky_relu, static_cast<float>(slope_)};
  }

 private:
  [[nodiscard]] Tensor activate(Tensor const& x, Execution<Space> const& exec) const override
  {
    return leaky_relu(x, slope_, exec);
  }

  double slope_;
};

/// silu() as a module.
template <int Dim, class Scalar, class Space = Device>
class SiLU final : public ActivationModule<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  [[nodiscard]] Epilogue<Scalar> as_epilogue() const override { return {{}, Activation::silu}; }

 private:
  [[nodiscard]] Tensor activate(Tensor const& x, Execution<Space> const& exec) const override
  {
    return silu(x, exec);
  }
};

/// Its input.
template <int Dim, class Scalar, class Space = Device>
class Identity final : public Module<Dim, Scalar, Space> {
 public:
  using typename Module<Dim, Scalar, Space>::Tensor;

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const&) override { return x; }
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
