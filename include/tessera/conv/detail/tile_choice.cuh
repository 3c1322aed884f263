// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/group_gemm.cuh>
#include <tessera/conv/detail/warp_gemm.cuh>

#include <climits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Whether the arguments' TileChoice wants the warpgroups' kernel, if that can be.
/// @param volume  offsets of all splits
template <class Scalar>
[[nodiscard]] bool tries_group_gemm(ConvolutionArguments<Scalar> const& arguments, int volume)
{
  switch (arguments.tiles) {
    case TileChoice::automatic: return prefers_group_gemm(arguments, volume);
    case TileChoice::warpgroup:
    case TileChoice::warpgroup_pair: return sizeof(Scalar) == 2 || arguments.math == MathMode::tf32;
    default: return false;
  }
}

/// The same of the warp kernel, where the warpgroups' is not.
template <class Scalar>
[[nodiscard]] bool tries_warp_gemm(ConvolutionArguments<Scalar> const& arguments)
{
  return sizeof(Scalar) == 2 && arguments.tiles != TileChoice::block;
}

/// Whether run_group_gemm() carries out a convolution of `volume` offsets in a split, and how.
template <class Scalar>
[[nodiscard]] bool group_carries_out(ConvolutionArguments<Scalar> const& arguments,
                                     KernelMap<Device> const& map, int volume, Execution<Device> const& exec,
                                     CarriedOut& how)
{
  if (map.num_out() > INT_MAX - 1024) { return false; }
  return with_group_gemm(arguments, volume, exec, [&](auto shape, std::size_t limit) {
    using Shape = decltype(shape);
    auto const config =
        configure_group<Shape>(volume, arguments.in_channels, arguments.out_channels, arguments.tiles, limit);
    GroupGemmProblem<Scalar> problem;
    problem.few_tiles = config.few_tiles;
    auto const tiles = ceil_div(static_cast<int>(map.num_out()), Shape::pieces * piece_rows);
    how.tiles = problem.shares(tiles, config.layout.channel_blocks()) ? TileChoice::warpgroup_pair
                                                                      : TileChoice::warpgroup;
    how.tile_rows = map.is_identity() ? 0 : piece_rows;
    return true;
  });
}

/// The same of run_warp_gemm().
template <class Scalar>
[[nodiscard]] bool warp_carries_out(ConvolutionArguments<Scalar> const& arguments,
                                    KernelMap<Device> const& map, int volume, Execution<Device> const& exec,
                                    CarriedOut& how)
{
  if (!takes_warp_operands(arguments, map.num_out())) { return false; }
  auto const task = warp_gemm_task(arguments, volume, map.num_out(), exec);
  bool const runs = with_warp_shape<Scalar>(
      task, [&](auto shape, WarpGemmConfig const&) { return has_warp_gemm<decltype(shape)>(exec); });
  if (runs) { how = {TileChoice::warp, piece_rows}; }
  return runs;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
