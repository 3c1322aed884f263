// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/kmap/build.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

namespace tessera {
inline namespace v0 {

namespace detail {

/// Checks, maps by `make_map()`, and runs `run(arguments, map)`; what both forms of convolution() share.
template <int Dim, class Scalar, class Space, class MakeMap, class Run>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution(SparseTensor<Dim, Scalar, Space> const& x,
                                                           ConvolutionArguments<Scalar> arguments,
                                                           Execution<Space> const& exec,
                                                           MakeMap const& make_map, Run const& run)
{
  expect_coordinates(x, "convolution");
  arguments.in_channels = x.channels() + static_cast<int>(arguments.more.columns);
  check_arguments(arguments, "convolution");
  MappedCoordinates<Dim, Space> const mapped = make_map();
  auto const& residual = arguments.epilogue.residual;
  expects(residual.data == nullptr || residual.rows == mapped.map->num_out(), "convolution: a residual of ",
          residual.rows, " rows for ", mapped.map->num_out(), " output rows");
  Matrix<Scalar, Space> output{mapped.map->num_out(), arguments.out_channels, exec};
  arguments.features = x.features().data;
  arguments.output = output.data();
  if (output.size() > 0) { run(arguments, *mapped.map); }
  return {mapped.coordinates, std::move(output)};
}

/// kernel_map() with policies chosen at run time.
template <int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> kernel_map(ConvConfig const& config,
                                                       CoordinateSet<Dim, Space>& set, ConvolutionKind kind,
                                                       ConvolutionGeometry<Dim> const& geometry,
                                                       Execution<Space> const& exec)
{
  bool const spconv = config.downsample == DownsampleMode::spconv;
  if (config.kmap == KmapMode::hashmap) {
    return spconv
               ? tessera::kernel_map<Hashmap, SpconvDownsample>(set, kind, geometry, config.compat, exec)
               : tessera::kernel_map<Hashmap, MinkowskiDownsample>(set, kind, geometry, config.compat, exec);
  }
  return spconv ? tessera::kernel_map<HashmapOnTheFly, SpconvDownsample>(set, kind, geometry, config.compat,
                                                                         exec)
                : tessera::kernel_map<HashmapOnTheFly, MinkowskiDownsample>(set, kind, geometry,
                                                                            config.compat, exec);
}

/// A dataflow whose sort, splits and kernel are known at run time.
template <class Scalar, class Space>
void run_dataflow(ConvConfig const& config, ConvolutionArguments<Scalar> const& arguments,
                  KernelMap<Space>& map, Execution<Space> const& exec)
{
  switch (config.dataflow) {
    case Dataflow::gather_scatter: return GatherScatter::forward(arguments, map, exec);
    case Dataflow::fetch_on_demand: return FetchOnDemand::forward(arguments, map, exec);
    default:
      auto with_kernel = arguments;
      with_kernel.kernel = config.kernel;
      return ConvolutionBackend<Space>::template implicit_gemm<AutoTile>(
          with_kernel, map, config.sort && map.volume() > 1, config.splits, exec);
  }
}

template <class Scalar>
[[nodiscard]] ConvolutionArguments<Scalar> make_arguments(Scalar const* weight, Scalar const* bias,
                                                          int out_channels, MathMode math)
{
  ConvolutionArguments<Scalar> arguments;
  arguments.weight = weight;
  arguments.bias = bias;
  arguments.out_channels = out_channels;
  arguments.math = math;
  return arguments;
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
                                                           Scalar const* weight, Scalar const* bias,
                                                           int out_channels, ConvolutionKind kind,
                                                           ConvolutionGeometry<Dim> const& geometry,
                                                           MathMode math, Compat compat,
                                                           Execution<Space> const& exec)
{
  static_assert(is_conv_policy<Policy>::value,
                "convolution: Policy must be a ConvPolicy or a type with its members");
  return detail::convolution(
      x, detail::make_arguments(weight, bias, out_channels, math), exec,
      [&] {
        return kernel_map<typename Policy::kmap, typename Policy::downsample>(*x.coordinates(), kind,
                                                                              geometry, compat, exec);
      },
      [&](auto const& arguments, auto& map) { Policy::dataflow::forward(arguments, map, exec); });
}

namespace detail {

/// The convolution of prepared arguments with every choice made at run time.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution(SparseTensor<Dim, Scalar, Space> const& x,
                                                           ConvolutionArguments<Scalar> const& prepared,
                                                           ConvolutionKind kind,
                                                           ConvolutionGeometry<Dim> const& geometry,
                                                           ConvConfig const& config,
                                                           Execution<Space> const& exec)
{
  expects(config.splits >= 1, "convolution: ", config.splits, " splits; at least 1");
  return convolution(
      x, prepared, exec, [&] { return kernel_map(config, *x.coordinates(), kind, geometry, exec); },
      [&](auto const& arguments, auto& map) { run_dataflow(config, arguments, map, exec); });
}

}  // namespace detail

/// The same with every choice made at run time, and an epilogue: `activation(y + residual)`, rounded once.
/// @throws invalid_argument  also: splits below 1, a residual of other rows or channels than the output
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution(
    SparseTensor<Dim, Scalar, Space> const& x, Scalar const* weight, Scalar const* bias, int out_channels,
    ConvolutionKind kind, ConvolutionGeometry<Dim> const& geometry, ConvConfig const& config,
    Epilogue<Scalar> const& epilogue, Execution<Space> const& exec)
{
  auto arguments = detail::make_arguments(weight, bias, out_channels, config.math);
  arguments.epilogue = epilogue;
  return detail::convolution(x, arguments, kind, geometry, config, exec);
}

/// The same without an epilogue.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> convolution(SparseTensor<Dim, Scalar, Space> const& x,
                                                           Scalar const* weight, Scalar const* bias,
                                                           int out_channels, ConvolutionKind kind,
                                                           ConvolutionGeometry<Dim> const& geometry,
                                                           ConvConfig const& config,
                                                           Execution<Space> const& exec)
{
  return convolution(x, weight, bias, out_channels, kind, geometry, config, Epilogue<Scalar>{}, exec);
}

}  // namespace v0
}  // namespace tessera
