// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/convolution_record.hpp>

#include <cstddef>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The recorded convolution that all forms with choices at run time come to.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolve(ConvolutionInputs<Dim, Scalar, Space> const& in,
                                                        ParameterArgument<Scalar> const& weight,
                                                        ParameterArgument<Scalar> const& bias,
                                                        ops::ConvolutionOptions<Dim> const& options,
                                                        ops::WeightSource<Scalar, Space> const* source,
                                                        Execution<Space> const& exec)
{
  using Record = ops::ConvolutionRecord<Dim, Scalar, Space>;
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return run_recorded(
      exec,
      [&](auto const& inside) {
        return convolve_unrecorded(in, weight.data, bias.data, options, source, inside);
      },
      [&](Tensor const& y) {
        using Variables = typename Record::Variables;
        auto const listed = [](Tensor const* one) { return Variables{one, std::size_t{one != nullptr}}; };
        auto record = std::make_shared<Record>(ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{in.x},
                                               listed(in.second), listed(in.residual));
        record->weight = weight;
        record->bias = bias;
        record->source = unowned(source);
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
  using Record = ops::PolicyConvolutionRecord<Policy, Dim, Scalar, Space>;
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  ops::ConvolutionOptions<Dim> options;
  options.out_channels = out_channels;
  options.kind = kind;
  options.geometry = geometry;
  options.config.math = math;
  options.config.compat = compat;
  return detail::run_recorded(
      exec,
      [&](auto const& inside) {
        return detail::convolve_by_policy<Policy>(x, weight.data, bias.data, options, inside);
      },
      [&](Tensor const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{x});
        record->weight = weight;
        record->bias = bias;
        record->in_channels = x.channels();
        record->options = options;
        return record;
      });
}

/// The same with every choice made at run time.
/// @throws invalid_argument  also: splits below 1
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution(
    SparseTensor<Dim, Scalar, Space> const& x, detail::ParameterArgument<Scalar> const& weight,
    detail::ParameterArgument<Scalar> const& bias, int out_channels, ConvolutionKind kind,
    ConvolutionGeometry<Dim> const& geometry, ConvConfig const& config, Execution<Space> const& exec)
{
  return detail::convolve<Dim, Scalar, Space>({x}, weight, bias, {out_channels, kind, geometry, config},
                                              nullptr, exec);
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
                                              {out_channels, kind, geometry, config}, nullptr, exec);
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
                                              {out_channels, kind, geometry, config, activation, slope},
                                              nullptr, exec);
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
        {x}, weight, bias, {out_channels, kind, geometry, config, epilogue.activation, epilogue.slope},
        nullptr, exec);
  }
  detail::expects(exec.recorder() == nullptr,
                  "convolution: a residual that is a view cannot be recorded; use convolution_add()");
  auto arguments = detail::make_arguments(weight.data, bias.data, out_channels, config.math);
  arguments.epilogue = epilogue;
  return detail::convolution(x, arguments, kind, geometry, config, exec);
}

}  // namespace v0
}  // namespace tessera
