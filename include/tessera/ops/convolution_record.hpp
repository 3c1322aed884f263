// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/names.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/convolution_method.hpp>
#include <tessera/ops/detail/convolution_gradients.hpp>
#include <tessera/ops/record.hpp>
#include <tessera/ops/weight_source.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What a convolution reads besides weight and bias.
template <int Dim, class Scalar, class Space>
struct ConvolutionInputs {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  Tensor const& x;
  Tensor const* second = nullptr;               // whose channels follow those of x, or none
  Tensor const* residual = nullptr;             // added before the activation, or none
  MatrixView<Scalar const> residual_rows = {};  // the same without a tensor, which cannot be recorded
};

/// Who carries a convolution out, and who packs its weight.
template <int Dim, class Scalar, class Space>
struct ConvolutionMeans {
  ops::ConvolutionMethod<Dim, Scalar, Space> const* method = nullptr;  // or null: chosen by the configuration
  ops::WeightSource<Scalar, Space> const* source = nullptr;            // or null: nobody packs it
};

/// The kernel map of a convolution, by its method or its configuration.
template <int Dim, class Scalar, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> map_of(CoordinateSet<Dim, Space>& set,
                                                   ConvolutionOptions<Dim> const& options,
                                                   ops::ConvolutionMethod<Dim, Scalar, Space> const* method,
                                                   Execution<Space> const& exec)
{
  return method != nullptr ? method->kernel_map(set, options, exec)
                           : kernel_map(options.config, set, options.kind, options.geometry, exec);
}

/// Whether the kernel of a convolution of `channels` and `second_channels` side by side reads both as they are.
/// @param x, second  where the features are, of which the alignment counts
template <int Dim, class Scalar, class Space>
[[nodiscard]] bool reads_two_tensors(int channels, int second_channels, Scalar const* x, Scalar const* second,
                                     Scalar const* weight, ConvolutionOptions<Dim> const& options,
                                     ops::ConvolutionMethod<Dim, Scalar, Space> const* method,
                                     Execution<Space> const& exec)
{
  auto const& config = options.config;
  bool const may = method != nullptr ? method->reads_two_inputs()
                                     : config.dataflow == Dataflow::implicit_gemm && config.splits == 1;
  if (!may) { return false; }
  auto arguments = make_arguments<Scalar>(weight, nullptr, options.out_channels, config.math);
  arguments.kernel = config.kernel;
  arguments.features = x;
  arguments.in_channels = channels + second_channels;
  arguments.second_features = MatrixView<Scalar const>{second, 0, second_channels};
  return ConvolutionBackend<Space>::plan(arguments, {0, options.geometry.volume()}, 1, exec).reads_two_inputs;
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] bool reads_two_tensors(SparseTensor<Dim, Scalar, Space> const& a,
                                     SparseTensor<Dim, Scalar, Space> const& b, Scalar const* weight,
                                     ConvolutionOptions<Dim> const& options,
                                     ops::ConvolutionMethod<Dim, Scalar, Space> const* method,
                                     Execution<Space> const& exec)
{
  return reads_two_tensors<Dim, Scalar, Space>(a.channels(), b.channels(), a.features().data,
                                               b.features().data, weight, options, method, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolve(ConvolutionInputs<Dim, Scalar, Space> const& in,
                                                        ParameterArgument<Scalar> const& weight,
                                                        ParameterArgument<Scalar> const& bias,
                                                        ConvolutionOptions<Dim> const& options,
                                                        ConvolutionMeans<Dim, Scalar, Space> const& by,
                                                        Execution<Space> const& exec);

}  // namespace detail

namespace ops {

/// `y = activation(convolution(x) + residual)`, where `x` may be two tensors side by side. `method` is that
/// of a convolution<Policy>(), and then math and compat are all that counts of `options.config`.
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
  /// Of folded ones also those that they were computed from.
  [[nodiscard]] std::vector<VariableId> parameters() const override
  {
    std::vector<VariableId> result{weight.id, bias.id};
    if (source != nullptr) { source->append_origins(result); }
    return result;
  }
  [[nodiscard]] Tensor compute(Tensor const& x, std::vector<Tensor> const& second,
                               std::vector<Tensor> const& residual, Execution<Space> const& exec) const
  {
    return detail::convolve<Dim, Scalar, Space>(
        {x, second.empty() ? nullptr : &second[0], residual.empty() ? nullptr : &residual[0]}, weight, bias,
        options, {method, source.get()}, exec);
  }

  [[nodiscard]] OperationWork work(Execution<Space> const& exec) const override;

  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override;
  void give_back_unread(Gradients<Space> const& gradients);
  void expect_unchanged() const override
  {
    ConvolutionRecord::FunctionRecord::expect_unchanged();
    detail::expect_unwritten(weight, name());
    if (repeats_sums()) { detail::expect_unwritten(bias, name()); }
  }
  template <class Visit>
  void visit_parameters(Visit const& visit) const
  {
    visit(weight);
    visit(bias);
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

  ParameterRef<Scalar> weight;                                    // [volume, in_channels, out_channels]
  ParameterRef<Scalar> bias;                                      // [out_channels], or none
  ConvolutionMethod<Dim, Scalar, Space> const* method = nullptr;  // or null: chosen by options.config
  std::shared_ptr<WeightSource<Scalar, Space> const> source;      // of the packed weight, or none
  int in_channels = 0;                                            // of all inputs
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
  auto const map = detail::map_of(*x->coordinates(), options, method, exec).map;
  detail::note_product<Scalar>(work, detail::count_pairs(*map, exec), map->volume(), in_channels,
                               options.out_channels);
  work.kernel = method != nullptr ? method->name() : detail::name_of(config.dataflow);
  if (method == nullptr && config.dataflow == Dataflow::implicit_gemm) {
    auto arguments =
        detail::make_arguments<Scalar>(weight.data(), bias.data(), options.out_channels, config.math);
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
  detail::expect_unfolded(source.get(), gradients, name());
  auto const& x = *this->input().value();
  auto const* const other = second().size() > 0 ? second()[0].value() : nullptr;
  auto grad = gradients.template of<Scalar>(this->output().id());
  Matrix<Scalar, Space> of_sums;  // the gradient before the activation, where there is one
  if (options.activation != Activation::none) {
    auto linear = options;
    linear.activation = Activation::none;
    auto const* const added = residual().size() > 0 ? residual()[0].value() : nullptr;
    auto const read = repeats_sums()
                          ? detail::convolve<Dim, Scalar, Space>({x, other, added}, weight, bias, linear,
                                                                 {method, source.get()}, exec)
                          : *this->output().value();
    of_sums = activation_backward<Scalar>(grad, read.features(), options.activation, options.slope, exec);
    grad = std::as_const(of_sums).view();
  }
  auto const map = detail::map_of(*x.coordinates(), options, method, exec).map;
  detail::add_bias_gradient(gradients, bias.id, grad, *map, exec);
  if (gradients.wants(weight.id)) {
    auto const rows = other != nullptr ? cat({x, *other}, exec) : x;
    if (method != nullptr) {
      method->add_weight_gradient(gradients, weight.id, rows.features(), grad, *map, exec);
    } else {
      detail::add_weight_gradient<ConvPolicy<>>(gradients, weight.id, rows.features(), grad, *map, exec);
    }
  }
  VariableId const id = this->input().id();
  VariableId const second_id = other != nullptr ? second()[0].id() : 0;
  if (gradients.wants(id) || gradients.wants(second_id)) {
    auto const view = plain_weight(weight.data(), map->volume(), in_channels, options.out_channels);
    auto both = method != nullptr ? method->backward_data(grad, view, *map, options.config.math, exec)
                                  : convolution_backward_data(grad, view, *map,
                                                              detail::backward_config(options.config), exec);
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

}  // namespace ops
}  // namespace v0
}  // namespace tessera
