// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/names.hpp>
#include <tessera/ops/detail/convolve.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

/// `y = activation(convolution(x) + residual)`, where `x` may be two tensors side by side. `method` is that of a
/// convolution<Policy>(), and then math and compat are all that counts of `options.config`.
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
    return detail::convolve_unrecorded<Dim, Scalar, Space>(
        {x, second.empty() ? nullptr : &second[0], residual.empty() ? nullptr : &residual[0]}, weight.data,
        bias.data, options, {method, source.get()}, exec);
  }

  [[nodiscard]] OperationWork work(Execution<Space> const& exec) const override;

  /// Whose channels follow those of the first input: one, or none.
  [[nodiscard]] Variables const& second() const noexcept { return this->template input<1>(); }
  /// What is added before the activation: one, or none.
  [[nodiscard]] Variables const& residual() const noexcept { return this->template input<2>(); }

  ParameterRef<Scalar> weight;                                    // [volume, in_channels, out_channels]
  ParameterRef<Scalar> bias;                                      // [out_channels], or none
  ConvolutionMethod<Dim, Scalar, Space> const* method = nullptr;  // or null: chosen by options.config
  std::shared_ptr<WeightSource<Scalar, Space> const> source;      // of the packed weight, or none
  int in_channels = 0;                                            // of all inputs
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

}  // namespace ops

namespace detail {

/// The recorded convolution that all forms come to.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolve(ConvolutionInputs<Dim, Scalar, Space> const& in,
                                                        ParameterArgument<Scalar> const& weight,
                                                        ParameterArgument<Scalar> const& bias,
                                                        ops::ConvolutionOptions<Dim> const& options,
                                                        ConvolutionMeans<Dim, Scalar, Space> const& by,
                                                        Execution<Space> const& exec)
{
  using Record = ops::ConvolutionRecord<Dim, Scalar, Space>;
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return run_recorded(
      exec,
      [&](auto const& inside) {
        return convolve_unrecorded(in, weight.data, bias.data, options, by, inside);
      },
      [&](Tensor const& y) {
        using Variables = typename Record::Variables;
        auto const listed = [](Tensor const* one) { return Variables{one, std::size_t{one != nullptr}}; };
        auto record = std::make_shared<Record>(ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{in.x},
                                               listed(in.second), listed(in.residual));
        record->weight = weight;
        record->bias = bias;
        record->method = by.method;
        record->source = unowned(by.source);
        record->in_channels = in.x.channels() + (in.second != nullptr ? in.second->channels() : 0);
        record->options = options;
        return record;
      });
}

}  // namespace detail

/// Sparse convolution of `x`: `y[o] = bias + sum over pairs (in, o) of offset k of x[in] * weight[k]`.
///
/// | name    | shape                               | memory | holds                                        |
/// |---------|-------------------------------------|--------|----------------------------------------------|
/// | weight  | [volume, in_channels, out_channels] | Space  | offsets row-major, last axis fastest         |
/// | bias    | [out_channels] or null              | Space  |                                              |
/// | returns | [num_out, out_channels]             | Space  | on the outputs that kernel_map() describes   |
///
/// @tparam Policy  a ConvPolicy: dataflow, kernel-map and downsample policy
/// @throws invalid_argument  channels below 1, and what kernel_map() says
/// Cost: kernel_map() the first time; num_pairs * in_channels * out_channels multiply-adds. Stream: enqueues
/// on `exec`; waits only where kernel_map() does, and gather-scatter and fetch-on-demand once a map for their
/// pair lists. Determinism: the same bits on every run and for every order of the input rows.
template <class Policy = ConvPolicy<>, int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution(SparseTensor<Dim, Scalar, Space> const& x,
                                                           detail::ParameterArgument<Scalar> const& weight,
                                                           detail::ParameterArgument<Scalar> const& bias,
                                                           int out_channels, ConvolutionKind kind,
                                                           ConvolutionGeometry<Dim> const& geometry,
                                                           MathMode math, Compatibility compat,
                                                           Execution<Space> const& exec)
{
  static_assert(is_conv_policy<Policy>::value,
                "convolution: Policy must be a ConvPolicy or a type with its members");
  ops::ConvolutionOptions<Dim> options;
  options.out_channels = out_channels;
  options.kind = kind;
  options.geometry = geometry;
  options.config.math = math;
  options.config.compat = compat;
  return detail::convolve<Dim, Scalar, Space>({x}, weight, bias, options,
                                              {&detail::policy_method<Policy, Dim, Scalar, Space>()}, exec);
}

/// The same with every choice made at run time.
/// @throws invalid_argument  also: splits below 1
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution(
    SparseTensor<Dim, Scalar, Space> const& x, detail::ParameterArgument<Scalar> const& weight,
    detail::ParameterArgument<Scalar> const& bias, int out_channels, ConvolutionKind kind,
    ConvolutionGeometry<Dim> const& geometry, ConvConfig const& config, Execution<Space> const& exec)
{
  return detail::convolve<Dim, Scalar, Space>({x}, weight, bias, {out_channels, kind, geometry, config}, {},
                                              exec);
}

/// The convolution of the channels of two tensors on one coordinate set, those of `x` first:
/// `convolution(cat({x, second}))`, without the copy where the kernel reads both as they are.
/// @throws invalid_argument  also: the tensors are on different coordinate sets
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution(
    SparseTensor<Dim, Scalar, Space> const& x, SparseTensor<Dim, Scalar, Space> const& second,
    detail::ParameterArgument<Scalar> const& weight, detail::ParameterArgument<Scalar> const& bias,
    int out_channels, ConvolutionKind kind, ConvolutionGeometry<Dim> const& geometry,
    ConvConfig const& config, Execution<Space> const& exec)
{
  return detail::convolve<Dim, Scalar, Space>({x, &second}, weight, bias,
                                              {out_channels, kind, geometry, config}, {}, exec);
}

/// `activation(convolution(x) + residual)`, rounded once.
/// @param residual  on the voxels of the output
/// @param slope     of Activation::leaky_relu
/// @throws invalid_argument  also: a residual on another coordinate set than the output, or of other channels
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution_add(
    SparseTensor<Dim, Scalar, Space> const& x, SparseTensor<Dim, Scalar, Space> const& residual,
    detail::ParameterArgument<Scalar> const& weight, detail::ParameterArgument<Scalar> const& bias,
    int out_channels, ConvolutionKind kind, ConvolutionGeometry<Dim> const& geometry,
    ConvConfig const& config, Activation activation, float slope, Execution<Space> const& exec)
{
  return detail::convolve<Dim, Scalar, Space>({x, nullptr, &residual}, weight, bias,
                                              {out_channels, kind, geometry, config, activation, slope}, {},
                                              exec);
}

/// With an epilogue: `activation(y + residual)`, rounded once.
/// @throws invalid_argument  also: a residual of other rows or channels than the output; a residual where the
///                           execution has a recorder, which a view gives no identity: use convolution_add()
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution(
    SparseTensor<Dim, Scalar, Space> const& x, detail::ParameterArgument<Scalar> const& weight,
    detail::ParameterArgument<Scalar> const& bias, int out_channels, ConvolutionKind kind,
    ConvolutionGeometry<Dim> const& geometry, ConvConfig const& config, Epilogue<Scalar> const& epilogue,
    Execution<Space> const& exec)
{
  if (epilogue.residual.data == nullptr) {
    return detail::convolve<Dim, Scalar, Space>(
        {x}, weight, bias, {out_channels, kind, geometry, config, epilogue.activation, epilogue.slope}, {},
        exec);
  }
  detail::expects(exec.recorder() == nullptr,
                  "convolution: a residual that is a view cannot be recorded; use convolution_add()");
  auto arguments = detail::make_arguments(weight.data, bias.data, out_channels, config.math);
  arguments.epilogue = epilogue;
  return detail::convolution(x, arguments, kind, geometry, config, exec);
}

}  // namespace v0
}  // namespace tessera
