// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/kernel_plan.hpp>
#include <tessera/conv/detail/visit_index.hpp>
#include <tessera/conv/detail/weight_gradient/segments.cuh>
#include <tessera/conv/detail/weight_gradient/tiles.cuh>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The gradient of a weight in numbers, for select().
template <class Scalar>
[[nodiscard]] ConvProblem problem_of(WeightGradientArguments<Scalar> const& arguments)
{
  ConvProblem problem;
  problem.operation = Operation::backward_weight;
  problem.in_type = problem.weight_type = problem.out_type = ScalarTraits<Scalar>::dtype;
  problem.sum_type = ScalarTraits<accumulator_t<Scalar>>::dtype;
  problem.in_channels = arguments.in_channels;
  problem.out_channels = arguments.out_channels;
  return problem;
}

/// Writes the sums of a weight's gradient by tensor cores, segment by segment.
/// Cost: the pair list of the map the first time; up to 64 MB of memory, or twice the gradient.
/// Stream: enqueues two kernels, and the first time those of the pair list and its segments; does not wait.
template <class Scalar, class Tile>
void run_gradient_tiles(WeightGradientArguments<Scalar> const& arguments, KernelMap<Device>& map,
                        Execution<Device> const& exec)
{
  constexpr GradientShape shape = Tile::shape;
  auto const size = std::int64_t{arguments.in_channels} * arguments.out_channels;
  auto const volume = map.volume();
  SegmentCut const cut{shape.least, volume, size};
  auto const lists = map.is_identity() ? nullptr : pair_list(map, exec);
  auto const room = cut.room(lists == nullptr ? map.num_out() : most_pairs(map), volume);
  auto const segments = gradient_segments(map, lists.get(), cut, room, exec);
  Buffer<float, Device> parts{room * size, exec};

  GradientTileProblem<Scalar> problem;
  problem.x = arguments.features;
  problem.dy = arguments.grad_output;
  if (lists != nullptr) {
    problem.in = lists->in.data();
    problem.out = lists->out.data();
  }
  problem.segments = segments->list.data();
  problem.parts = parts.data();
  problem.in_channels = arguments.in_channels;
  problem.out_channels = arguments.out_channels;
  problem.in_tiles = ceil_div(arguments.in_channels, shape.tile_in);
  problem.out_tiles = ceil_div(arguments.out_channels, shape.tile_out);
  constexpr int chunk = 16 / static_cast<int>(sizeof(Scalar));
  problem.aligned_x = arguments.in_channels % chunk == 0 && is_aligned(arguments.features);
  problem.aligned_dy = arguments.out_channels % chunk == 0 && is_aligned(arguments.grad_output);
  auto const blocks = room * problem.in_tiles * problem.out_tiles;
  expects(blocks <= INT32_MAX, "convolution: ", blocks, " blocks are more than one launch can have");
  launch(gradient_tile_kernel<Scalar, Tile>, dim3(static_cast<unsigned>(blocks)), shape.threads(),
         shape.shared_bytes(), exec, problem);

  using Block = AddSegmentsBlock;
  auto const sums = ceil_div(size, std::int64_t{Block::elements}) * volume;
  expects(sums <= INT32_MAX, "convolution: ", sums, " blocks are more than one launch can have");
  launch(add_segments_kernel<Block>, dim3(static_cast<unsigned>(sums)), Block::warps * 32, 0, exec,
         problem.parts, segments->first.data(), size, arguments.grad_weight);
}

/// The same with the shape that `plan` names.
template <class Scalar>
void run_weight_gradient_tiles(KernelPlan const& plan, WeightGradientArguments<Scalar> const& arguments,
                               KernelMap<Device>& map, Execution<Device> const& exec)
{
  visit_index<static_cast<int>(gradient_shapes.size())>(plan.shape, [&](auto index) {
    run_gradient_tiles<Scalar, GradientTile<decltype(index)::value>>(arguments, map, exec);
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
