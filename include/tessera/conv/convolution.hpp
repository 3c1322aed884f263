// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/kmap/build.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <utility>

namespace tessera {
inline namespace v0 {

namespace detail {

/// A convolution that may run: its arguments complete and checked, its map and the memory of its output there.
template <int Dim, class Scalar, class Space>
struct PreparedConvolution {
  ConvolutionArguments<Scalar> arguments;
  MappedCoordinates<Dim, Space> mapped;
  Matrix<Scalar, Space> output;

  /// Whether there is nothing to compute.
  [[nodiscard]] bool is_empty() const noexcept { return output.size() == 0; }
  [[nodiscard]] SparseTensor<Dim, Scalar, Space> result() &&
  {
    return {std::move(mapped.coordinates), std::move(output)};
  }
};

/// The convolution of `x` by the map that `make_map()` returns.
/// @param arguments  all but features, in_channels and output
template <int Dim, class Scalar, class Space, class MakeMap>
[[nodiscard]] PreparedConvolution<Dim, Scalar, Space> prepare_convolution(
    SparseTensor<Dim, Scalar, Space> const& x, ConvolutionArguments<Scalar> arguments,
    Execution<Space> const& exec, MakeMap const& make_map)
{
  expect_coordinates(x, "convolution");
  arguments.in_channels = x.channels() + static_cast<int>(arguments.second_features.columns);
  check_arguments(arguments, "convolution");
  MappedCoordinates<Dim, Space> mapped = make_map();
  auto const num_out = mapped.map->num_out();
  auto const& residual = arguments.epilogue.residual;
  expects(residual.data == nullptr || residual.rows == num_out, "convolution: a residual of ", residual.rows,
          " rows for ", num_out, " output rows");
  Matrix<Scalar, Space> output{num_out, arguments.out_channels, exec};
  arguments.features = x.features().data;
  arguments.output = output.data();
  return {std::move(arguments), std::move(mapped), std::move(output)};
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

/// The convolution of complete arguments by a map, with every choice made at run time.
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
}  // namespace v0
}  // namespace tessera
