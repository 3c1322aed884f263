// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/block_gemm/kernel.cuh>
#include <tessera/conv/detail/warp_gemm/run.cuh>
#include <tessera/conv/detail/warpgroup_gemm/run.cuh>
#include <tessera/conv/tuning.hpp>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Whether there are kernels for the scalar that read the weight in an order of their own.
template <class Scalar>
inline constexpr bool has_packed_kernels = sizeof(Scalar) == 2 || std::is_same_v<Scalar, float>;

/// Whether the arguments' TileChoice wants the warpgroups' kernel, if that can be.
/// @param volume  offsets of all splits
template <class Scalar>
[[nodiscard]] bool tries_warpgroup_gemm(ConvolutionArguments<Scalar> const& arguments, int volume)
{
  switch (arguments.tiles) {
    case TileChoice::automatic: return prefers_warpgroup_gemm(arguments, volume);
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

/// How run_warpgroup_gemm() carries out a convolution of `volume` offsets in a split, or nothing where it
/// does not.
template <class Scalar>
[[nodiscard]] std::optional<CarriedOut> warpgroup_carries_out(ConvolutionArguments<Scalar> const& arguments,
                                                              KernelMap<Device> const& map, int volume,
                                                              Execution<Device> const& exec)
{
  if (map.num_out() > INT_MAX - 1024) { return std::nullopt; }
  std::optional<CarriedOut> how;
  static_cast<void>(with_warpgroup_gemm(arguments, volume, exec, [&](auto shape, std::size_t limit) {
    using Shape = decltype(shape);
    auto const config = configure_warpgroup<Shape>(volume, arguments.in_channels, arguments.out_channels,
                                                   arguments.tiles, limit);
    WarpgroupGemmProblem<Scalar> problem;
    problem.few_tiles = config.few_tiles;
    auto const tiles = ceil_div(static_cast<int>(map.num_out()), Shape::pieces * piece_rows);
    bool const shares = problem.shares(tiles, config.layout.channel_blocks());
    how = CarriedOut{shares ? TileChoice::warpgroup_pair : TileChoice::warpgroup,
                     map.is_identity() ? 0 : piece_rows};
    return true;
  }));
  return how;
}

/// The same of run_warp_gemm().
template <class Scalar>
[[nodiscard]] std::optional<CarriedOut> warp_carries_out(ConvolutionArguments<Scalar> const& arguments,
                                                         KernelMap<Device> const& map, int volume,
                                                         Execution<Device> const& exec)
{
  if (!takes_warp_operands(arguments, map.num_out())) { return std::nullopt; }
  auto const task = warp_gemm_task(arguments, volume, map.num_out(), exec);
  bool const runs = with_warp_shape<Scalar>(
      task, [&](auto shape, WarpGemmConfig const&) { return has_warp_gemm<decltype(shape)>(exec); });
  if (!runs) { return std::nullopt; }
  return CarriedOut{TileChoice::warp, piece_rows};
}

/// Calls `launch(tile, launcher)` with the tile (AutoTile chooses) and the function that enqueues a problem
/// with it, for the arguments' scalar, way of multiplying and alignment.
template <class TilePolicy, class Scalar, class Launch>
void with_tile(ConvolutionArguments<Scalar> const& arguments, std::int64_t num_out,
               Execution<Device> const& exec, Launch const& launch)
{
  constexpr int chunk = 16 / static_cast<int>(sizeof(Scalar));
  bool const aligned = arguments.in_channels % chunk == 0 && arguments.out_channels % chunk == 0 &&
                       is_aligned(arguments.features) && is_aligned(arguments.weight) &&
                       is_aligned(arguments.output);
  auto const with_math = [&](auto math) {
    constexpr MathMode Math = decltype(math)::value;
    auto const with_launcher = [&](auto tile, auto is_aligned) {
      launch(tile, launch_block_gemm<Scalar, Math, decltype(tile), decltype(is_aligned)::value>);
    };
    if constexpr (std::is_same_v<TilePolicy, AutoTile>) {
      constexpr bool tensor_cores = sizeof(Scalar) == 2 || Math == MathMode::tf32;
      auto const shared_bytes =
          static_cast<std::size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, exec));
      TileProblem const problem{num_out, arguments.in_channels, arguments.out_channels,
                                device_attribute(cudaDevAttrMultiProcessorCount, exec), aligned};
      with_tuned_tile<TunedTiles<sizeof(Scalar), tensor_cores>>(
          problem,
          [&](auto tile) { return TileLayout<Scalar, decltype(tile)>::shared_bytes <= shared_bytes; },
          with_launcher);
    } else {
      aligned ? with_launcher(TilePolicy{}, std::true_type{})
              : with_launcher(TilePolicy{}, std::false_type{});
    }
  };
  if constexpr (std::is_same_v<Scalar, float>) {
    if (arguments.math == MathMode::tf32) {
      with_math(std::integral_constant<MathMode, MathMode::tf32>{});
      return;
    }
  }
  with_math(std::integral_constant<MathMode, MathMode::exact>{});
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
