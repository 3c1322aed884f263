// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

namespace test {

/// Memory of `Space` that the library did not hand out, and how often its owner was released.
template <class T, class Space>
struct Foreign {
  Foreign(std::vector<T> const& values, tessera::Execution<Space> const& exec)
      : memory{tessera::upload(values, exec)}
  {}

  /// An owner that counts its release.
  [[nodiscard]] std::shared_ptr<void> owner()
  {
    return {this, [this](void*) { ++released; }};
  }
  [[nodiscard]] T* data() { return memory.data(); }
  [[nodiscard]] std::int64_t size() const { return memory.size(); }
  [[nodiscard]] std::vector<T> values(tessera::Execution<Space> const& exec) const
  {
    return tessera::download(memory, exec);
  }

  tessera::Buffer<T, Space> memory;
  int released = 0;
};

/// The number of the device that `exec` runs on, 0 for the host.
template <class Space>
int device_of([[maybe_unused]] tessera::Execution<Space> const& exec)
{
  if constexpr (std::is_same_v<Space, tessera::Host>) {
    return 0;
  } else {
    return exec.device();
  }
}

}  // namespace test
