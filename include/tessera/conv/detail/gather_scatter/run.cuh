// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/block_gemm/run.cuh>
#include <tessera/conv/detail/gather_scatter/offset_sums.cuh>
#include <tessera/conv/detail/select.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/launch.cuh>
#include <tessera/kmap/detail/list_pairs.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The pairs of one offset.
struct OffsetPairs {
  std::int32_t const* in;   // [count]
  std::int32_t const* out;  // [count]
  std::int64_t count;
};

/// The most pairs that an offset has.
[[nodiscard]] inline std::int64_t most_pairs(PairList<Device> const& pairs, Execution<Device> const& exec)
{
  auto const& begins = pairs.begin_on_host(exec);
  std::int64_t most = 0;
  for (std::size_t k = 1; k < begins.size(); ++k) { most = std::max(most, begins[k] - begins[k - 1]); }
  return most;
}

/// Runs a convolution offset after offset, ascending, in a buffer of sums: for each that has pairs the block
/// kernel runs the problem that `prepare(problem, pairs, sums)` completes, then comes `finish(pairs, sums)`;
/// the epilogue is last.
/// @param most_rows  of a launch, by which the tile is chosen
/// Stream: enqueues a fill, the offsets' kernels and one more; does not wait.
template <class Scalar, class Prepare, class Finish>
void run_by_offset(DeviceLimits const& limits, ConvolutionArguments<Scalar> const& arguments,
                   KernelMap<Device>& map, PairList<Device> const& pairs, std::int64_t most_rows,
                   Execution<Device> const& exec, Prepare const& prepare, Finish const& finish)
{
  using Sum = accumulator_t<Scalar>;
  auto const size = map.num_out() * arguments.out_channels;
  Buffer<Sum, Device> buffer;
  Sum* sums = nullptr;
  if constexpr (std::is_same_v<Scalar, Sum>) {
    sums = arguments.output;
  } else {
    buffer = Buffer<Sum, Device>{size, exec};
    sums = buffer.data();
  }
  Transfer<Device>::fill_bytes(sums, 0, static_cast<std::size_t>(size) * sizeof(Sum), exec);

  auto const& begins = pairs.begin_on_host(exec);
  auto const plan = select_block(problem_of(arguments, 1), {most_rows, map.volume()}, limits);
  Buffer<Scalar, Device> own;
  auto const plain = with_plain_weight(plan, arguments, map.volume(), own, exec);
  with_tile<AutoTile, Scalar>(plan, arguments.math, [&](auto tile, auto launch_problem) {
    for (std::size_t k = 0; k + 1 < begins.size(); ++k) {
      OffsetPairs const offset{pairs.in.data() + begins[k], pairs.out.data() + begins[k],
                               begins[k + 1] - begins[k]};
      if (offset.count == 0) { continue; }
      auto problem = make_problem(plain, map.num_out());
      problem.weight += static_cast<std::int64_t>(k) * arguments.in_channels * arguments.out_channels;
      problem.num_places = offset.count;
      problem.num_tiles = ceil_div(offset.count, static_cast<long long>(decltype(tile)::rows));
      prepare(problem, offset, sums);
      launch_problem(problem, exec);
      finish(offset, sums);
    }
  });
  finish_sums(sums, 1, arguments, map.num_out(), exec);
}

/// For each offset: gathers its rows, multiplies them, adds the products to the sums.
/// Stream: enqueues three kernels per offset, a fill and a kernel; waits once per map, for its pair list.
template <class Scalar>
void run_gather_scatter(DeviceLimits const& limits, ConvolutionArguments<Scalar> const& arguments,
                        KernelMap<Device>& map, Execution<Device> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  check_arguments(arguments, "convolution");
  if (map.num_out() == 0) { return; }
  auto const pairs = pair_list(map, exec);
  auto const most = most_pairs(*pairs, exec);
  Buffer<Scalar, Device> gathered{most * arguments.in_channels, exec};
  Buffer<Sum, Device> products{most * arguments.out_channels, exec};
  run_by_offset(
      limits, arguments, map, *pairs, most, exec,
      [&](auto& problem, OffsetPairs const& offset, Sum*) {
        problem.num_out = offset.count;
        gather(problem, offset.in, gathered.data(), exec);
        problem.features = gathered.data();
        problem.aligned_features = arguments.in_channels * sizeof(Scalar) % 16 == 0;
        problem.sums = products.data();
      },
      [&](OffsetPairs const& offset, Sum* sums) {
        for_each(offset.count * arguments.out_channels,
                 ScatterAdd<Sum>{products.data(), offset.out, sums, arguments.out_channels}, exec);
      });
}

/// For each offset: multiplies its rows where they are, each launch continuing the sums of the one before.
/// Stream: enqueues a kernel per offset, a fill and a kernel; waits once per map, for its pair list.
template <class Scalar>
void run_fetch_on_demand(DeviceLimits const& limits, ConvolutionArguments<Scalar> const& arguments,
                         KernelMap<Device>& map, Execution<Device> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  check_arguments(arguments, "convolution");
  if (map.num_out() == 0) { return; }
  auto const pairs = pair_list(map, exec);
  run_by_offset(
      limits, arguments, map, *pairs, map.num_out(), exec,
      [&](auto& problem, OffsetPairs const& offset, Sum* sums) {
        problem.map = offset.in;
        problem.order = offset.out;
        problem.sums = sums;
        problem.continue_sums = true;
      },
      [](OffsetPairs const&, Sum*) {});
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
