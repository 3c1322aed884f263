// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/device_attributes.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Whether the device runs code of `kernel` in this program that `fits(attributes)`.
template <class Kernel, class Fits>
[[nodiscard]] bool has_kernel(Kernel* kernel, Execution<Device> const& exec, Fits const& fits)
{
  DeviceGuard const guard{exec.device()};
  cudaFuncAttributes attributes{};
  bool const loads = cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess;
  static_cast<void>(cudaGetLastError());
  return loads && fits(attributes);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
