// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/backend.hpp>
#include <tessera/conv/detail/block_gemm/run.cuh>
#include <tessera/conv/detail/device_limits.cuh>
#include <tessera/conv/detail/gather_scatter/offset_sums.cuh>
#include <tessera/conv/detail/select.hpp>
#include <tessera/conv/detail/warp_gemm/run.cuh>
#include <tessera/conv/detail/warpgroup_gemm/run.cuh>
#include <tessera/conv/detail/weight_gradient/kernel.cuh>
#include <tessera/conv/specialize.hpp>
#include <tessera/core/scan.cuh>
#include <tessera/core/sort.cuh>
#include <tessera/kmap/detail/cut_tiles.cuh>
#include <tessera/kmap/pair_list.hpp>
#include <tessera/kmap/tile_map.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {

/// The kernels of convolutions for one scalar, and what launches them: most of what nvcc needs time for.
///
/// A program of several translation units compiles them once. Each unit declares, after its includes,
/// `extern template struct tessera::ConvolutionKernels<__half>;`
/// and one of them has instead
/// `template struct tessera::ConvolutionKernels<__half>;`
/// A Tile of one's own is compiled where it is used all the same; a unit with SpecializedKernels of a scalar
/// leaves the declaration out.
template <class Scalar>
struct ConvolutionKernels {
  /// What the device and the program's kernels can do.
  /// Cost: asks CUDA at the first call for a device, later a look-up under a lock. Stream: enqueues nothing.
  [[nodiscard]] static DeviceLimits limits(Execution<Device> const& exec);
  /// Runs what `plan` says, with AutoTile.
  /// @throws invalid_argument  two inputs where the plan reads one
  /// Stream: as ConvolutionBackend<Device>::implicit_gemm(); does not wait.
  static void run(detail::KernelPlan const& plan, DeviceLimits const& limits,
                  ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map, bool sort,
                  int splits, Execution<Device> const& exec);
  /// Writes the weight to `to` in the order that `plan` reads; nothing where that is the plain order, which
  /// the weight has.
  /// Stream: enqueues at most a kernel, does not wait.
  static void pack(detail::KernelPlan const& plan, WeightView<Scalar> const& weight, Scalar* to,
                   Execution<Device> const& exec);
  /// Stream: enqueues three kernels an offset, a fill and a kernel; waits once a map, for its pair list.
  static void gather_scatter(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                             Execution<Device> const& exec);
  /// Each launch goes on with the sums of the one before, so the result has the bits of ImplicitGemm<_, 1>
  /// with a Tile.
  /// Stream: enqueues one kernel an offset, a fill and a kernel; waits once a map, for its pair list.
  static void fetch_on_demand(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                              Execution<Device> const& exec);
  /// Writes the sums of a weight's gradient.
  /// Stream: enqueues a fill, and two kernels for as many slabs of rows as fit into 64 MB; does not wait.
  static void weight_gradient(WeightGradientArguments<Scalar> const& arguments, KernelMap<Device>& map,
                              Execution<Device> const& exec);
};

namespace detail {

/// The tile of the block kernel, which the other dataflows use too.
template <class Scalar>
[[nodiscard]] KernelPlan plan_block(ConvolutionArguments<Scalar> const& arguments, std::int64_t num_out,
                                    int volume, Execution<Device> const& exec)
{
  return select_block(problem_of(arguments, 1), {num_out, volume}, ConvolutionKernels<Scalar>::limits(exec));
}

/// Runs what `plan` says, and adds up the sums of splits.
template <class TilePolicy, class Scalar>
void run_plan(KernelPlan const& plan, DeviceLimits const& limits,
              ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map, bool sort, int splits,
              Execution<Device> const& exec)
{
  expects(plan.reads_two_inputs || arguments.more.data == nullptr,
          "convolution: no kernel reads these input channels from two matrices; see "
          "KernelPlan::reads_two_inputs");
  auto const size = map.num_out() * arguments.out_channels;
  Buffer<accumulator_t<Scalar>, Device> sums;
  auto const make_sums = [&](int parts) {
    sums = Buffer<accumulator_t<Scalar>, Device>{parts * size, exec};
    return sums.data();
  };
  switch (plan.kernel) {
    case GemmKernel::specialized:
      run_specialized_kernels(typename SpecializedKernels<Scalar>::list{}, arguments, map,
                              limits.compute_capability, exec);
      return;
    case GemmKernel::warpgroup:
    case GemmKernel::warpgroup_pair:
      if constexpr (has_warpgroup_kernel<Scalar>) {
        run_warpgroup_gemm(plan, arguments, map, sort, splits, limits.shared_bytes, exec, make_sums);
      }
      break;
    case GemmKernel::warp:
      if constexpr (has_warp_kernel<Scalar>) {
        run_warp_gemm(plan, arguments, map, sort, splits, limits.multiprocessors, exec, make_sums);
      }
      break;
    default: run_block_gemm<TilePolicy>(plan, arguments, map, sort, splits, exec, make_sums);
  }
  if (sums.data() != nullptr) {
    for_each(size,
             FinishSums<Scalar>{sums.data(), arguments.output, epilogue_of(arguments), size, splits,
                                arguments.out_channels},
             exec);
  }
}

}  // namespace detail

template <class Scalar>
DeviceLimits ConvolutionKernels<Scalar>::limits(Execution<Device> const& exec)
{
  return detail::device_limits<Scalar>(exec);
}

template <class Scalar>
void ConvolutionKernels<Scalar>::run(detail::KernelPlan const& plan, DeviceLimits const& limits,
                                     ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                                     bool sort, int splits, Execution<Device> const& exec)
{
  detail::run_plan<AutoTile>(plan, limits, arguments, map, sort, splits, exec);
}

template <class Scalar>
void ConvolutionKernels<Scalar>::pack(detail::KernelPlan const& plan, WeightView<Scalar> const& weight,
                                      Scalar* to, Execution<Device> const& exec)
{
  using namespace detail;
  if (plan.packed[0] == packed_for_block) { pack_plain_weight(weight, to, exec); }
  if constexpr (has_warpgroup_kernel<Scalar>) {
    if (plan.packed[0] == packed_for_warpgroup) {
      pack_warpgroup_weight(weight, to, WarpgroupLayout{plan.packed}, exec);
    }
  }
  if constexpr (has_warp_kernel<Scalar>) {
    if (plan.packed[0] == packed_for_warp) { pack_warp_weight(weight, to, WarpLayout{plan.packed}, exec); }
  }
}

template <class Scalar>
void ConvolutionKernels<Scalar>::gather_scatter(ConvolutionArguments<Scalar> const& arguments,
                                                KernelMap<Device>& map, Execution<Device> const& exec)
{
  using namespace detail;
  using Sum = accumulator_t<Scalar>;
  check_arguments(arguments, "convolution");
  if (map.num_out() == 0) { return; }
  auto const pairs = pair_list(map, exec);
  auto const& begins = pairs->begin_on_host(exec);
  std::int64_t most = 0;
  for (std::size_t k = 1; k < begins.size(); ++k) { most = std::max(most, begins[k] - begins[k - 1]); }
  Buffer<Scalar, Device> gathered{most * arguments.in_channels, exec};
  Buffer<Sum, Device> products{most * arguments.out_channels, exec};
  auto const plan = plan_block(arguments, most, map.volume(), exec);
  Buffer<Scalar, Device> own;
  auto const plain = with_plain_weight(plan, arguments, map.volume(), own, exec);
  with_tile<AutoTile, Scalar>(plan, arguments.math, [&](auto tile, auto launch_problem) {
    sum_by_offset(arguments, map, begins, exec, [&](int k, std::int64_t num_pairs, Sum* sums) {
      auto const begin = begins[static_cast<std::size_t>(k)];
      auto problem = make_problem(plain, num_pairs);
      gather(problem, pairs->in.data() + begin, gathered.data(), exec);
      problem.features = gathered.data();
      problem.aligned_features = arguments.in_channels * sizeof(Scalar) % 16 == 0;
      problem.weight += std::int64_t{k} * arguments.in_channels * arguments.out_channels;
      problem.sums = products.data();
      problem.num_places = num_pairs;
      problem.num_tiles = ceil_div(num_pairs, static_cast<long long>(decltype(tile)::rows));
      launch_problem(problem, exec);
      for_each(num_pairs * arguments.out_channels,
               ScatterAdd<Sum>{products.data(), pairs->out.data() + begin, sums, arguments.out_channels},
               exec);
    });
  });
}

template <class Scalar>
void ConvolutionKernels<Scalar>::fetch_on_demand(ConvolutionArguments<Scalar> const& arguments,
                                                 KernelMap<Device>& map, Execution<Device> const& exec)
{
  using namespace detail;
  using Sum = accumulator_t<Scalar>;
  check_arguments(arguments, "convolution");
  if (map.num_out() == 0) { return; }
  auto const pairs = pair_list(map, exec);
  auto const& begins = pairs->begin_on_host(exec);
  auto const plan = plan_block(arguments, map.num_out(), map.volume(), exec);
  Buffer<Scalar, Device> own;
  auto const plain = with_plain_weight(plan, arguments, map.volume(), own, exec);
  with_tile<AutoTile, Scalar>(plan, arguments.math, [&](auto tile, auto launch_problem) {
    sum_by_offset(arguments, map, begins, exec, [&](int k, std::int64_t num_pairs, Sum* sums) {
      auto const begin = begins[static_cast<std::size_t>(k)];
      auto problem = make_problem(plain, map.num_out());
      problem.map = pairs->in.data() + begin;
      problem.order = pairs->out.data() + begin;
      problem.weight += std::int64_t{k} * arguments.in_channels * arguments.out_channels;
      problem.sums = sums;
      problem.continue_sums = true;
      problem.num_places = num_pairs;
      problem.num_tiles = ceil_div(num_pairs, static_cast<long long>(decltype(tile)::rows));
      launch_problem(problem, exec);
    });
  });
}

template <class Scalar>
void ConvolutionKernels<Scalar>::weight_gradient(WeightGradientArguments<Scalar> const& arguments,
                                                 KernelMap<Device>& map, Execution<Device> const& exec)
{
  detail::sum_weight_gradient(
      arguments, map, exec,
      [&](std::int32_t const* out_in, std::int64_t first, std::int64_t count, auto* parts) {
        detail::sum_weight_slabs(arguments, out_in, map.num_out(), map.volume(), first, count, parts, exec);
      });
}

}  // namespace v0
}  // namespace tessera
