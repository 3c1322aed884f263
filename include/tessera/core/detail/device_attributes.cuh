// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

/// An attribute of the execution's device.
/// Cost: a call of CUDA that does not wait. @throws cuda_error  the call fails
[[nodiscard]] inline int device_attribute(cudaDeviceAttr attribute, Execution<Device> const& exec)
{
  int value = 0;
  cuda_check(cudaDeviceGetAttribute(&value, attribute, exec.device()));
  return value;
}

/// 90 for 9.0.
[[nodiscard]] inline int compute_capability(Execution<Device> const& exec)
{
  return 10 * device_attribute(cudaDevAttrComputeCapabilityMajor, exec) +
         device_attribute(cudaDevAttrComputeCapabilityMinor, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
