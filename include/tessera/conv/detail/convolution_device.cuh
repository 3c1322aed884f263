// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/conv/detail/backend.hpp>
#include <tessera/conv/detail/select.hpp>
#include <tessera/conv/specialize.hpp>
#include <tessera/core/work_event.cuh>

#include <type_traits>

namespace tessera {
inline namespace v0 {
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
      run_plan<TilePolicy>(select_block(problem_of(arguments, used_splits), summary, limits), limits,
                           arguments, map, sort, used_splits, exec);
    }
  }

  /// How implicit_gemm() with AutoTile runs the arguments on a map, or gather_scatter() for a dataflow that
  /// has not the operation.
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
