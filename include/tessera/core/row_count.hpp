// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// How many rows are in use: `capacity` of them, which the host knows, or, where `count` is given, the number
/// stored there, in the rows' own space, at most `capacity`. So work can be enqueued before the host knows how
/// much of it there is.
struct RowCount {
  std::int64_t capacity = 0;
  std::int32_t const* count = nullptr;

  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t size() const
  {
    if (count == nullptr) { return capacity; }
    return *count < capacity ? *count : capacity;
  }
};

}  // namespace v0
}  // namespace tessera
