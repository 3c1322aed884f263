// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/convolution_record.hpp>

#include <cstddef>
#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What `convolve()` records.
template <int Dim, class Scalar, class Space>
[[nodiscard]] auto convolution_record(SparseTensor<Dim, Scalar, Space> const& y,
                                      ConvolutionInputs<Dim, Scalar, Space> const& in,
                                      ParameterArgument<Scalar> const& weight,
                                      ParameterArgument<Scalar> const& bias,
                                      ConvolutionOptions<Dim> const& options,
                                      ConvolutionMeans<Dim, Scalar, Space> const& by)
{
  using Record = ops::ConvolutionRecord<Dim, Scalar, Space>;
  using Variable = typename Record::Variable;
  using Variables = typename Record::Variables;
  using Tensor = typename Record::Tensor;
  auto const listed = [](Tensor const* one) { return Variables{one, std::size_t{one != nullptr}}; };
  auto record = std::make_shared<Record>(Variable{y}, Variable{in.x}, listed(in.second), listed(in.residual));
  record->weight = weight;
  record->bias = bias;
  record->method = by.method;
  record->source = unowned(by.source);
  record->in_channels = in.x.channels() + (in.second != nullptr ? in.second->channels() : 0);
  record->options = options;
  return record;
}

/// `activation(convolution(cat({x, second})) + residual)`, to which all forms of convolution() come. The two
/// tensors are read as they are where the kernel can, and are copied into one else.
template <int Dim, class Scalar, class Space>
SparseTensor<Dim, Scalar, Space> convolve(ConvolutionInputs<Dim, Scalar, Space> const& in,
                                          ParameterArgument<Scalar> const& weight,
                                          ParameterArgument<Scalar> const& bias,
                                          ConvolutionOptions<Dim> const& options,
                                          ConvolutionMeans<Dim, Scalar, Space> const& by,
                                          Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  constexpr auto const* with_residual = "convolution with a residual";
  auto const& config = options.config;
  auto const* const method = by.method;
  auto const run = [&](auto const& inside) {
    auto arguments = make_arguments(weight.data(), bias.data(), options.out_channels, config.math);
    arguments.epilogue = {in.residual != nullptr ? in.residual->features() : in.residual_rows,
                          options.activation, options.slope};
    if (by.source != nullptr && method != nullptr) {
      by.source->refresh(inside);
    } else if (by.source != nullptr) {
      arguments.packed = by.source->packed(config, inside);
    }
    Tensor const* x = &in.x;
    Tensor joined;
    if (in.second != nullptr) {
      expect_same_voxels(in.x, *in.second, "convolution of two tensors", "cat_by_coordinate()");
      if (reads_two_tensors(in.x, *in.second, weight.data(), options, method, inside)) {
        arguments.second_features = in.second->features();
      } else {
        joined = cat({in.x, *in.second}, inside);
        x = &joined;
      }
    }
    if (in.residual != nullptr && options.kind == ConvolutionKind::submanifold) {
      expect_same_voxels(*x, *in.residual, with_residual);
    }
    expects(config.splits >= 1, "convolution: ", config.splits, " splits; at least 1");
    auto prepared = prepare_convolution(*x, arguments, inside, [&] {
      auto mapped = map_of(*x->coordinates(), options, method, inside);
      expects(in.residual == nullptr || mapped.coordinates == in.residual->coordinates(), with_residual,
              ": the residual is on another coordinate set than the output");
      return mapped;
    });
    if (prepared.is_empty()) { return std::move(prepared).result(); }
    if (method != nullptr) {
      method->forward(prepared.arguments, *prepared.mapped.map, inside);
    } else {
      run_dataflow(config, prepared.arguments, *prepared.mapped.map, inside);
    }
    return std::move(prepared).result();
  };
  return run_recorded(exec, run,
                      [&](Tensor const& y) { return convolution_record(y, in, weight, bias, options, by); });
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
/// @throws invalid_argument  channels below 1, and what kernel_map() throws
/// Cost: kernel_map() the first time; num_pairs * in_channels * out_channels multiply-adds.
/// Stream: enqueues on `exec`; waits only where kernel_map() does, and gather-scatter and fetch-on-demand once
/// per map for their pair lists.
/// Determinism: the same bits on every run and for every order of the input rows.
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
  ConvolutionOptions<Dim> options;
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
  detail::expects(epilogue.residual.data == nullptr || exec.recorder() == nullptr,
                  "convolution: a residual that is a view cannot be recorded; use convolution_add()");
  return detail::convolve<Dim, Scalar, Space>(
      {x, nullptr, nullptr, epilogue.residual}, weight, bias,
      {out_channels, kind, geometry, config, epilogue.activation, epilogue.slope}, {}, exec);
}

}  // namespace v0
}  // namespace tessera
