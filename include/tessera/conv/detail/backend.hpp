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
/// conv/detail/convolution_device.cuh. Each specialisation has, as static members and with Scalar deduced:
///
///   template <class TilePolicy> void implicit_gemm(arguments, map, bool sort, int splits, exec)
///   void gather_scatter(arguments, map, exec)
///   void fetch_on_demand(arguments, map, exec)
///   KernelPlan plan(arguments, MapSummary, int splits, exec, bool has_operation = true)
///                                        of implicit_gemm() with AutoTile, or gather_scatter() in its place
///   PackedWeight<Scalar, Space> pack(KernelPlan, WeightView<Scalar>, exec)
template <class Space>
struct ConvolutionBackend {
  static_assert(!std::is_same_v<Space, Host>,
                "convolution on the host: include <tessera/conv/convolution.hpp>");
  static_assert(!std::is_same_v<Space, Device>,
                "convolution on the device: include <tessera/conv/convolution.cuh> and compile with nvcc");
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
