// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/kernel_plan.hpp>
#include <tessera/conv/detail/warp_gemm/shapes.hpp>
#include <tessera/conv/detail/warpgroup_gemm/shapes.hpp>
#include <tessera/conv/detail/weight_gradient/shapes.hpp>
#include <tessera/conv/tuning.hpp>

#include <climits>
#include <cstdint>
#include <optional>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How the kernels multiply.
enum class Multiplication : std::uint8_t { exact, tf32, half };

/// Of a problem that check_types() accepts.
[[nodiscard]] constexpr Multiplication multiplication_of(ConvProblem const& problem)
{
  auto const family = family_of(problem.in_type);
  if (family == ScalarFamily::float16) { return Multiplication::half; }
  return family == ScalarFamily::float32 && problem.math == MathMode::tf32 ? Multiplication::tf32
                                                                           : Multiplication::exact;
}

/// Throws unless there are kernels for the types.
inline void check_types(ConvProblem const& problem)
{
  auto const in = problem.in_type;
  auto const family = family_of(in);
  bool const is_float =
      family == ScalarFamily::float64 || family == ScalarFamily::float32 || family == ScalarFamily::float16;
  auto const sum = family == ScalarFamily::float64 ? DType::float64 : DType::float32;
  expects(is_float && problem.weight_type == in && problem.out_type == in && problem.sum_type == sum,
          "convolution: no kernel multiplies ", name_of(in), " features by a ", name_of(problem.weight_type),
          " weight into ", name_of(problem.out_type), " outputs with sums in ", name_of(problem.sum_type),
          "; features, weight and outputs must have one type, float64 (sums in float64), float32, float16 or "
          "bfloat16 (sums in float32)");
}

/// Offsets of a split; splits without offsets are none.
[[nodiscard]] constexpr int split_length(int volume, int splits)
{
  return ceil_div(volume, splits);
}

/// Whether the warpgroups' kernel is wanted, if it can run: for few channels of 16 bits another one keeps the
/// whole weight in shared memory.
[[nodiscard]] inline bool wants_warpgroups(ConvProblem const& problem, int volume)
{
  constexpr int few_channels = 64;
  auto const multiplication = multiplication_of(problem);
  if (multiplication == Multiplication::exact) { return false; }
  switch (problem.kernel) {
    case GemmKernel::warpgroup:
    case GemmKernel::warpgroup_pair: return true;
    case GemmKernel::block:
    case GemmKernel::warp: return false;
    default:
      return multiplication == Multiplication::tf32 || volume == 1 || problem.out_channels > few_channels ||
             problem.out_channels % 8 != 0;
  }
}

[[nodiscard]] inline std::optional<KernelPlan> select_warpgroups(ConvProblem const& problem,
                                                                 MapSummary const& map,
                                                                 DeviceLimits const& device)
{
  int const chunk = 64 / static_cast<int>(size_of(problem.in_type));  // channels of 64 bytes
  auto const length = split_length(map.volume, problem.splits);
  auto const first = problem.in_channels - problem.second_channels;
  if (!device.has_warpgroup || problem.in_channels % chunk != 0 || first % chunk != 0 ||
      !problem.aligned_inputs || length > UINT16_MAX || map.num_out > INT_MAX - 1024) {
    return std::nullopt;
  }
  KernelPlan plan;
  plan.shape = warpgroup_shape(problem.out_channels, problem.in_channels / chunk);
  auto const& shape = warpgroup_shapes[static_cast<std::size_t>(plan.shape)];
  plan.pipeline = warpgroup_pipeline(shape, length, problem.kernel, device.shared_bytes);
  if (plan.pipeline.shared_bytes > device.shared_bytes) { return std::nullopt; }
  WarpgroupLayout const layout{shape, chunk, length, problem.in_channels, problem.out_channels};
  auto const tiles = ceil_div(static_cast<int>(map.num_out), shape.fragments() * fragment_rows);
  bool const shares = std::int64_t{tiles} * layout.channel_blocks() <= plan.pipeline.few_tiles;
  plan.kernel = shares ? GemmKernel::warpgroup_pair : GemmKernel::warpgroup;
  plan.tile_rows = map.is_identity ? 0 : fragment_rows;
  plan.reads_two_inputs = true;
  if (problem.splits == 1) { plan.packed = packed_from(layout.key(), problem.weight_steps); }
  return plan;
}

[[nodiscard]] inline std::optional<KernelPlan> select_warps(ConvProblem const& problem, MapSummary const& map,
                                                            DeviceLimits const& device)
{
  bool const few = problem.in_channels <= 8;
  if (!device.has_warp || multiplication_of(problem) != Multiplication::half ||
      problem.kernel == GemmKernel::block || !(problem.in_channels % 8 == 0 || few) ||
      problem.out_channels % 8 != 0 || problem.second_channels > 0 || !problem.aligned_inputs ||
      !problem.aligned_output || !problem.aligned_epilogue || map.num_out > INT32_MAX - fragment_rows) {
    return std::nullopt;
  }
  KernelPlan plan;
  plan.kernel = GemmKernel::warp;
  plan.tile_rows = fragment_rows;
  auto const take = [&](warp_shape::Index index) {
    auto const& shape = warp_shapes[static_cast<std::size_t>(index)];
    WarpLayout const layout{shape, split_length(map.volume, problem.splits), problem.in_channels,
                            problem.out_channels};
    plan.shape = index;
    plan.pipeline = warp_pipeline(shape, layout, size_of(problem.in_type), device.shared_bytes);
    if (problem.splits == 1) { plan.packed = packed_from(layout.key(), problem.weight_steps); }
    return plan.pipeline.shared_bytes <= device.shared_bytes;
  };
  auto const choose = [&] {
    namespace shapes = warp_shape;
    constexpr std::int64_t many = 128 * 1024;
    int const out = problem.out_channels;
    if (few) {
      return (out > 32 && take(shapes::wide_quads)) || take(out <= 16 ? shapes::narrow_quads : shapes::quads);
    }
    if (problem.in_channels <= 16) { return take(out <= 16 ? shapes::narrow_packed : shapes::packed); }
    auto const chunks = ceil_div(problem.in_channels, 32);
    if (chunks % 2 == 0 && out > 32 && out <= 64 && take(shapes::medium)) { return true; }
    if ((out <= 32 || chunks == 1) && take(shapes::narrow)) { return true; }
    if (out <= 64) { return take(shapes::staged); }
    if (out <= 96 && chunks % 3 == 0) { return take(shapes::broad); }
    if (map.num_out > many && out > 128 && take(shapes::large)) { return true; }
    return (chunks % 4 == 0 && take(shapes::deep)) || take(shapes::wide);
  };
  return choose() ? std::optional<KernelPlan>{plan} : std::nullopt;
}

/// The tile of the block kernel, which runs everything; it reads a weight in the plain order.
[[nodiscard]] inline KernelPlan select_block(ConvProblem const& problem, MapSummary const& map,
                                             DeviceLimits const& device)
{
  check_types(problem);
  auto const bytes = static_cast<int>(size_of(problem.in_type));
  int const chunk = 16 / bytes;
  KernelPlan plan;
  plan.operation = problem.operation;
  plan.kernel = GemmKernel::block;
  plan.aligned = problem.in_channels % chunk == 0 && problem.out_channels % chunk == 0 &&
                 problem.aligned_inputs && problem.aligned_weight && problem.aligned_output;
  auto const tiles = tuned_tile_sizes(problem.in_type, problem.math);
  TileProblem const tile_problem{map.num_out, problem.in_channels, problem.out_channels,
                                 device.multiprocessors, plan.aligned};
  plan.shape = static_cast<int>(select_tile(tile_problem, tiles, bytes, device.shared_bytes));
  plan.tile_rows = tiles[static_cast<std::size_t>(plan.shape)].rows;
  if (!problem.weight_steps.is_plain()) {
    plan.packed = packed_from({packed_for_block, map.volume, problem.in_channels, problem.out_channels},
                              problem.weight_steps);
  }
  return plan;
}

/// Which of the library's own kernels runs a convolution: the warpgroups', the warp or the block kernel, the
/// first that is wanted and that the operands, the device and the program's code for it allow.
[[nodiscard]] inline KernelPlan select_built_in(ConvProblem const& problem, MapSummary const& map,
                                                DeviceLimits const& device)
{
  if (wants_warpgroups(problem, map.volume)) {
    if (auto const plan = select_warpgroups(problem, map, device)) { return *plan; }
  }
  if (auto const plan = select_warps(problem, map, device)) { return *plan; }
  return select_block(problem, map, device);
}

/// How the gradient of a weight is summed: 16-bit scalars in tiles by tensor cores, KernelPlan::gradient_tiles,
/// whatever their channels and addresses, since rows that do not begin at multiples of 16 bytes are copied
/// element by element; all others by the multiply-adds of the one kernel that is exact.
[[nodiscard]] inline KernelPlan select_weight_gradient(ConvProblem const& problem, DeviceLimits const& device)
{
  KernelPlan plan;
  plan.operation = problem.operation;
  plan.falls_back = !problem.has_operation;
  plan.tile_rows = 0;
  auto const shape = gradient_shape_for(problem.in_channels, problem.out_channels);
  auto const bytes = gradient_shapes[static_cast<std::size_t>(shape)].shared_bytes();
  if (device.has_gradient_tiles && multiplication_of(problem) == Multiplication::half &&
      bytes <= device.shared_bytes) {
    plan.gradient_tiles = true;
    plan.shape = shape;
    plan.pipeline.shared_bytes = bytes;
  }
  return plan;
}

/// Which kernel of AutoTile runs an operation of a convolution on the device.
///
/// A kernel of the user's own where there is one for it, else select_built_in(); for the gradient of a weight
/// select_weight_gradient(). A pure function: no call of CUDA.
/// @throws invalid_argument  there is no kernel for the types
[[nodiscard]] inline KernelPlan select(ConvProblem const& problem, MapSummary const& map,
                                       DeviceLimits const& device)
{
  check_types(problem);
  if (problem.operation == Operation::backward_weight) { return select_weight_gradient(problem, device); }
  if (!problem.has_operation) {
    auto plan = select_block(problem, map, device);
    plan.falls_back = true;
    plan.tile_rows = 0;  // it reads pair lists
    return plan;
  }
  auto plan = select_built_in(problem, map, device);
  plan.operation = problem.operation;
  bool const automatic = problem.kernel == GemmKernel::automatic || problem.kernel == GemmKernel::specialized;
  // Kernels of the user's own know the forward convolution of a plain weight, and no epilogue but the bias.
  if (problem.has_specialized && automatic && problem.operation == Operation::forward &&
      problem.weight_steps.is_plain() && !problem.has_residual && problem.activation == Activation::none) {
    plan.kernel = GemmKernel::specialized;  // calls with an epilogue read the weight that the other one packs
    plan.tile_rows = 0;
    plan.reads_two_inputs = false;
  }
  return plan;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
