// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.cuh>

#include <array>
#include <atomic>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

[[nodiscard]] inline int device_attribute(cudaDeviceAttr attribute, Execution<Device> const& exec)
{
  int value = 0;
  cuda_check(cudaDeviceGetAttribute(&value, attribute, exec.device()));
  return value;
}

[[nodiscard]] inline bool is_aligned(void const* pointer)
{
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

/// Whether the device runs code of `Kernel` in this program that `fits(attributes)`; asked once a device.
template <auto Kernel, class Fits>
[[nodiscard]] bool has_kernel(Execution<Device> const& exec, Fits const& fits)
{
  static std::array<std::atomic<int>, 64> known{};  // by device: 0 not asked yet, 1 no, 2 yes
  auto& answer = known[static_cast<std::size_t>(exec.device()) % known.size()];
  if (answer == 0) {
    DeviceGuard const guard{exec.device()};
    cudaFuncAttributes attributes{};
    bool const loads = cudaFuncGetAttributes(&attributes, Kernel) == cudaSuccess;
    static_cast<void>(cudaGetLastError());
    answer = loads && fits(attributes) ? 2 : 1;
  }
  return answer == 2;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
