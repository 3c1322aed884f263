// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/conv/detail/select.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {

// Convolutions over a map that is there already, for bindings and for those who make maps themselves; the gradients are
// those of conv/convolution_backward.hpp.

/// Computes a convolution over `map` as `config` says: `output[o, :]` of ConvArguments.
///
/// | name      | shape | memory | holds                                                                          |
/// |-----------|-------|--------|--------------------------------------------------------------------------------|
/// | config    |       | host   | dataflow, sort, splits, kernel; the other members are not read                 |
/// | arguments |       | Space  | features [map.num_in(), in_channels], a weight of map.volume() offsets, output  |
/// | map       |       | Space  | of the convolution                                                             |
///
/// @throws invalid_argument  splits or channels below 1
/// Cost: num_pairs * in_channels * out_channels multiply-adds, and the map's tiles the first time.
/// Stream: enqueues on `exec`; gather-scatter and fetch-on-demand wait once per map for their pair lists.
/// Determinism: the same bits on every run and for every order of rows.
template <class Scalar, class Space>
void convolve_over_map(ConvConfig const& config, ConvolutionArguments<Scalar> const& arguments,
                       KernelMap<Space>& map, Execution<Space> const& exec)
{
  detail::check_arguments(arguments, "convolution");
  detail::expects(config.splits >= 1, "convolution: ", config.splits, " splits; there must be at least 1");
  if (map.num_out() > 0) { detail::run_dataflow(config, arguments, map, exec); }
}

/// How many of `splits` splits of a kernel's offsets own one: what tile_map() is asked for by a convolution.
/// @pre  both are at least 1
[[nodiscard]] constexpr int used_splits(int volume, int splits)
{
  return detail::ceil_div(volume, detail::split_length(volume, splits));
}

/// Rows of the tiles that convolve_over_map() reads a map in, or 0 where it reads the map itself: on the host, for maps of
/// each row to itself, and in other dataflows than the implicit GEMM.
///
/// @param arguments  all but the pointers, which may be null; those that are not may change the kernel by where they begin
/// @param map        of the convolution, in numbers
/// @throws invalid_argument  splits or channels below 1
/// Cost: on the host alone.
/// Stream: enqueues nothing.
template <class Scalar, class Space>
[[nodiscard]] int tile_rows_of(ConvConfig const& config, ConvolutionArguments<Scalar> arguments,
                               MapSummary const& map, [[maybe_unused]] Execution<Space> const& exec)
{
  detail::check_arguments(arguments, "tile_rows_of");
  detail::expects(config.splits >= 1, "tile_rows_of: ", config.splits, " splits; there must be at least 1");
  if (config.dataflow != Dataflow::implicit_gemm) { return 0; }
  if constexpr (std::is_same_v<Space, Host>) {
    return 0;
  } else {
    arguments.kernel = config.kernel;
    return detail::ConvolutionBackend<Space>::plan(arguments, map, used_splits(map.volume, config.splits),
                                                   exec)
        .tile_rows;
  }
}

}  // namespace v0
}  // namespace tessera
