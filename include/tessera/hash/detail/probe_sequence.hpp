// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>
#include <tessera/core/parallel.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Two neighbouring words, the first at a multiple of 16 bytes: one load of the device.
struct TwoWords {
  unsigned long long words[2];

  [[nodiscard]] TESSERA_HOST_DEVICE unsigned long long operator[](int i) const { return words[i]; }
};

[[nodiscard]] TESSERA_HOST_DEVICE inline TwoWords load_two(unsigned long long const* from)
{
#if defined(__CUDA_ARCH__)
  auto const both = *reinterpret_cast<ulonglong2 const*>(from);
  return {{both.x, both.y}};
#else
  return {{from[0], from[1]}};
#endif
}

/// The same of words that other threads are writing.
[[nodiscard]] TESSERA_HOST_DEVICE inline TwoWords peek_two(unsigned long long const* from)
{
#if defined(__CUDA_ARCH__)
  return load_two(from);
#else
  return {{atomic_load(from), atomic_load(from + 1)}};
#endif
}

/// Where a key is looked for: the slots of a bucket of `Size` slots from one of them on and round to it again, then
/// those of the next bucket, likewise. Keys that begin in one bucket but at different slots of it meet less often.
template <std::uint64_t Size>
struct ProbeSequence {
  std::uint64_t bucket;  // its first slot
  std::uint64_t turn;    // where in a bucket it begins
  std::uint64_t probes = 0;

  [[nodiscard]] TESSERA_HOST_DEVICE std::uint64_t slot() const
  {
    return bucket + ((turn + probes) & (Size - 1));
  }
  TESSERA_HOST_DEVICE void advance(std::uint64_t mask)
  {
    ++probes;
    if ((probes & (Size - 1)) == 0) { bucket = (bucket + Size) & mask; }
  }
  /// Goes on past the slots whose bits are set in `taken` of this bucket. Whether it came to the next one.
  TESSERA_HOST_DEVICE bool pass(std::uint32_t taken, std::uint64_t mask)
  {
    auto const own = bucket;
    while (bucket == own && (taken >> (slot() - bucket) & 1U) != 0) { advance(mask); }
    return bucket != own;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
