// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/random.hpp>
#include <tessera/core/host_device.hpp>

#include <atomic>
#include <cstdint>
#include <ctime>
#if __has_include(<sys/random.h>)
#include <sys/random.h>
#endif

namespace tessera {
inline namespace v0 {

/// What hashes are mixed with, so that coordinates from an untrusted source cannot be chosen to collide.
struct HashSeed {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
};

namespace detail {

/// A number of this moment and of where the system put the program: what there is without a random device.
[[nodiscard]] inline std::uint64_t seed_of_time_and_place()
{
  static char anchor = 0;
  std::timespec now{};
  std::timespec_get(&now, TIME_UTC);
  auto const ticks =
      static_cast<std::uint64_t>(now.tv_sec) * 1000000000 + static_cast<std::uint64_t>(now.tv_nsec);
  auto state = ticks ^ std::uint64_t{reinterpret_cast<std::uintptr_t>(&anchor)} << 20;
  return next_random(state);
}

/// A number that other processes and other people do not know: of the system's random device, or of time and
/// place where there is none. Not of std::random_device: <random> costs every source a fifth of a second, and
/// nvcc's three times that.
[[nodiscard]] inline std::uint64_t draw_hash_seed()
{
#if __has_include(<sys/random.h>)
  std::uint64_t drawn = 0;
  if (getentropy(&drawn, sizeof drawn) == 0) { return drawn; }
#endif
  return seed_of_time_and_place();
}

[[nodiscard]] inline std::atomic<std::uint64_t>& hash_seed_bits()
{
  static std::atomic<std::uint64_t> bits{draw_hash_seed()};
  return bits;
}

/// The seed of this process, drawn at the first call. Results do not depend on it: it decides in which slot
/// of a table something is kept, never what is found or in what order.
[[nodiscard]] inline HashSeed hash_seed()
{
  auto const bits = hash_seed_bits().load(std::memory_order_relaxed);
  return {static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32)};
}

/// Sets it, for tests; tables made before keep the seed they were made with.
inline void set_hash_seed(HashSeed const& seed)
{
  hash_seed_bits().store(std::uint64_t{seed.second} << 32 | seed.first, std::memory_order_relaxed);
}

}  // namespace detail

/// Where a key starts probing: the finaliser of MurmurHash3 (Appleby, public domain), which flips every
/// output bit with half of the input bits, with a seed before each multiplication. Of 64 bits the low half is
/// mixed before the high half is added, since a plain sum of the two could be chosen to be constant whatever
/// the seed; all multiplications are of 32 bits, as those of 64 cost a GPU four times as much.
struct MurmurHash {
  [[nodiscard]] TESSERA_HOST_DEVICE std::uint64_t operator()(std::uint64_t key, HashSeed const& seed) const
  {
    auto low = static_cast<std::uint32_t>(key) ^ seed.second;
    low = (low ^ (low >> 15)) * 0x2c1b3c6dU;
    low = (low ^ (low >> 12)) * 0x297a2d39U;
    return (*this)(static_cast<std::uint32_t>(key >> 32) ^ low ^ (low >> 15), seed);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::uint32_t operator()(std::uint32_t key, HashSeed const& seed) const
  {
    key ^= seed.first;
    key = (key ^ (key >> 16)) * 0x85ebca6bU;
    key = (key ^ (key >> 13) ^ seed.second) * 0xc2b2ae35U;
    return key ^ (key >> 16);
  }
};

}  // namespace v0
}  // namespace tessera
