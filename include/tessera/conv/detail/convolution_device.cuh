// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/conv/detail/backend.hpp>
#include <tessera/conv/detail/select.hpp>
#include <tessera/conv/specialize.hpp>

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
    if constexpr (std::is_same_v<TilePolicy, AutoTile>) {
      auto const chosen = plan(arguments, summary_of(map), used_splits, exec);
      ConvolutionKernels<Scalar>::run(chosen, arguments, map, sort, used_splits, exec);
    } else {
      run_plan<TilePolicy>(plan_block(arguments, map.num_out(), exec), arguments, map, sort, used_splits,
                           exec);
    }
  }

  /// How implicit_gemm() with AutoTile runs the arguments on a map.
  template <class Scalar>
  [[nodiscard]] static KernelPlan plan(ConvolutionArguments<Scalar> const& arguments, MapSummary const& map,
                                       int splits, Execution<Device> const& exec)
  {
    auto const limits = ConvolutionKernels<Scalar>::limits(exec);
    auto problem = problem_of(arguments, splits);
    problem.has_specialized = has_specialized_kernel(typename SpecializedKernels<Scalar>::list{}, arguments,
                                                     limits.compute_capability);
    return select(problem, map, limits);
  }

  [[nodiscard]] static std::int64_t packed_size(KernelPlan const& plan)
  {
    switch (plan.packed[0]) {
      case packed_for_warpgroup: return WarpgroupLayout{plan.packed}.size();
      case packed_for_warp: return WarpLayout{plan.packed}.size();
      default: return 0;
    }
  }
  template <class Scalar>
  static void pack(KernelPlan const& plan, Scalar const* weight, Scalar* to, Execution<Device> const& exec)
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
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
