// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <cuda_runtime_api.h>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The line that called; a default argument of cuda_check(), which so needs no macro.
struct CallSite {
  char const* file;
  int line;
  static constexpr CallSite here(char const* file = __builtin_FILE(), int line = __builtin_LINE())
  {
    return {file, line};
  }
};

/// Throws cuda_error unless `status` is cudaSuccess, and clears the runtime's last error.
inline void cuda_check(cudaError_t status, CallSite at = CallSite::here())
{
  if (status == cudaSuccess) { return; }
  static_cast<void>(cudaGetLastError());
  throw cuda_error{static_cast<int>(status), concat(at.file, ":", at.line, ": ", cudaGetErrorName(status),
                                                    ": ", cudaGetErrorString(status))};
}

/// Makes `device` current while it lives.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device)
  {
    cuda_check(cudaGetDevice(&previous_));
    if (device != previous_) {
      cuda_check(cudaSetDevice(device));
      changed_ = true;
    }
  }
  DeviceGuard(DeviceGuard const&) = delete;
  DeviceGuard& operator=(DeviceGuard const&) = delete;
  ~DeviceGuard()
  {
    if (changed_) { static_cast<void>(cudaSetDevice(previous_)); }
  }

 private:
  int previous_ = 0;
  bool changed_ = false;
};

/// A `T` that is made while `device` is current, in place: it need not be movable.
template <class T, class... Arguments>
[[nodiscard]] T made_on(int device, Arguments const&... arguments)
{
  DeviceGuard const guard{device};
  return T(arguments...);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
