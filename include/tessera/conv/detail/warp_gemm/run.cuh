// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/kernel_plan.hpp>
#include <tessera/conv/detail/launch_support.cuh>
#include <tessera/conv/detail/visit_index.hpp>
#include <tessera/conv/detail/warp_gemm/kernel.cuh>
#include <tessera/conv/detail/warp_gemm/pack.cuh>
#include <tessera/kmap/tile_map.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Enqueues one split of a convolution.
/// @param overlaps  see uses_programmatic_launch()
template <class Shape>
void launch_warp_gemm(WarpGemmProblem<typename Shape::Scalar> problem, WarpLayout const& layout,
                      PipelineSize const& pipeline, int multiprocessors, bool overlaps,
                      Execution<Device> const& exec)
{
  problem.in_channels = layout.in_channels;
  problem.out_channels = layout.out_channels;
  problem.chunks_per_offset = Shape::shape.chunks(layout.in_channels);
  problem.packed_chunks = layout.chunks_per_offset;
  problem.channel_blocks = layout.channel_blocks();
  problem.packed_offsets = layout.packed_offsets();
  problem.stage_chunks = pipeline.stage_chunks;
  problem.stages = pipeline.stages;
  auto const tiles = ceil_div(problem.num_fragments, Shape::row_steps * Shape::row_warps);
  auto const channel_blocks = ceil_div(layout.channel_blocks(), Shape::channel_warps);
  auto blocks = tiles;
  if constexpr (Shape::resident) {
    auto const places = multiprocessors * Shape::min_blocks;
    blocks = std::min(tiles, std::max(1, places / channel_blocks));
  }
  launch({1, overlaps}, warp_gemm_kernel<Shape>,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(channel_blocks)), Shape::threads,
         pipeline.shared_bytes, exec, problem);
}

/// Runs a convolution of 16-bit scalars by the warp kernel, as select() planned it.
/// @param make_sums  called with the number of splits when sums are stored: their memory, [splits, num_out,
///                   out]
/// Stream: enqueues a kernel per split, one more where the weight is not packed, and the tile map's the first
/// time. Does not wait.
template <class Scalar, class MakeSums>
void run_warp_gemm(KernelPlan const& plan, ConvolutionArguments<Scalar> const& arguments,
                   KernelMap<Device>& map, bool sort, int splits, int multiprocessors,
                   Execution<Device> const& exec, MakeSums const& make_sums)
{
  auto const tiles = tile_map(map, sort, splits, fragment_rows, exec);
  auto const length = tiles->split_length;
  float* const sums = splits > 1 ? make_sums(splits) : nullptr;
  auto const weight = weight_of(arguments, map.volume());
  visit_index<static_cast<int>(warp_shapes.size())>(plan.shape, [&](auto index) {
    using Shape = WarpTile<Scalar, decltype(index)::value>;
    for (int split = 0; split < splits; ++split) {
      // Shapes keep their pipeline for the shorter last split: its shared memory is enough.
      WarpLayout const layout{Shape::shape, std::min(length, map.volume() - split * length),
                              arguments.in_channels, arguments.out_channels};
      WarpGemmProblem<Scalar> problem;
      problem.features = arguments.features;
      problem.output = arguments.output;
      problem.epilogue = epilogue_of(arguments);
      problem.sums = splits > 1 ? sums + split * map.num_out() * arguments.out_channels : nullptr;
      problem.num_fragments = static_cast<int>(tiles->num_tiles);
      auto const first_fragment = split * tiles->num_tiles;
      problem.map = tiles->map.data() + first_fragment * length * fragment_rows;
      problem.order = tiles->order.data() + first_fragment * fragment_rows;
      problem.masks = tiles->masks.data() + first_fragment * tiles->words;
      problem.split_length = length;
      problem.words = tiles->words;
      Buffer<Scalar, Device> own;
      auto const given = splits > 1 ? PackedWeightView<Scalar>{} : arguments.packed;
      problem.packed = packed_weight(given, plan.packed, layout.size(), own, exec, [&](Scalar* to) {
        pack_warp_weight(weight.offsets(split * length, layout.volume), to, layout, exec);
      });
      launch_warp_gemm<Shape>(problem, layout, plan.pipeline, multiprocessors,
                              uses_programmatic_launch(map, !own.empty(), exec), exec);
    }
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
