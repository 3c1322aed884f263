// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/backend.hpp>
#include <tessera/conv/detail/block_gemm/run.cuh>
#include <tessera/conv/detail/device_limits.cuh>
#include <tessera/conv/detail/gather_scatter/run.cuh>
#include <tessera/conv/detail/select.hpp>
#include <tessera/conv/detail/warp_gemm/run.cuh>
#include <tessera/conv/detail/warpgroup_gemm/run.cuh>
#include <tessera/conv/detail/weight_gradient/kernel.cuh>
#include <tessera/conv/specialize.hpp>
#include <tessera/core/scan.cuh>
#include <tessera/core/sort.cuh>
#include <tessera/kmap/detail/cut_tiles.cuh>
#include <tessera/kmap/tile_map.hpp>

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
  if (sums.data() != nullptr) { finish_sums(sums.data(), splits, arguments, map.num_out(), exec); }
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
  detail::run_gather_scatter(limits(exec), arguments, map, exec);
}

template <class Scalar>
void ConvolutionKernels<Scalar>::fetch_on_demand(ConvolutionArguments<Scalar> const& arguments,
                                                 KernelMap<Device>& map, Execution<Device> const& exec)
{
  detail::run_fetch_on_demand(limits(exec), arguments, map, exec);
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
