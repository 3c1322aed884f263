// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/kernel_plan.hpp>
#include <tessera/conv/detail/launch_support.cuh>
#include <tessera/conv/detail/visit_index.hpp>
#include <tessera/conv/detail/warpgroup_gemm/kernel.cuh>
#include <tessera/conv/detail/warpgroup_gemm/pack.cuh>
#include <tessera/kmap/tile_map.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Which offsets rank 0 has where two blocks share a tile: every other one from the commonest to the rarest,
/// so that both have about as many of a tile's. Whole halves leave one to wait for the other: of a LiDAR
/// scan's tiles of 128 rows the one with more has 1.14 to 1.27 times their mean, of these 1.06 to 1.22 times.
[[nodiscard]] inline std::uint32_t rank_bits(OffsetOrder const& order, int volume)
{
  std::uint32_t bits = 0;
  for (int place = 0; place < volume; place += 2) { bits |= std::uint32_t{1} << order.offset_at[place]; }
  return bits;
}

/// Enqueues one split of a convolution.
/// @param overlaps  see uses_programmatic_launch()
template <class Shape>
void launch_warpgroup_gemm(WarpgroupGemmProblem<typename Shape::Scalar> problem,
                           WarpgroupLayout const& layout, PipelineSize const& pipeline, bool overlaps,
                           Execution<Device> const& exec)
{
  problem.volume = layout.volume;
  problem.rank_volume = ceil_div(layout.volume, 2);
  problem.few_tiles = pipeline.few_tiles;
  problem.out_channels = layout.out_channels;
  problem.used_chunks = layout.used_chunks();
  problem.chunks = layout.chunks();
  problem.stages = pipeline.stages;
  auto const tiles = ceil_div(problem.num_fragments, Shape::fragments);
  auto const channel_blocks = layout.channel_blocks();
  auto const most_shared = std::min(tiles, pipeline.few_tiles / channel_blocks);
  // There are few whatever the device knows: blocks need not wait to read it.
  if (most_shared == tiles || pipeline.few_tiles == 0) { problem.count = nullptr; }
  // Where only the device knows, the grid is enough for either way.
  bool const may_share = problem.count != nullptr || problem.shares(tiles, channel_blocks);
  auto const blocks = may_share ? std::max(2 * most_shared, 2 * ceil_div(tiles, 2)) : tiles;
  launch({may_share ? 2 : 1, overlaps}, warpgroup_gemm_kernel<Shape>,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(channel_blocks)), Shape::threads,
         pipeline.shared_bytes, exec, problem);
}

/// Runs a convolution by warpgroups, as select() planned it. A kernel of one voxel needs no tile map.
/// @param make_sums  called with the number of splits when sums are stored: their memory, [splits, num_out,
///                   out]
/// Stream: enqueues a kernel per split, one more where the weight is not packed, and the tile map's the first
/// time. Does not wait.
template <class Scalar, class MakeSums>
void run_warpgroup_gemm(KernelPlan const& plan, ConvolutionArguments<Scalar> const& arguments,
                        KernelMap<Device>& map, bool sort, int splits, std::size_t shared_limit,
                        Execution<Device> const& exec, MakeSums const& make_sums)
{
  auto const second = static_cast<int>(arguments.second_features.columns);
  WarpgroupGemmProblem<Scalar> problem;
  problem.features[0] = arguments.features;
  problem.features[1] = arguments.second_features.data;
  problem.in_channels[0] = arguments.in_channels - second;
  problem.in_channels[1] = second;
  problem.first_chunks = ceil_div(problem.in_channels[0], warpgroup_chunk_channels<Scalar>);
  problem.output = arguments.output;
  problem.epilogue = epilogue_of(arguments);
  problem.whole_packs = arguments.out_channels % 8 == 0 && is_aligned(arguments.output) &&
                        is_aligned(arguments.bias) && is_aligned(arguments.epilogue.residual.data);
  problem.num_out = static_cast<int>(map.num_out());
  problem.count = map.parts().out_count;
  float* const sums = splits > 1 ? make_sums(splits) : nullptr;
  auto const full_length = split_length(map.volume(), splits);
  auto const weight = weight_of(arguments, map.volume());
  visit_index<static_cast<int>(warpgroup_shapes.size())>(plan.shape, [&](auto index) {
    using Shape = WarpgroupTile<Scalar, decltype(index)::value>;
    auto const run = [&](int first_offset, int volume) {
      auto const pipeline = volume == full_length
                                ? plan.pipeline
                                : warpgroup_pipeline(Shape::shape, volume, arguments.kernel, shared_limit);
      WarpgroupLayout const layout{Shape::shape, warpgroup_chunk_channels<Scalar>, volume,
                                   arguments.in_channels, arguments.out_channels};
      Buffer<Scalar, Device> own;
      auto const given = splits > 1 ? PackedWeightView<Scalar>{} : arguments.packed;
      problem.packed = packed_weight(given, plan.packed, layout.size(), own, exec, [&](Scalar* to) {
        pack_warpgroup_weight(weight.offsets(first_offset, volume), to, layout, exec);
      });
      launch_warpgroup_gemm<Shape>(problem, layout, pipeline,
                                   uses_programmatic_launch(map, !own.empty(), exec), exec);
    };
    if (map.is_identity()) {
      problem.identity = access(map).pin(exec);
      problem.num_fragments = ceil_div(problem.num_out, fragment_rows);
      problem.sums = sums;
      run(0, 1);
      return;
    }
    auto const tiles = tile_map(map, sort, splits, fragment_rows, exec);
    auto const length = tiles->split_length;
    problem.num_fragments = static_cast<int>(tiles->num_tiles);
    problem.map_length = length;
    problem.words = tiles->words;
    if (splits == 1 && map.volume() <= OffsetOrder::most) {
      problem.rank_bits = rank_bits(map.parts().offset_order, map.volume());
    }
    for (int split = 0; split < splits; ++split) {
      if (sums != nullptr) { problem.sums = sums + split * map.num_out() * arguments.out_channels; }
      auto const first_fragment = split * tiles->num_tiles;
      problem.map = tiles->map.data() + first_fragment * length * fragment_rows;
      problem.order = tiles->order.data() + first_fragment * fragment_rows;
      problem.masks = tiles->masks.data() + first_fragment * tiles->words;
      run(split * length, std::min(length, map.volume() - split * length));
    }
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
