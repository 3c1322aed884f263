// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/convolution_method.hpp>
#include <tessera/ops/weight_source.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What a convolution reads besides weight and bias.
template <int Dim, class Scalar, class Space>
struct ConvolutionInputs {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  Tensor const& x;
  Tensor const* second = nullptr;    // whose channels follow those of x, or none
  Tensor const* residual = nullptr;  // added before the activation, or none
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
                                                   ops::ConvolutionOptions<Dim> const& options,
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
                                     Scalar const* weight, ops::ConvolutionOptions<Dim> const& options,
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
  arguments.more = MatrixView<Scalar const>{second, 0, second_channels};
  return ConvolutionBackend<Space>::plan(arguments, {0, options.geometry.volume()}, 1, exec).reads_two_inputs;
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] bool reads_two_tensors(SparseTensor<Dim, Scalar, Space> const& a,
                                     SparseTensor<Dim, Scalar, Space> const& b, Scalar const* weight,
                                     ops::ConvolutionOptions<Dim> const& options,
                                     ops::ConvolutionMethod<Dim, Scalar, Space> const* method,
                                     Execution<Space> const& exec)
{
  return reads_two_tensors<Dim, Scalar, Space>(a.channels(), b.channels(), a.features().data,
                                               b.features().data, weight, options, method, exec);
}

/// `activation(convolution(cat({x, second})) + residual)`. The two tensors are read as they are where the
/// kernel can, and are copied into one else.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolve_unrecorded(
    ConvolutionInputs<Dim, Scalar, Space> const& in, Scalar const* weight, Scalar const* bias,
    ops::ConvolutionOptions<Dim> const& options, ConvolutionMeans<Dim, Scalar, Space> const& by,
    Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  constexpr auto const* with_residual = "convolution with a residual";
  auto const* const method = by.method;
  expects(method != nullptr || options.config.splits >= 1, "convolution: ", options.config.splits,
          " splits; at least 1");
  auto arguments = make_arguments(weight, bias, options.out_channels, options.config.math);
  arguments.epilogue.activation = options.activation;
  arguments.epilogue.slope = options.slope;
  if (by.source != nullptr && method == nullptr) {
    arguments.packed = by.source->packed(options.config, exec);
  } else if (by.source != nullptr) {
    by.source->refresh(exec);
  }
  if (in.residual != nullptr) { arguments.epilogue.residual = in.residual->features(); }
  auto const run = [&](Tensor const& x) {
    if (in.residual != nullptr && options.kind == ConvolutionKind::submanifold) {
      expect_same_voxels(x, *in.residual, with_residual);
    }
    return convolution(
        x, arguments, exec,
        [&] {
          auto mapped = map_of(*x.coordinates(), options, method, exec);
          expects(in.residual == nullptr || mapped.coordinates == in.residual->coordinates(), with_residual,
                  ": the residual is on another coordinate set than the output");
          return mapped;
        },
        [&](auto const& prepared, auto& map) {
          method != nullptr ? method->forward(prepared, map, exec)
                            : run_dataflow(options.config, prepared, map, exec);
        });
  };
  if (in.second == nullptr) { return run(in.x); }
  expect_same_voxels(in.x, *in.second, "convolution of two tensors", "cat_by_coordinate()");
  if (!reads_two_tensors(in.x, *in.second, weight, options, method, exec)) {
    return run(cat({in.x, *in.second}, exec));
  }
  arguments.more = in.second->features();
  return run(in.x);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
