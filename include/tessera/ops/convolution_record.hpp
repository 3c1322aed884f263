// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/conv/detail/names.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/detail/convolution_gradients.hpp>
#include <tessera/ops/record.hpp>
#include <tessera/ops/weight_source.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

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

}  // namespace ops

namespace detail {

/// What a convolution reads besides weight and bias.
template <int Dim, class Scalar, class Space>
struct ConvolutionInputs {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  Tensor const& x;
  Tensor const* second = nullptr;    // whose channels follow those of x, or none
  Tensor const* residual = nullptr;  // added before the activation, or none
};

/// Whether the kernel of a convolution of `channels` and `second_channels` side by side reads both as they are.
/// @param x, second  where the features are, of which the alignment counts
template <int Dim, class Scalar, class Space>
[[nodiscard]] bool reads_two_tensors(int channels, int second_channels, Scalar const* x, Scalar const* second,
                                     Scalar const* weight, ops::ConvolutionOptions<Dim> const& options,
                                     Execution<Space> const& exec)
{
  if (options.config.dataflow != Dataflow::implicit_gemm || options.config.splits != 1) { return false; }
  auto arguments = make_arguments<Scalar>(weight, nullptr, options.out_channels, options.config.math);
  arguments.kernel = options.config.kernel;
  arguments.features = x;
  arguments.in_channels = channels + second_channels;
  arguments.more = MatrixView<Scalar const>{second, 0, second_channels};
  return ConvolutionBackend<Space>::plan(arguments, {0, options.geometry.volume()}, 1, exec).reads_two_inputs;
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] bool reads_two_tensors(SparseTensor<Dim, Scalar, Space> const& a,
                                     SparseTensor<Dim, Scalar, Space> const& b, Scalar const* weight,
                                     ops::ConvolutionOptions<Dim> const& options,
                                     Execution<Space> const& exec)
{
  return reads_two_tensors<Dim, Scalar, Space>(a.channels(), b.channels(), a.features().data,
                                               b.features().data, weight, options, exec);
}

/// Throws unless the residual stands on the voxels of the output.
template <int Dim, class Scalar, class Space>
void expect_residual_fits(SparseTensor<Dim, Scalar, Space> const& x,
                          SparseTensor<Dim, Scalar, Space> const& residual,
                          ops::ConvolutionOptions<Dim> const& options, Execution<Space> const& exec)
{
  constexpr auto const* who = "convolution with a residual";
  if (options.kind == ConvolutionKind::submanifold) { return expect_same_voxels(x, residual, who); }
  expect_coordinates(x, who);
  auto const mapped = kernel_map(options.config, *x.coordinates(), options.kind, options.geometry, exec);
  expects(mapped.coordinates == residual.coordinates(), who,
          ": the residual is on another coordinate set than the output");
}

/// `activation(convolution(cat({x, second})) + residual)`. The two tensors are read as they are where the
/// kernel can, and are copied into one else.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolve_unrecorded(
    ConvolutionInputs<Dim, Scalar, Space> const& in, Scalar const* weight, Scalar const* bias,
    ops::ConvolutionOptions<Dim> const& options, ops::WeightSource<Scalar, Space> const* source,
    Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  auto arguments = make_arguments(weight, bias, options.out_channels, options.config.math);
  arguments.epilogue.activation = options.activation;
  arguments.epilogue.slope = options.slope;
  if (source != nullptr) { arguments.packed = source->packed(options.config, exec); }
  if (in.residual != nullptr) { arguments.epilogue.residual = in.residual->features(); }
  auto const run = [&](Tensor const& x) {
    if (in.residual != nullptr) { expect_residual_fits(x, *in.residual, options, exec); }
    return convolution(x, arguments, options.kind, options.geometry, options.config, exec);
  };
  if (in.second == nullptr) { return run(in.x); }
  expect_same_voxels(in.x, *in.second, "convolution of two tensors", "cat_by_coordinate()");
  if (!reads_two_tensors(in.x, *in.second, weight, options, exec)) {
    return run(cat({in.x, *in.second}, exec));
  }
  arguments.more = in.second->features();
  return run(in.x);
}

}  // namespace detail

namespace ops {

/// `y = activation(convolution(x) + residual)`, where `x` may be two tensors side by side.
template <int Dim, class Scalar, class Space>
struct ConvolutionRecord final
    : FunctionRecord<ConvolutionRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, std::vector<SparseTensor<Dim, Scalar, Space>>,
                     std::vector<SparseTensor<Dim, Scalar, Space>>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Variable = Recorded<Tensor>;
  using Variables = Recorded<std::vector<Tensor>>;

  ConvolutionRecord(Variable y, Variable x, Variables second, Variables residual)
      : ConvolutionRecord::FunctionRecord{std::move(y), std::move(x), std::move(second), std::move(residual)}
  {}

  [[nodiscard]] char const* name() const noexcept override { return "convolution"; }
  [[nodiscard]] std::vector<VariableId> parameters() const override { return {weight.id, bias.id}; }
  [[nodiscard]] Tensor compute(Tensor const& x, std::vector<Tensor> const& second,
                               std::vector<Tensor> const& residual, Execution<Space> const& exec) const
  {
    return detail::convolve_unrecorded<Dim, Scalar, Space>(
        {x, second.empty() ? nullptr : &second[0], residual.empty() ? nullptr : &residual[0]}, weight.data,
        bias.data, options, source.get(), exec);
  }

  [[nodiscard]] OperationWork work(Execution<Space> const& exec) const override;

  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override;
  void give_back_unread(Gradients<Space> const& gradients);
  void expect_unchanged() const override
  {
    ConvolutionRecord::FunctionRecord::expect_unchanged();
    detail::expect_unwritten(weight, name());
  }

  /// Whose channels follow those of the first input: one, or none.
  [[nodiscard]] Variables const& second() const noexcept { return this->template input<1>(); }
  /// What is added before the activation: one, or none.
  [[nodiscard]] Variables const& residual() const noexcept { return this->template input<2>(); }

  /// Whether backward() computes the sums before the activation again, since its output does not tell of them.
  [[nodiscard]] bool repeats_sums() const
  {
    return !detail::gradient_reads_output(options.activation, options.slope);
  }

  ParameterRef<Scalar> weight;                                // [volume, in_channels, out_channels]
  ParameterRef<Scalar> bias;                                  // [out_channels], or none
  std::shared_ptr<WeightSource<Scalar, Space> const> source;  // of the packed weight, or none
  int in_channels = 0;                                        // of all inputs
  int first_channels = 0;  // of the first one, which backward() reads; give_back_unread() notes it
  ConvolutionOptions<Dim> options;
};

template <int Dim, class Scalar, class Space>
OperationWork ConvolutionRecord<Dim, Scalar, Space>::work(Execution<Space> const& exec) const
{
  auto work = ConvolutionRecord::FunctionRecord::work(exec);
  auto const* const x = this->input().value();
  if (x == nullptr) { return work; }
  auto const& config = options.config;
  auto const map = detail::kernel_map(config, *x->coordinates(), options.kind, options.geometry, exec).map;
  detail::note_product<Scalar>(work, detail::count_pairs(*map, exec), map->volume(), in_channels,
                               options.out_channels);
  work.kernel = detail::name_of(config.dataflow);
  if (config.dataflow == Dataflow::implicit_gemm) {
    auto arguments =
        detail::make_arguments<Scalar>(weight.data, bias.data, options.out_channels, config.math);
    arguments.kernel = config.kernel;
    arguments.in_channels = in_channels;
    arguments.epilogue.activation = options.activation;
    auto const plan =
        detail::ConvolutionBackend<Space>::plan(arguments, detail::summary_of(*map), config.splits, exec);
    work.kernel = detail::name_of_kernel<Space>(plan.kernel);
  }
  return work;
}

template <int Dim, class Scalar, class Space>
void ConvolutionRecord<Dim, Scalar, Space>::give_back_unread(Gradients<Space> const& gradients)
{
  first_channels = this->input().value()->channels();
  bool const reads_x = repeats_sums() || gradients.wants(weight.id);
  if (!reads_x) {
    this->input().give_features_back();
    this->template input<1>().give_features_back();
  }
  if (!repeats_sums()) { this->template input<2>().give_back(); }
  if (repeats_sums() || options.activation == Activation::none) { this->output().give_features_back(); }
}

template <int Dim, class Scalar, class Space>
void ConvolutionRecord<Dim, Scalar, Space>::backward(Gradients<Space>& gradients,
                                                     Execution<Space> const& exec) const
{
  auto const& x = *this->input().value();
  auto const* const other = second().size() > 0 ? second()[0].value() : nullptr;
  auto grad = gradients.template of<Scalar>(this->output().id());
  Matrix<Scalar, Space> of_sums;  // the gradient before the activation, where there is one
  if (options.activation != Activation::none) {
    auto linear = options;
    linear.activation = Activation::none;
    auto const* const added = residual().size() > 0 ? residual()[0].value() : nullptr;
    auto const read = repeats_sums()
                          ? detail::convolve_unrecorded<Dim, Scalar, Space>(
                                {x, other, added}, weight.data, bias.data, linear, source.get(), exec)
                          : *this->output().value();
    of_sums = activation_backward<Scalar>(grad, read.features(), options.activation, options.slope, exec);
    grad = std::as_const(of_sums).view();
  }
  auto const map =
      detail::kernel_map(options.config, *x.coordinates(), options.kind, options.geometry, exec).map;
  detail::add_bias_gradient(gradients, bias.id, grad, *map, exec);
  if (gradients.wants(weight.id)) {
    auto const rows = other != nullptr ? cat({x, *other}, exec) : x;
    detail::add_weight_gradient<ConvPolicy<>>(gradients, weight.id, rows.features(), grad, *map, exec);
  }
  VariableId const id = this->input().id();
  VariableId const second_id = other != nullptr ? second()[0].id() : 0;
  if (gradients.wants(id) || gradients.wants(second_id)) {
    auto const view = plain_weight(weight.data, map->volume(), in_channels, options.out_channels);
    auto both = convolution_backward_data(grad, view, *map, detail::backward_config(options.config), exec);
    if (second_id == 0) {
      gradients.add(id, std::move(both), exec);
    } else {
      detail::add_pair_gradient(gradients, id, second_id, first_channels, std::move(both), exec);
    }
  }
  if (residual().size() == 0) { return; }
  if (of_sums.size() > 0) {
    gradients.add(residual()[0].id(), std::move(of_sums), exec);
  } else {
    gradients.template pass<Scalar>(this->output().id(), residual()[0].id(), exec);
  }
}

/// `y = convolution<Policy>(x)`, every choice made at compile time.
template <class Policy, int Dim, class Scalar, class Space>
struct PolicyConvolutionRecord final
    : FunctionRecord<PolicyConvolutionRecord<Policy, Dim, Scalar, Space>, Space,
                     SparseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using PolicyConvolutionRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "convolution"; }
  [[nodiscard]] std::vector<VariableId> parameters() const override { return {weight.id, bias.id}; }
  [[nodiscard]] Tensor compute(Tensor const& x, Execution<Space> const& exec) const;
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override;
  void give_back_unread(Gradients<Space> const& gradients)
  {
    if (!gradients.wants(weight.id)) { this->input().give_features_back(); }
    this->output().give_features_back();
  }
  void expect_unchanged() const override
  {
    PolicyConvolutionRecord::FunctionRecord::expect_unchanged();
    detail::expect_unwritten(weight, name());
  }

  ParameterRef<Scalar> weight;
  ParameterRef<Scalar> bias;
  int in_channels = 0;
  ConvolutionOptions<Dim> options;  // of whose configuration math and compat count
};

}  // namespace ops

namespace detail {

template <class Policy, int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolve_by_policy(SparseTensor<Dim, Scalar, Space> const& x,
                                                                  Scalar const* weight, Scalar const* bias,
                                                                  ops::ConvolutionOptions<Dim> const& options,
                                                                  Execution<Space> const& exec)
{
  auto const& config = options.config;
  return convolution(
      x, make_arguments(weight, bias, options.out_channels, config.math), exec,
      [&] {
        return kernel_map<typename Policy::kmap, typename Policy::downsample>(
            *x.coordinates(), options.kind, options.geometry, config.compat, exec);
      },
      [&](auto const& arguments, auto& map) { Policy::dataflow::forward(arguments, map, exec); });
}

}  // namespace detail

template <class Policy, int Dim, class Scalar, class Space>
SparseTensor<Dim, Scalar, Space> ops::PolicyConvolutionRecord<Policy, Dim, Scalar, Space>::compute(
    Tensor const& x, Execution<Space> const& exec) const
{
  return detail::convolve_by_policy<Policy>(x, weight.data, bias.data, options, exec);
}

template <class Policy, int Dim, class Scalar, class Space>
void ops::PolicyConvolutionRecord<Policy, Dim, Scalar, Space>::backward(Gradients<Space>& gradients,
                                                                        Execution<Space> const& exec) const
{
  auto const& x = *this->input().value();
  auto const grad = gradients.template of<Scalar>(this->output().id());
  auto const map = kernel_map<typename Policy::kmap, typename Policy::downsample>(
                       *x.coordinates(), options.kind, options.geometry, options.config.compat, exec)
                       .map;
  detail::add_bias_gradient(gradients, bias.id, grad, *map, exec);
  detail::add_weight_gradient<Policy>(gradients, weight.id, x.features(), grad, *map, exec);
  if (gradients.wants(this->input().id())) {
    auto const view = plain_weight(weight.data, map->volume(), in_channels, options.out_channels);
    gradients.add(this->input().id(),
                  convolution_backward_data<Policy>(grad, view, *map, options.config.math, exec), exec);
  }
}

}  // namespace v0
}  // namespace tessera
