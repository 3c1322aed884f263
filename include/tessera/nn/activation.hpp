// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/row_module.hpp>
#include <tessera/ops/activation.hpp>

namespace tessera {
inline namespace v0 {
namespace nn {

/// An activation as a module, of features or of the rows of a matrix. Its base says which one it is, for an
/// Epilogue.
template <int Dim, class Scalar, class Space, template <class> class Function>
class ActivationModule : public RowModule<Dim, Scalar, Space>, public ops::ActivationInfo {
 public:
  using typename RowModule<Dim, Scalar, Space>::Tensor;
  using Element = Function<accumulator_t<Scalar>>;

  explicit ActivationModule(Element const& function)
      : ops::ActivationInfo{Element::activation, detail::slope_of(function)}, function_{function}
  {}

  /// Cost, stream, determinism: as relu(). @throws invalid_argument  the tensor has no coordinates
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) final
  {
    return detail::activate(x, function_, exec);
  }
  [[nodiscard]] Matrix<Scalar, Space> forward(Matrix<Scalar, Space> const& x,
                                              Execution<Space> const& exec) final
  {
    return detail::activate(x, function_, exec);
  }
  /// The same of points.
  [[nodiscard]] PointTensor<Dim, Scalar, Space> forward(PointTensor<Dim, Scalar, Space> const& x,
                                                        Execution<Space> const& exec)
  {
    return detail::activate(x, function_, exec);
  }

 private:
  Element function_;
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
  explicit LeakyReLU(double negative_slope = 0.01)
      : ActivationModule<Dim, Scalar, Space, detail::LeakyReluFunction>{{static_cast<Sum>(negative_slope)}}
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
