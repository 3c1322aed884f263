// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/block_gemm/kernel.cuh>
#include <tessera/conv/detail/block_gemm/pack.cuh>
#include <tessera/conv/detail/kernel_plan.hpp>
#include <tessera/conv/detail/launch_support.cuh>
#include <tessera/conv/tuning.hpp>
#include <tessera/kmap/tile_map.hpp>

#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Calls `body(math)` with the arguments' MathMode as a constant, where it makes a difference.
template <class Scalar, class Body>
void with_math(MathMode math, Body const& body)
{
  if constexpr (ScalarTraits<Scalar>::family == ScalarFamily::float32) {
    if (math == MathMode::tf32) { return body(std::integral_constant<MathMode, MathMode::tf32>{}); }
  }
  body(std::integral_constant<MathMode, MathMode::exact>{});
}

/// Calls `body(tile, launcher)` with the tile and the function that enqueues a problem with it, for the
/// arguments' scalar, way of multiplying and alignment.
/// @tparam TilePolicy  a tile, or AutoTile for the one that `plan` names
template <class TilePolicy, class Scalar, class Body>
void with_tile(KernelPlan const& plan, MathMode math, Body const& body)
{
  with_math<Scalar>(math, [&](auto math_constant) {
    constexpr MathMode Math = decltype(math_constant)::value;
    auto const with_launcher = [&](auto tile, auto aligned) {
      body(tile, launch_block_gemm<Scalar, Math, decltype(tile), decltype(aligned)::value>);
    };
    if constexpr (std::is_same_v<TilePolicy, AutoTile>) {
      constexpr auto family = ScalarTraits<Scalar>::family;
      with_tuned_tile<TunedTiles<family, uses_tensor_cores(family, Math)>>(static_cast<TunedTile>(plan.shape),
                                                                           plan.aligned, with_launcher);
    } else {
      plan.aligned ? with_launcher(TilePolicy{}, std::true_type{})
                   : with_launcher(TilePolicy{}, std::false_type{});
    }
  });
}

/// The arguments with a weight in the plain order: the one given, its packed copy, or one packed into `own`.
template <class Scalar>
[[nodiscard]] ConvolutionArguments<Scalar> with_plain_weight(KernelPlan const& plan,
                                                             ConvolutionArguments<Scalar> arguments,
                                                             int volume, Buffer<Scalar, Device>& own,
                                                             Execution<Device> const& exec)
{
  if (arguments.weight_steps.is_plain()) { return arguments; }
  auto const weight = weight_of(arguments, volume);
  arguments.weight = packed_weight(arguments.packed, plan.packed, weight.size(), own, exec,
                                   [&](Scalar* to) { pack_plain_weight(weight, to, exec); });
  arguments.weight_steps = {};
  return arguments;
}

/// Runs an implicit GEMM in tiles; sums of several splits go where `make_sums` says.
/// Stream: enqueues a kernel, one more where the weight has to be packed, and the tile map's the first time.
/// Does not wait.
template <class TilePolicy, class Scalar, class MakeSums>
void run_block_gemm(KernelPlan const& plan, ConvolutionArguments<Scalar> const& arguments,
                    KernelMap<Device>& map, bool sort, int splits, Execution<Device> const& exec,
                    MakeSums const& make_sums)
{
  Buffer<Scalar, Device> own;
  auto const plain = with_plain_weight(plan, arguments, map.volume(), own, exec);
  with_tile<TilePolicy, Scalar>(plan, arguments.math, [&](auto tile, auto launch_problem) {
    auto const tiles = tile_map(map, sort, splits, decltype(tile)::rows, exec);
    auto problem = make_problem(plain, map.num_out());
    problem.map = tiles->map.data();
    problem.order = tiles->order.data();
    problem.masks = tiles->masks.data();
    problem.num_places = map.num_out();
    problem.num_tiles = tiles->num_tiles;
    problem.splits = splits;
    problem.split_length = tiles->split_length;
    problem.words = tiles->words;
    if (splits > 1) { problem.sums = make_sums(splits); }
    launch_problem(problem, exec);
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
