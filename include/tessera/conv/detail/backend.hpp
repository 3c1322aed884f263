// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/kernel_plan.hpp>
#include <tessera/core/buffer.hpp>

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
/// conv/detail/convolution_device.cuh. Each specialisation has the static functions
///
/// | function                                                   | what it does |
/// |------------------------------------------------------------|------------------------------------------------|
/// | `implicit_gemm<TilePolicy>(arguments, map, sort, splits, exec)` | runs an ImplicitGemm | |
/// `gather_scatter(arguments, map, exec)`                     | runs GatherScatter | |
/// `fetch_on_demand(arguments, map, exec)`                    | runs FetchOnDemand | | `plan(arguments,
/// MapSummary, splits, exec)`                | the KernelPlan of implicit_gemm with AutoTile  | |
/// `pack(KernelPlan, weight, exec)`                           | the weight as that plan reads it |
template <class Space>
struct ConvolutionBackend {
  static_assert(std::is_void_v<Space>,
                "convolution: include <tessera/tessera.cuh> and compile with nvcc to run on the device");
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
