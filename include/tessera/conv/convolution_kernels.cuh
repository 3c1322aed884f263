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
  static void run(detail::KernelPlan const& plan, ConvolutionArguments<Scalar> const& arguments,
                  KernelMap<Device>& map, bool sort, int splits, Execution<Device> const& exec);
  /// The weight [volume, in_channels, out_channels] as `plan` reads it; nothing where that is the plain order.
  /// Stream: enqueues at most a kernel, does not wait.
  [[nodiscard]] static detail::PackedWeight<Scalar, Device> pack(detail::KernelPlan const& plan,
                                                                 Scalar const* weight,
                                                                 Execution<Device> const& exec);
  /// Stream: enqueues three kernels an offset, a fill and a kernel; waits once a map, for its pair list.
  static void gather_scatter(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                             Execution<Device> const& exec);
  /// Each launch goes on with the sums of the one before, so the result has the bits of ImplicitGemm<_, 1>
  /// with a Tile.
  /// Stream: enqueues one kernel an offset, a fill and a kernel; waits once a map, for its pair list.
  static void fetch_on_demand(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                              Execution<Device> const& exec);
};

namespace detail {

/// The tile of the block kernel, which the other dataflows use too.
template <class Scalar>
[[nodiscard]] KernelPlan plan_block(ConvolutionArguments<Scalar> const& arguments, std::int64_t num_out,
                                    Execution<Device> const& exec)
{
  return select_block(problem_of(arguments, 1), num_out, ConvolutionKernels<Scalar>::limits(exec));
}

/// Runs what `plan` says, and adds up the sums of splits.
template <class TilePolicy, class Scalar>
void run_plan(KernelPlan const& plan, ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
              bool sort, int splits, Execution<Device> const& exec)
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
                              ConvolutionKernels<Scalar>::limits(exec).compute_capability, exec);
      return;
    case GemmKernel::warpgroup:
    case GemmKernel::warpgroup_pair:
      if constexpr (has_warpgroup_kernel<Scalar>) {
        run_warpgroup_gemm(plan, arguments, map, sort, splits,
                           ConvolutionKernels<Scalar>::limits(exec).shared_bytes, exec, make_sums);
      }
      break;
    case GemmKernel::warp:
      if constexpr (has_warp_kernel<Scalar>) {
        run_warp_gemm(plan, arguments, map, sort, splits,
                      ConvolutionKernels<Scalar>::limits(exec).multiprocessors, exec, make_sums);
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
void ConvolutionKernels<Scalar>::run(detail::KernelPlan const& plan,
                                     ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                                     bool sort, int splits, Execution<Device> const& exec)
{
  detail::run_plan<AutoTile>(plan, arguments, map, sort, splits, exec);
}

template <class Scalar>
detail::PackedWeight<Scalar, Device> ConvolutionKernels<Scalar>::pack(detail::KernelPlan const& plan,
                                                                      Scalar const* weight,
                                                                      Execution<Device> const& exec)
{
  using namespace detail;
  PackedWeight<Scalar, Device> packed;
  packed.layout = plan.packed;
  if constexpr (has_warpgroup_kernel<Scalar>) {
    if (plan.packed[0] == packed_for_warpgroup) {
      WarpgroupLayout const layout{plan.packed};
      packed.values = Buffer<Scalar, Device>{layout.size(), exec};
      pack_warpgroup_weight(weight, packed.values.data(), layout, exec);
    }
  }
  if constexpr (has_warp_kernel<Scalar>) {
    if (plan.packed[0] == packed_for_warp) {
      WarpLayout const layout{plan.packed};
      packed.values = Buffer<Scalar, Device>{layout.size(), exec};
      pack_warp_weight(weight, packed.values.data(), layout, exec);
    }
  }
  return packed;
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
  std::int64_t most = 0;
  for (int k = 0; k < map.volume(); ++k) { most = std::max(most, pairs->num_pairs(k)); }
  Buffer<Scalar, Device> gathered{most * arguments.in_channels, exec};
  Buffer<Sum, Device> products{most * arguments.out_channels, exec};
  with_tile<AutoTile, Scalar>(
      plan_block(arguments, most, exec), arguments.math, [&](auto tile, auto launch_problem) {
        sum_by_offset(arguments, map, *pairs, exec, [&](int k, std::int64_t num_pairs, Sum* sums) {
          auto const begin = pairs->host_begin[static_cast<std::size_t>(k)];
          auto problem = make_problem(arguments, num_pairs);
          gather(problem, pairs->in.data() + begin, gathered.data(), exec);
          problem.features = gathered.data();
          problem.aligned_features = arguments.in_channels * sizeof(Scalar) % 16 == 0;
          problem.weight += std::int64_t{k} * arguments.in_channels * arguments.out_channels;
          problem.sums = products.data();
          problem.num_places = num_pairs;
          problem.num_tiles = (num_pairs + decltype(tile)::rows - 1) / decltype(tile)::rows;
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
  with_tile<AutoTile, Scalar>(
      plan_block(arguments, map.num_out(), exec), arguments.math, [&](auto tile, auto launch_problem) {
        sum_by_offset(arguments, map, *pairs, exec, [&](int k, std::int64_t num_pairs, Sum* sums) {
          auto const begin = pairs->host_begin[static_cast<std::size_t>(k)];
          auto problem = make_problem(arguments, map.num_out());
          problem.map = pairs->in.data() + begin;
          problem.order = pairs->out.data() + begin;
          problem.weight += std::int64_t{k} * arguments.in_channels * arguments.out_channels;
          problem.sums = sums;
          problem.continue_sums = true;
          problem.num_places = num_pairs;
          problem.num_tiles = (num_pairs + decltype(tile)::rows - 1) / decltype(tile)::rows;
          launch_problem(problem, exec);
        });
      });
}

}  // namespace v0
}  // namespace tessera
