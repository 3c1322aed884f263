// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/kernel_plan.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/space.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Owns a weight as the device's kernels read it; without values where there is no such thing.
template <class Scalar, class Space>
struct PackedWeight {
  Buffer<Scalar, Space> values;
  PackedLayout layout{};

  [[nodiscard]] PackedWeightView<Scalar> view() const { return {values.data(), layout}; }
};

/// The dataflows of one space. Host: conv/detail/convolution_host.hpp; Device:
/// conv/convolution_kernels.cuh. Each specialisation has, as static members and with Scalar deduced:
///
///   template <class TilePolicy> void implicit_gemm(arguments, map, bool sort, int splits, exec)
///   void gather_scatter(arguments, map, exec)
///   void fetch_on_demand(arguments, map, exec)
///   void weight_gradient(WeightGradientArguments<Scalar>, map, exec)
///   KernelPlan plan(arguments, MapSummary, int splits, exec, bool has_operation = true)
///                                        of implicit_gemm() with AutoTile, or gather_scatter() in its place
///   std::int64_t packed_size(KernelPlan)    elements of a packed weight, 0: the plan reads the plain order
///   void pack(KernelPlan, WeightView<Scalar>, Scalar* to, exec)
template <class Space>
struct ConvolutionBackend {
  static_assert(!std::is_same_v<Space, Host>,
                "convolution on the host: include <tessera/conv/convolution.hpp>");
  static_assert(!std::is_same_v<Space, Device>,
                "convolution on the device: include <tessera/conv/convolution.cuh> and compile with nvcc");
};

/// The weight as `plan` reads it, in memory of its own; nothing where that is the plain order.
/// Stream: enqueues at most a kernel, does not wait.
template <class Scalar, class Space>
[[nodiscard]] PackedWeight<Scalar, Space> pack_weight(KernelPlan const& plan,
                                                      WeightView<Scalar> const& weight,
                                                      Execution<Space> const& exec)
{
  using Backend = ConvolutionBackend<Space>;
  PackedWeight<Scalar, Space> packed;
  auto const size = Backend::packed_size(plan);
  if (size == 0) { return packed; }
  packed.layout = plan.packed;
  packed.values = Buffer<Scalar, Space>{size, exec};
  Backend::pack(plan, weight, packed.values.data(), exec);
  return packed;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
