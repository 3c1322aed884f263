// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "select_cases.hpp"

#include <vector>

using namespace select_cases;

TEST_CASE("select: a 16-bit weight gradient has tiles of tensor cores, all others the one exact kernel")
{
  constexpr auto automatic = GemmKernel::automatic;
  namespace shapes = detail::gradient_shape;
  std::vector<Line> const table{
      {90, f16, exact, 64, 64, 0, 27, automatic, 0, shapes::narrow, true},
      {90, bf16, exact, 16, 64, 0, 27, automatic, 0, shapes::narrow, true},
      {90, f16, exact, 4, 32, 0, 27, automatic, 0, shapes::narrow, true},  // rows that begin anywhere
      {90, f16, exact, 5, 3, 0, 27, automatic, 0, shapes::narrow, true},
      {90, f16, exact, 72, 8, 0, 27, automatic, 0, shapes::wide, true},
      {90, bf16, exact, 8, 72, 0, 27, automatic, 0, shapes::wide, true},
      {90, f16, exact, 128, 256, 0, 27, automatic, 0, shapes::wide, true},
      {90, f16, exact, 256, 64, 0, 27, automatic, 0, shapes::wide, true},
      {90, f16, exact, 256, 256, 0, 27, automatic, 0, shapes::broad, true},
      {90, bf16, exact, 130, 65, 0, 27, automatic, 0, shapes::broad, true},
      {80, f16, exact, 96, 96, 0, 27, automatic, 0, shapes::wide, true},
      {86, f16, exact, 256, 256, 0, 27, automatic, 0, shapes::broad, true},
      {120, bf16, exact, 32, 32, 0, 27, automatic, 0, shapes::narrow, true},
      {75, f16, exact, 64, 64, 0, 27, automatic, 0, 0},
      {90, f32, exact, 64, 64, 0, 27, automatic, 0, 0},
      {90, f32, tf32, 64, 64, 0, 27, automatic, 0, 0},  // products of gradients are exact in every MathMode
      {90, f64, exact, 64, 64, 0, 27, automatic, 0, 0},
  };
  for (auto line : table) {
    for (std::int64_t const rows : {0, 1'000, 1'000'000}) {  // capacity decides nothing
      line.rows = rows;
      CHECK(check(line, Operation::backward_weight).packed == detail::PackedLayout{});
    }
  }
  auto problem = problem_of(f16, 256, 256);
  problem.operation = Operation::backward_weight;
  auto small = device_of(90);
  small.shared_bytes = 48 * 1024;
  CHECK(!detail::select(problem, {1'000, 27, false}, small).gradient_tiles);
}
