// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every platform.
[[nodiscard]] TESSERA_HOST_DEVICE inline std::uint64_t next_random(std::uint64_t& state) noexcept
{
  std::uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
