// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/row_module.hpp>
#include <tessera/ops/activation.hpp>

namespace tessera {
inline namespace v0 {
namespace nn {

/// An activation as a module, of features or of the rows of a matrix. fuse() makes it a part of the layer
/// before, where that is a convolution and `Function` is one that it can take along.
template <int Dim, class Scalar, class Space, template <class> class Function>
class ActivationModule : public RowModule<Dim, Scalar, Space> {
 public:
  using typename RowModule<Dim, Scalar, Space>::Tensor;
  using Element = Function<accumulator_t<Scalar>>;

  explicit ActivationModule(Element const& function) : function_{function} {}

  /// Cost, stream, determinism: as relu(). @throws invalid_argument  the tensor has no coordinates
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) final
  {
    return in_layer_before_ ? x : detail::activate(x, function_, exec);
  }
  [[nodiscard]] Matrix<Scalar, Space> forward(Matrix<Scalar, Space> const& x,
                                              Execution<Space> const& exec) final
  {
    return in_layer_before_ ? copy(x, exec) : detail::activate(x, function_, exec);
  }
  /// The same of points.
  [[nodiscard]] PointTensor<Dim, Scalar, Space> forward(PointTensor<Dim, Scalar, Space> const& x,
                                                        Execution<Space> const& exec)
  {
    return detail::activate(x, function_, exec);
  }
  [[nodiscard]] Epilogue<Scalar> as_epilogue() const final
  {
    if constexpr (Element::activation == Activation::leaky_relu) {
      return {{}, Element::activation, static_cast<float>(function_.slope)};
    } else {
      return {{}, Element::activation};
    }
  }
  bool fuse_into(Module<Dim, Scalar, Space>& before, Execution<Space> const&) final
  {
    in_layer_before_ = in_layer_before_ || before.activate_output(this->as_epilogue());
    return in_layer_before_;
  }

 private:
  Element function_;
  bool in_layer_before_ = false;
};

/// relu() as a module.
template <int Dim, class Scalar, class Space = Device>
class ReLU final : public ActivationModule<Dim, Scalar, Space, detail::ReluFunction> {
 public:
  ReLU() : ActivationModule<Dim, Scalar, Space, detail::ReluFunction>{{}} {}
};

/// leaky_relu() as a module.
template <int Dim, class Scalar, class Space = Device>
class LeakyReLU final : public ActivationModule<Dim, Scalar, Space, detail::LeakyReluFunction> {
  using Sum = accumulator_t<Scalar>;

 public:
  explicit LeakyReLU(double slope = 0.01)
      : ActivationModule<Dim, Scalar, Space, detail::LeakyReluFunction>{{static_cast<Sum>(slope)}}
  {}
};

/// silu() as a module.
template <int Dim, class Scalar, class Space = Device>
class SiLU final : public ActivationModule<Dim, Scalar, Space, detail::SiluFunction> {
 public:
  SiLU() : ActivationModule<Dim, Scalar, Space, detail::SiluFunction>{{}} {}
};

/// sigmoid() as a module.
template <int Dim, class Scalar, class Space = Device>
class Sigmoid final : public ActivationModule<Dim, Scalar, Space, detail::SigmoidFunction> {
 public:
  Sigmoid() : ActivationModule<Dim, Scalar, Space, detail::SigmoidFunction>{{}} {}
};

/// tanh() as a module.
template <int Dim, class Scalar, class Space = Device>
class Tanh final : public ActivationModule<Dim, Scalar, Space, detail::TanhFunction> {
 public:
  Tanh() : ActivationModule<Dim, Scalar, Space, detail::TanhFunction>{{}} {}
};

/// gelu() as a module.
template <int Dim, class Scalar, class Space = Device>
class GELU final : public ActivationModule<Dim, Scalar, Space, detail::GeluFunction> {
 public:
  GELU() : ActivationModule<Dim, Scalar, Space, detail::GeluFunction>{{}} {}
};

/// Its input.
template <int Dim, class Scalar, class Space = Device>
class Identity final : public RowModule<Dim, Scalar, Space> {
 public:
  using typename RowModule<Dim, Scalar, Space>::Tensor;

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const&) override { return x; }
  /// A copy.
  /// Stream: enqueues it, does not wait.
  [[nodiscard]] Matrix<Scalar, Space> forward(Matrix<Scalar, Space> const& x,
                                              Execution<Space> const& exec) override
  {
    return copy(x, exec);
  }
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
