// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>

namespace tessera {
inline namespace v0 {
namespace detail {

/// One value of each device, made when it is first asked for and never destroyed: as a static it outlives all
/// others.
template <class T>
class PerDevice {
 public:
  static constexpr int max_devices = 64;

  /// The value of `device`: that of `make()` at the first call that does not throw. Threads may ask at once.
  /// @throws invalid_argument  no device has that number; what `make` throws
  template <class Make>
  [[nodiscard]] T& get(int device, Make const& make)
  {
    expects(device >= 0 && device < max_devices, "device ", device, " is not one of ", max_devices);
    auto& value = values_[static_cast<std::size_t>(device)];
    if (auto* const made = value.load(std::memory_order_acquire)) { return *made; }
    std::lock_guard const lock{mutex_};
    if (value.load(std::memory_order_relaxed) == nullptr) {
      value.store(new T(make()), std::memory_order_release);
    }
    return *value.load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<T*>, max_devices> values_{};
  std::mutex mutex_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
