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
#include <tessera/conv/detail/weight_gradient/run.cuh>
#include <tessera/conv/specialize.hpp>
#include <tessera/core/detail/scan.cuh>
#include <tessera/core/detail/sort.cuh>
#include <tessera/core/detail/work_event.cuh>
#include <tessera/kmap/detail/cut_tiles.cuh>
#include <tessera/kmap/tile_map.hpp>

#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// The kernels of convolutions for one scalar, and what launches them: most of what nvcc needs time for.
///
/// A program of several translation units compiles them once. Each unit declares, after its includes,
/// `extern template struct tessera::ConvolutionKernels<__half>;`
/// and one of them has instead
/// `template struct tessera::ConvolutionKernels<__half>;`
/// A Tile of the user's own is still compiled where it is used; a unit with SpecializedKernels of a scalar
/// leaves the declaration out.
template <class Scalar>
struct ConvolutionKernels {
  /// What the device and the program's kernels can do.
  /// Cost: asks CUDA at the first call for a device, later a look-up under a lock.
  /// Stream: enqueues nothing.
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
  /// Stream: enqueues three kernels per offset, a fill and a kernel; waits once per map, for its pair list.
  static void gather_scatter(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                             Execution<Device> const& exec);
  /// Each launch continues the sums of the one before, so the result has the bits of ImplicitGemm<_, 1>
  /// with a Tile.
  /// Stream: enqueues one kernel per offset, a fill and a kernel; waits once per map, for its pair list.
  static void fetch_on_demand(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                              Execution<Device> const& exec);
  /// Writes the sums of a weight's gradient.
  /// Stream: enqueues two kernels, and the first time those of the pair list; where there are no tensor cores
  /// for the scalar a fill, and two kernels for as many slabs of rows as fit into 64 MB. Does not wait.
  static void weight_gradient(WeightGradientArguments<Scalar> const& arguments, KernelMap<Device>& map,
                              Execution<Device> const& exec);
};

namespace detail {

/// Runs a kernel of implicit_gemm() by `run(make_sums)`, and adds up the sums of splits, where it asks for
/// memory for them.
template <class Scalar, class Run>
void run_with_sums(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map, int splits,
                   Execution<Device> const& exec, Run const& run)
{
  auto const size = map.num_out() * arguments.out_channels;
  Buffer<accumulator_t<Scalar>, Device> sums;
  run([&](int parts) {
    sums = Buffer<accumulator_t<Scalar>, Device>{parts * size, exec};
    return sums.data();
  });
  if (sums.data() != nullptr) { finish_sums(sums.data(), splits, arguments, map.num_out(), exec); }
}

template <class Scalar>
void expect_readable(KernelPlan const& plan, ConvolutionArguments<Scalar> const& arguments)
{
  expects(plan.reads_two_inputs || arguments.second_features.data == nullptr,
          "convolution: no kernel reads these input channels from two matrices; see "
          "KernelPlan::reads_two_inputs");
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
  using namespace detail;
  expect_readable(plan, arguments);
  if (plan.kernel == GemmKernel::specialized) {
    run_specialized_kernels(typename SpecializedKernels<Scalar>::list{}, arguments, map,
                            limits.compute_capability, exec);
    return;
  }
  run_with_sums(arguments, map, splits, exec, [&](auto const& make_sums) {
    switch (plan.kernel) {
      case GemmKernel::warpgroup:
      case GemmKernel::warpgroup_pair:
        if constexpr (has_warpgroup_kernel<Scalar>) {
          run_warpgroup_gemm(plan, arguments, map, sort, splits, limits.shared_bytes, exec, make_sums);
        }
        return;
      case GemmKernel::warp:
        if constexpr (has_warp_kernel<Scalar>) {
          run_warp_gemm(plan, arguments, map, sort, splits, limits.multiprocessors, exec, make_sums);
        }
        return;
      default: run_block_gemm<AutoTile>(plan, arguments, map, sort, splits, exec, make_sums);
    }
  });
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
  auto const limits = ConvolutionKernels::limits(exec);
  auto const plan = detail::select(detail::problem_of(arguments), detail::summary_of(map), limits);
  if constexpr (detail::has_warp_kernel<Scalar>) {
    if (plan.gradient_tiles) {
      detail::run_weight_gradient_tiles(plan, arguments, map, exec);
      return;
    }
  }
  detail::sum_weight_gradient(
      arguments, map, exec,
      [&](std::int32_t const* out_in, std::int64_t first, std::int64_t count, auto* parts) {
        detail::sum_weight_slabs(arguments, out_in, map.num_out(), map.volume(), first, count, parts, exec);
      });
}

namespace detail {

/// The dataflows on the device; conv/policies.hpp says what they do.
template <>
struct ConvolutionBackend<Device> {
  /// Stream: enqueues one kernel, or two for each split, and one more with splits; the tile map's the first
  /// time. Does not wait.
  template <class TilePolicy, class Scalar>
  static void implicit_gemm(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map, bool sort,
                            int splits, Execution<Device> const& exec)
  {
    check_arguments(arguments, "convolution");
    expects(splits >= 1, "convolution: ", splits, " splits; there must be at least 1");
    if (map.num_out() == 0) { return; }
    auto const used_splits = ceil_div(map.volume(), split_length(map.volume(), splits));
    auto const limits = ConvolutionKernels<Scalar>::limits(exec);
    auto const summary = summary_of(map);
    if constexpr (std::is_same_v<TilePolicy, AutoTile>) {
      auto const chosen = select(complete_problem(arguments, used_splits, limits), summary, limits);
      ConvolutionKernels<Scalar>::run(chosen, limits, arguments, map, sort, used_splits, exec);
    } else {
      auto const chosen = select_block(problem_of(arguments, used_splits), summary, limits);
      expect_readable(chosen, arguments);
      run_with_sums(arguments, map, used_splits, exec, [&](auto const& make_sums) {
        run_block_gemm<TilePolicy>(chosen, arguments, map, sort, used_splits, exec, make_sums);
      });
    }
  }

  /// How implicit_gemm() with AutoTile runs the arguments on a map, or gather_scatter() for a dataflow that
  /// lacks the operation.
  template <class Scalar>
  [[nodiscard]] static KernelPlan plan(ConvolutionArguments<Scalar> const& arguments, MapSummary const& map,
                                       int splits, Execution<Device> const& exec, bool has_operation = true)
  {
    auto const limits = ConvolutionKernels<Scalar>::limits(exec);
    auto problem = complete_problem(arguments, splits, limits);
    problem.has_operation = has_operation;
    return select(problem, map, limits);
  }

  [[nodiscard]] static std::int64_t packed_size(KernelPlan const& plan)
  {
    switch (plan.packed[0]) {
      case packed_for_warpgroup: return WarpgroupLayout{plan.packed}.size();
      case packed_for_warp: return WarpLayout{plan.packed}.size();
      case packed_for_block: return plan.packed[1] * plan.packed[2] * plan.packed[3];
      default: return 0;
    }
  }
  template <class Scalar>
  static void pack(KernelPlan const& plan, WeightView<Scalar> const& weight, Scalar* to,
                   Execution<Device> const& exec)
  {
    ConvolutionKernels<Scalar>::pack(plan, weight, to, exec);
  }

  template <class Scalar>
  static void gather_scatter(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                             Execution<Device> const& exec)
  {
    ConvolutionKernels<Scalar>::gather_scatter(arguments, map, exec);
  }

  template <class Scalar>
  static void fetch_on_demand(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                              Execution<Device> const& exec)
  {
    ConvolutionKernels<Scalar>::fetch_on_demand(arguments, map, exec);
  }

  template <class Scalar>
  static void weight_gradient(WeightGradientArguments<Scalar> const& arguments, KernelMap<Device>& map,
                              Execution<Device> const& exec)
  {
    ConvolutionKernels<Scalar>::weight_gradient(arguments, map, exec);
  }

 private:
  template <class Scalar>
  [[nodiscard]] static ConvProblem complete_problem(ConvolutionArguments<Scalar> const& arguments, int splits,
                                                    DeviceLimits const& limits)
  {
    auto problem = problem_of(arguments, splits);
    problem.has_specialized = has_specialized_kernel(typename SpecializedKernels<Scalar>::list{}, arguments,
                                                     limits.compute_capability);
    return problem;
  }
};

}  // namespace detail

}  // namespace v0
}  // namespace tessera
