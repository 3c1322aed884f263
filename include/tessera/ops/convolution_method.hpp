// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/conv/convolution_backward.hpp>
#include <tessera/ops/detail/product_gradients.hpp>

namespace tessera {
inline namespace v0 {

/// What a convolution is besides its tensors, weight and bias.
template <int Dim>
struct ConvolutionOptions {
  int out_channels = 0;
  ConvolutionKind kind = ConvolutionKind::submanifold;
  ConvolutionGeometry<Dim> geometry;
  ConvConfig config;
  Activation activation = Activation::none;
  float slope = 0.01F;  ///< of leaky_relu
};

namespace ops {

/// How a convolution is carried out whose choices were made at compile time: what a record keeps of its
/// ConvPolicy.
template <int Dim, class Scalar, class Space>
class ConvolutionMethod {
 public:
  constexpr ConvolutionMethod() = default;
  ConvolutionMethod(ConvolutionMethod const&) = delete;
  ConvolutionMethod& operator=(ConvolutionMethod const&) = delete;

  /// The name of the dataflow.
  [[nodiscard]] virtual char const* name() const noexcept = 0;
  /// Whether its dataflow applies an epilogue, and whether it may read two inputs side by side.
  [[nodiscard]] virtual bool has_epilogue() const noexcept = 0;
  [[nodiscard]] virtual bool reads_two_inputs() const noexcept = 0;

  /// kernel_map() of the policy. Errors, cost, stream, determinism: its.
  [[nodiscard]] virtual MappedCoordinates<Dim, Space> kernel_map(CoordinateSet<Dim, Space>& set,
                                                                 ConvolutionOptions<Dim> const& options,
                                                                 Execution<Space> const& exec) const = 0;
  /// forward() of the dataflow.
  virtual void forward(ConvolutionArguments<Scalar> const& arguments, KernelMap<Space>& map,
                       Execution<Space> const& exec) const = 0;
  /// convolution_backward_data() of the policy. Errors, cost, stream, determinism: its.
  [[nodiscard]] virtual Matrix<Scalar, Space> backward_data(MatrixView<Scalar const> const& grad,
                                                            WeightView<Scalar> const& weight,
                                                            KernelMap<Space>& map, MathMode math,
                                                            Execution<Space> const& exec) const = 0;
  /// Adds the gradient of a weight, by convolution_backward_weight() of the policy.
  virtual void add_weight_gradient(Gradients<Space>& gradients, VariableId weight,
                                   MatrixView<Scalar const> const& x, MatrixView<Scalar const> const& grad,
                                   KernelMap<Space>& map, Execution<Space> const& exec) const = 0;

 protected:
  ~ConvolutionMethod() = default;
};

}  // namespace ops

namespace detail {

template <class Policy, int Dim, class Scalar, class Space>
class PolicyMethod final : public ops::ConvolutionMethod<Dim, Scalar, Space> {
 public:
  using Dataflow = typename Policy::dataflow;

  [[nodiscard]] char const* name() const noexcept override { return Dataflow::name; }
  [[nodiscard]] bool has_epilogue() const noexcept override { return tessera::has_epilogue<Dataflow>::value; }
  [[nodiscard]] bool reads_two_inputs() const noexcept override
  {
    return tessera::reads_two_inputs<Dataflow>::value;
  }
  [[nodiscard]] MappedCoordinates<Dim, Space> kernel_map(CoordinateSet<Dim, Space>& set,
                                                         ConvolutionOptions<Dim> const& options,
                                                         Execution<Space> const& exec) const override
  {
    return tessera::kernel_map<typename Policy::kmap, typename Policy::downsample>(
        set, options.kind, options.geometry, options.config.compat, exec);
  }
  void forward(ConvolutionArguments<Scalar> const& arguments, KernelMap<Space>& map,
               Execution<Space> const& exec) const override
  {
    Dataflow::forward(arguments, map, exec);
  }
  [[nodiscard]] Matrix<Scalar, Space> backward_data(MatrixView<Scalar const> const& grad,
                                                    WeightView<Scalar> const& weight, KernelMap<Space>& map,
                                                    MathMode math,
                                                    Execution<Space> const& exec) const override
  {
    return convolution_backward_data<Policy>(grad, weight, map, math, exec);
  }
  void add_weight_gradient(ops::Gradients<Space>& gradients, VariableId weight,
                           MatrixView<Scalar const> const& x, MatrixView<Scalar const> const& grad,
                           KernelMap<Space>& map, Execution<Space> const& exec) const override
  {
    detail::add_weight_gradient<Policy>(gradients, weight, x, grad, map, exec);
  }
};

/// The method of a ConvPolicy, which lives as long as the program.
template <class Policy, int Dim, class Scalar, class Space>
[[nodiscard]] ops::ConvolutionMethod<Dim, Scalar, Space> const& policy_method() noexcept
{
  static PolicyMethod<Policy, Dim, Scalar, Space> const method;
  return method;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
