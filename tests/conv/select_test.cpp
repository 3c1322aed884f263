// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "select_cases.hpp"

#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace select_cases;
using detail::KernelPlan;
using detail::select;

namespace {

constexpr auto block = GemmKernel::block;
constexpr auto warp = GemmKernel::warp;
constexpr auto alone = GemmKernel::warpgroup;
constexpr auto pair = GemmKernel::warpgroup_pair;

int place(TunedTile tile)
{
  return static_cast<int>(tile);
}

/// The place of a shape by its constants.
int group_shape(int columns, int depth)
{
  for (std::size_t i = 0; i < detail::warpgroup_shapes.size(); ++i) {
    auto const& shape = detail::warpgroup_shapes[i];
    if (shape.columns == columns && shape.depth == depth) { return static_cast<int>(i); }
  }
  return -1;
}

}  // namespace

TEST_CASE("select: each architecture, scalar, number of channels, rows and offsets has its kernel and shape")
{
  std::vector<Line> const table{
      // An H100: few channels of 16 bits by warps, many by warpgroups, which share tiles where those are few.
      {90, f16, exact, 4, 32, 94'444, 27, warp, 16, detail::warp_shape::quads},
      {90, f16, exact, 4, 16, 94'444, 27, warp, 16, detail::warp_shape::narrow_quads},
      {90, f16, exact, 8, 64, 94'444, 27, warp, 16, detail::warp_shape::wide_quads},
      {90, f16, exact, 16, 16, 94'444, 27, warp, 16, detail::warp_shape::narrow_packed},
      {90, bf16, exact, 16, 32, 94'444, 27, warp, 16, detail::warp_shape::packed},
      {90, f16, exact, 32, 32, 94'444, 27, warp, 16, detail::warp_shape::narrow},
      {90, f16, exact, 64, 64, 94'444, 27, warp, 16, detail::warp_shape::medium},
      {90, f16, exact, 128, 64, 94'444, 27, warp, 16, detail::warp_shape::staged},
      {90, f16, exact, 96, 96, 94'444, 27, alone, 16, group_shape(96, 3)},
      {90, bf16, exact, 96, 96, 94'444, 27, alone, 16, group_shape(96, 3)},
      {90, f16, exact, 96, 96, 20'000, 27, pair, 16, group_shape(96, 3)},
      {90, f16, exact, 96, 96, 20'000, 8, alone, 16, group_shape(96, 3)},
      {90, f16, exact, 128, 128, 94'444, 27, alone, 16, group_shape(128, 2)},
      {90, f16, exact, 256, 256, 94'444, 27, pair, 16, group_shape(256, 4)},
      {90, f16, exact, 384, 256, 400'000, 27, alone, 16, group_shape(256, 4)},
      {90, f16, exact, 32, 64, 94'444, 1, alone, 16, group_shape(64, 1)},
      // Channels of which rows do not begin at multiples of 16 bytes.
      {90, f16, exact, 81, 81, 94'444, 27, block, 64, place(TunedTile::ragged)},
      {90, f16, exact, 5, 20, 94'444, 27, block, 64, place(TunedTile::shallow)},
      {90, f16, exact, 12, 8, 94'444, 27, block, 64, place(TunedTile::shallow)},
      // float: exactly by blocks, by TF32 by warpgroups.
      {90, f32, exact, 64, 64, 94'444, 27, block, 64, place(TunedTile::medium)},
      {90, f32, exact, 32, 32, 94'444, 27, block, 64, place(TunedTile::narrow)},
      {90, f32, exact, 4, 32, 94'444, 27, block, 64, place(TunedTile::narrow)},
      {90, f32, exact, 3, 32, 94'444, 27, block, 64, place(TunedTile::shallow)},
      {90, f32, tf32, 32, 32, 94'444, 27, alone, 16, group_shape(64, 2)},
      {90, f32, tf32, 64, 256, 94'444, 27, pair, 16, group_shape(256, 4)},
      {90, f32, tf32, 12, 32, 94'444, 27, block, 64, place(TunedTile::narrow)},
      {90, f64, exact, 64, 64, 94'444, 27, block, 64, place(TunedTile::wide)},
      // Other devices have blocks alone; tiles that their shared memory does not hold give way to smaller
      // ones.
      {80, f16, exact, 32, 32, 94'444, 27, block, 64, place(TunedTile::narrow)},
      {80, f16, exact, 64, 64, 94'444, 27, block, 64, place(TunedTile::medium)},
      {80, f16, exact, 96, 96, 94'444, 27, block, 64, place(TunedTile::broad)},
      {80, f16, exact, 256, 256, 94'444, 27, block, 64, place(TunedTile::wide)},
      {80, f16, exact, 256, 256, 2'814, 27, block, 64, place(TunedTile::coarse)},
      {80, f16, exact, 64, 256, 2'814, 27, block, 64, place(TunedTile::medium)},
      {80, f32, tf32, 64, 64, 94'444, 27, block, 64, place(TunedTile::medium)},
      {75, f16, exact, 256, 256, 94'444, 27, block, 64, place(TunedTile::medium)},
      {75, f16, exact, 32, 32, 94'444, 27, block, 64, place(TunedTile::narrow)},
      {120, f16, exact, 96, 96, 94'444, 27, block, 64, place(TunedTile::broad)},
  };
  for (auto const& line : table) { check(line, Operation::forward); }
}

TEST_CASE("select: a kernel asked for runs where the operands and the device allow it, else the next one")
{
  auto problem = problem_of(f16, 64, 64);
  MapSummary const map{94'444, 27, false};
  auto const selected = [&](GemmKernel asked, DeviceLimits const& device) {
    problem.kernel = asked;
    return select(problem, map, device).kernel;
  };
  auto device = device_of(90);
  CHECK(selected(block, device) == block);
  CHECK(selected(warp, device) == warp);
  CHECK(selected(alone, device) == alone);
  CHECK(selected(pair, device) == pair);
  CHECK(selected(GemmKernel::specialized, device) == selected(GemmKernel::automatic, device));
  device.has_warpgroup = false;
  CHECK(selected(pair, device) == warp);
  device.has_warp = false;
  CHECK(selected(pair, device) == block);
  CHECK(selected(warp, device) == block);
  device = device_of(90);
  problem.aligned_epilogue = false;  // warpgroups read it element by element
  CHECK(selected(warp, device) == block);
  CHECK(selected(alone, device) == alone);
  problem.aligned_inputs = false;
  CHECK(selected(alone, device) == block);
  problem = problem_of(f32, 64, 64);
  CHECK(selected(alone, device) == block);  // exact products
  problem.math = tf32;
  CHECK(selected(alone, device) == alone);
  CHECK(selected(warp, device) == block);
}

TEST_CASE("select: two inputs are read by warpgroups alone, and only where both are cut into whole chunks")
{
  MapSummary const map{94'444, 27, false};
  auto problem = problem_of(f16, 192, 96);
  problem.second_channels = 96;
  CHECK(select(problem, map, device_of(90)).reads_two_inputs);
  CHECK_FALSE(select(problem, map, device_of(80)).reads_two_inputs);
  problem.second_channels = 72;
  CHECK_FALSE(select(problem, map, device_of(90)).reads_two_inputs);
  problem.second_channels = 96;
  problem.out_channels = 64;  // where one input would be the warp kernel's
  CHECK_FALSE(select(problem, map, device_of(90)).reads_two_inputs);
}

TEST_CASE(
    "select: a kernel of the user's own goes first, but where there is an epilogue or another is asked for")
{
  MapSummary const map{94'444, 27, false};
  auto problem = problem_of(f16, 96, 96);
  auto const without = select(problem, map, device_of(90));
  problem.has_specialized = true;
  auto const plan = select(problem, map, device_of(90));
  CHECK(plan.kernel == GemmKernel::specialized);
  CHECK(plan.tile_rows == 0);
  CHECK_FALSE(plan.reads_two_inputs);
  CHECK(plan.packed == without.packed);  // calls with an epilogue read it
  problem.has_residual = true;
  CHECK(select(problem, map, device_of(90)) == without);
  problem.has_residual = false;
  problem.activation = Activation::relu;
  CHECK(select(problem, map, device_of(90)) == without);
  problem.activation = Activation::none;
  problem.kernel = block;
  CHECK(select(problem, map, device_of(90)).kernel == block);
}

TEST_CASE(
    "select: the packed weight does not depend on rows, is plain for blocks, and is not kept for splits")
{
  for (auto const& channels : {std::pair{32, 32}, {64, 64}, {96, 96}, {96, 256}, {4, 32}}) {
    auto problem = problem_of(f16, channels.first, channels.second);
    auto const unknown = select(problem, {0, 27, false}, device_of(90)).packed;
    CAPTURE(channels.first);
    CAPTURE(channels.second);
    CHECK(unknown[0] != 0);
    for (std::int64_t const rows : {1, 20'000, 94'444, 2'000'000}) {
      CHECK(select(problem, {rows, 27, false}, device_of(90)).packed == unknown);
    }
    CHECK(select(problem, {94'444, 27, false}, device_of(80)).packed == detail::PackedLayout{});
    problem.splits = 3;
    CHECK(select(problem, {94'444, 27, false}, device_of(90)).packed == detail::PackedLayout{});
  }
}

TEST_CASE("select: the packed weight of the warp kernel does not depend on rows either, where its shape does")
{
  for (auto const& channels : {std::pair{96, 256}, {128, 384}, {64, 136}, {160, 200}, {256, 256}}) {
    CAPTURE(channels.first);
    CAPTURE(channels.second);
    auto problem = problem_of(f16, channels.first, channels.second);
    problem.kernel = warp;
    auto const unknown = select(problem, {0, 27, false}, device_of(90));
    auto const many = select(problem, {2'000'000, 27, false}, device_of(90));
    CHECK(many.shape == detail::warp_shape::large);
    CHECK(unknown.shape != many.shape);
    CHECK(unknown.packed == many.packed);
    CHECK(many.packed[0] == detail::packed_for_warp);
  }
}

TEST_CASE(
    "select: a map that is the identity needs no tile map, and more offsets than a list holds share tiles")
{
  CHECK(select(problem_of(f16, 96, 96), {94'444, 1, true}, device_of(90)).tile_rows == 0);
  auto problem = problem_of(f16, 96, 96);
  problem.kernel = alone;
  CHECK(select(problem, {2'000'000, 27, false}, device_of(90)).kernel == alone);
  CHECK(select(problem, {2'000'000, 125, false}, device_of(90)).kernel == pair);
  CHECK(select(problem, {2'000'000, 70'000, false}, device_of(90)).kernel != alone);
}

TEST_CASE("select: every shape and tile is chosen for some problem")
{
  std::set<int> warps;
  std::set<int> groups;
  std::set<int> tiles;
  for (auto const asked : {GemmKernel::automatic, block, warp, alone}) {
    for (int in = 1; in <= 512; ++in) {
      for (int const out : {8, 16, 20, 32, 40, 64, 96, 128, 160, 256}) {
        for (std::int64_t const rows : {1'000, 200'000}) {
          auto problem = problem_of(f16, in, out);
          problem.kernel = asked;
          auto const plan = select(problem, {rows, 27, false}, device_of(90));
          (plan.kernel == warp ? warps : plan.kernel == block ? tiles : groups).insert(plan.shape);
        }
      }
    }
  }
  CHECK(warps.size() == detail::warp_shapes.size());
  CHECK(groups.size() == detail::warpgroup_shapes.size());
  CHECK(tiles.size() == 7);
}

TEST_CASE(
    "select: a data gradient takes the kernel of its channels, with a layout of its own, never a user's")
{
  MapSummary const map{94'444, 27, false};
  struct OperationLine {
    int device;
    DType scalar;
    MathMode math;
    int in_channels;
    int out_channels;
    GemmKernel kernel;
  };
  std::vector<OperationLine> const table{{90, f16, exact, 32, 32, warp},   {90, bf16, exact, 96, 96, alone},
                                         {90, f16, exact, 20, 33, block},  {90, f32, tf32, 64, 64, alone},
                                         {90, f32, exact, 64, 64, block},  {90, f64, exact, 64, 64, block},
                                         {80, f16, exact, 128, 128, block}};
  for (auto const& line : table) {
    CAPTURE(name_of(line.scalar));
    CAPTURE(line.in_channels);
    auto problem = problem_of(line.scalar, line.in_channels, line.out_channels);
    problem.math = line.math;
    problem.has_specialized = true;
    auto const forward = select(problem, map, device_of(line.device));
    CHECK(forward.kernel == GemmKernel::specialized);
    CHECK(forward.operation == Operation::forward);
    // The operation alone is enough to leave a user's kernel out, and so is a strided weight, below.
    problem.operation = Operation::backward_data;
    CHECK(select(problem, map, device_of(line.device)).kernel != GemmKernel::specialized);
    problem.weight_steps = {std::int64_t{line.in_channels} * line.out_channels, 1, line.in_channels};
    auto const gradient = select(problem, map, device_of(line.device));
    CHECK(static_cast<int>(gradient.kernel) == static_cast<int>(line.kernel));
    CHECK(gradient.operation == Operation::backward_data);
    CHECK_FALSE(gradient.falls_back);
    CHECK(gradient.packed != forward.packed);
    CHECK(gradient.packed[0] != 0);
    // Mirrored offsets are another layout.
    auto mirrored = problem;
    mirrored.weight_steps.offset = -mirrored.weight_steps.offset;
    CHECK(select(mirrored, map, device_of(line.device)).packed != gradient.packed);
    problem.operation = Operation::forward;
    CHECK(static_cast<int>(select(problem, map, device_of(line.device)).kernel) ==
          static_cast<int>(line.kernel));
  }
}

TEST_CASE("select: an operation that a dataflow lacks falls back to gather-scatter, and says so")
{
  MapSummary const map{94'444, 27, false};
  for (auto const operation : {Operation::backward_data, Operation::backward_weight}) {
    CAPTURE(name_of(operation));
    auto problem = problem_of(f16, 96, 96);
    problem.operation = operation;
    auto const had = select(problem, map, device_of(90));
    CHECK_FALSE(had.falls_back);
    problem.has_operation = false;
    auto const plan = select(problem, map, device_of(90));
    CHECK(plan.falls_back);
    CHECK(plan.operation == operation);
    CHECK(plan.tile_rows == 0);
    CHECK_FALSE(plan.reads_two_inputs);
    CHECK_FALSE(plan == had);
  }
}

TEST_CASE("select: types without kernels are refused by name, in every operation")
{
  MapSummary const map{94'444, 27, false};
  auto const refusal = [&](ConvProblem const& problem) {
    try {
      static_cast<void>(select(problem, map, device_of(90)));
    } catch (invalid_argument const& error) {
      return std::string{error.what()};
    }
    return std::string{};
  };
  for (auto const operation : {Operation::forward, Operation::backward_data, Operation::backward_weight}) {
    CAPTURE(name_of(operation));
    for (auto const scalar : {DType::int8, DType::float8_e4m3, DType::float8_e5m2, DType::uint8, DType::int16,
                              DType::int32, DType::int64, DType::boolean}) {
      CAPTURE(name_of(scalar));
      auto problem = problem_of(scalar, 64, 64);
      problem.operation = operation;
      problem.sum_type = f32;  // as a float of that size would have it
      CHECK_FALSE(refusal(problem).empty());
      problem.sum_type = DType::int32;
      problem.out_type = f16;
      CHECK(refusal(problem) == std::string{"convolution: no kernel multiplies "} + name_of(scalar) +
                                    " features by a " + name_of(scalar) +
                                    " weight into float16 outputs with sums in int32; features, weight and " +
                                    "outputs must have one type, float64 (sums in float64), float32, float16 "
                                    "or bfloat16 (sums in " +
                                    "float32)");
    }
    auto mixed = problem_of(f16, 64, 64);
    mixed.operation = operation;
    mixed.weight_type = DType::int8;
    CHECK_FALSE(refusal(mixed).empty());
    mixed = problem_of(f16, 64, 64);
    mixed.out_type = f32;
    CHECK_FALSE(refusal(mixed).empty());
    mixed = problem_of(f64, 64, 64);
    mixed.sum_type = f32;
    CHECK_FALSE(refusal(mixed).empty());
  }
  CHECK_THROWS_AS(static_cast<void>(detail::tuned_tile_sizes(DType::int8, exact)), invalid_argument);
}
