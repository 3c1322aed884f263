// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What select() is asked in its tests, and lines of the tables of what it answers.

#include <tessera/conv/detail/select.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>

namespace select_cases {

using namespace tessera;

constexpr auto f16 = DType::float16;
constexpr auto bf16 = DType::bfloat16;
constexpr auto f32 = DType::float32;
constexpr auto f64 = DType::float64;
constexpr auto exact = MathMode::exact;
constexpr auto tf32 = MathMode::tf32;

/// The device of a compute capability, with all kernels that are compiled for it.
inline DeviceLimits device_of(int compute_capability)
{
  std::size_t const kilobytes = compute_capability == 90   ? 227
                                : compute_capability == 80 ? 163
                                : compute_capability > 80  ? 99
                                                           : 64;
  DeviceLimits device;
  device.compute_capability = compute_capability;
  device.multiprocessors = compute_capability >= 90 ? 132 : compute_capability >= 80 ? 108 : 40;
  device.shared_bytes = kilobytes * 1024;
  device.has_warp = device.has_warpgroup = compute_capability == 90;
  device.has_gradient_tiles = compute_capability >= 80;
  return device;
}

inline ConvProblem problem_of(DType scalar, int in_channels, int out_channels)
{
  ConvProblem problem;
  problem.in_type = problem.weight_type = problem.out_type = scalar;
  if (scalar == DType::float64) { problem.sum_type = scalar; }
  problem.in_channels = in_channels;
  problem.out_channels = out_channels;
  return problem;
}

/// A line of a table: what is asked, and the kernel, the rows of its tile map and its shape.
struct Line {
  int device;
  DType scalar;
  MathMode math;
  int in_channels;
  int out_channels;
  std::int64_t rows;
  int volume;
  GemmKernel kernel;
  int tile_rows;
  int shape;
  bool gradient_tiles = false;
};

/// Checks the answer to a line for an operation, and returns it.
inline detail::KernelPlan check(Line const& line, Operation operation)
{
  CAPTURE(line.device);
  CAPTURE(name_of(line.scalar));
  CAPTURE(line.in_channels);
  CAPTURE(line.out_channels);
  CAPTURE(line.rows);
  CAPTURE(line.volume);
  auto problem = problem_of(line.scalar, line.in_channels, line.out_channels);
  problem.operation = operation;
  problem.math = line.math;
  auto const device = device_of(line.device);
  auto const plan = detail::select(problem, {line.rows, line.volume, false}, device);
  CHECK(static_cast<int>(plan.kernel) == static_cast<int>(line.kernel));
  CHECK(plan.tile_rows == line.tile_rows);
  CHECK(plan.shape == line.shape);
  CHECK(plan.gradient_tiles == line.gradient_tiles);
  CHECK(plan.operation == operation);
  CHECK(plan.pipeline.shared_bytes <= device.shared_bytes);
  return plan;
}

}  // namespace select_cases
