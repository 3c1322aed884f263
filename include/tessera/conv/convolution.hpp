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
}  // namespace v0
}  // namespace tessera
