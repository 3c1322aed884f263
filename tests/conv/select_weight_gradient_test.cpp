// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/conv/detail/select.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace tessera;

namespace {

struct WeightLine {
  int device;
  DType scalar;
  MathMode math;
  int in_channels;
  int out_channels;
  GemmKernel kernel;
  int shape;
};

DeviceLimits device_of(int compute_capability)
{
  DeviceLimits device;
  device.compute_capability = compute_capability;
  device.shared_bytes = static_cast<std::size_t>(compute_capability == 90   ? 227
                                                 : compute_capability == 80 ? 163
                                                 : compute_capability > 80  ? 99
                                                                            : 64) *
                        1024;
  device.has_gradient_tiles = compute_capability >= 80;
  return device;
}

ConvProblem gradient_of(DType scalar, MathMode math, int in_channels, int out_channels)
{
  ConvProblem problem;
  problem.operation = Operation::backward_weight;
  problem.in_type = problem.weight_type = problem.out_type = scalar;
  if (scalar == DType::float64) { problem.sum_type = scalar; }
  problem.math = math;
  problem.in_channels = in_channels;
  problem.out_channels = out_channels;
  return problem;
}

}  // namespace

TEST_CASE("select: a 16-bit weight gradient has tiles of tensor cores, all others the one exact kernel")
{
  constexpr auto f16 = DType::float16;
  constexpr auto bf16 = DType::bfloat16;
  constexpr auto f32 = DType::float32;
  constexpr auto exact = MathMode::exact;
  constexpr auto block = GemmKernel::block;
  constexpr auto multiply_adds = GemmKernel::automatic;
  namespace shapes = detail::gradient_shape;
  std::vector<WeightLine> const table{
      {90, f16, exact, 64, 64, block, shapes::narrow},
      {90, bf16, exact, 16, 64, block, shapes::narrow},
      {90, f16, exact, 4, 32, block, shapes::narrow},  // rows that begin anywhere
      {90, f16, exact, 5, 3, block, shapes::narrow},
      {90, f16, exact, 72, 8, block, shapes::wide},
      {90, bf16, exact, 8, 72, block, shapes::wide},
      {90, f16, exact, 128, 256, block, shapes::wide},
      {90, f16, exact, 256, 64, block, shapes::wide},
      {90, f16, exact, 256, 256, block, shapes::broad},
      {90, bf16, exact, 130, 65, block, shapes::broad},
      {80, f16, exact, 96, 96, block, shapes::wide},
      {86, f16, exact, 256, 256, block, shapes::broad},
      {120, bf16, exact, 32, 32, block, shapes::narrow},
      {75, f16, exact, 64, 64, multiply_adds, 0},
      {90, f32, exact, 64, 64, multiply_adds, 0},
      {90, f32, MathMode::tf32, 64, 64, multiply_adds,
       0},  // products of gradients are exact in every MathMode
      {90, DType::float64, exact, 64, 64, multiply_adds, 0},
  };
  for (auto const& line : table) {
    CAPTURE(line.device);
    CAPTURE(name_of(line.scalar));
    CAPTURE(line.in_channels);
    CAPTURE(line.out_channels);
    auto const problem = gradient_of(line.scalar, line.math, line.in_channels, line.out_channels);
    for (std::int64_t const rows : {0, 1'000, 1'000'000}) {  // capacity decides nothing
      auto const plan = detail::select(problem, {rows, 27, false}, device_of(line.device));
      CHECK(static_cast<int>(plan.kernel) == static_cast<int>(line.kernel));
      CHECK(plan.shape == line.shape);
      CHECK(plan.operation == Operation::backward_weight);
      CHECK(plan.tile_rows == 0);
      CHECK(plan.packed == detail::PackedLayout{});
      CHECK(plan.pipeline.shared_bytes <= device_of(line.device).shared_bytes);
    }
  }
  auto const problem = gradient_of(f16, exact, 256, 256);
  auto small = device_of(90);
  small.shared_bytes = 48 * 1024;
  CHECK(detail::select(problem, {1'000, 27, false}, small).kernel == GemmKernel::automatic);
}
