// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/parallel.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Where a key starts probing: the finaliser of MurmurHash3 (Appleby, public domain), which flips every
/// output bit with half of the input bits. A policy: any empty type with such an operator() may stand in for
/// it.
struct MurmurHash {
  [[nodiscard]] TESSERA_HOST_DEVICE std::uint64_t operator()(std::uint64_t key) const
  {
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdULL;
    key ^= key >> 33;
    key *= 0xc4ceb9fe1a85ec53ULL;
    return key ^ (key >> 33);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::uint32_t operator()(std::uint32_t key) const
  {
    key ^= key >> 16;
    key *= 0x85ebca6bU;
    key ^= key >> 13;
    key *= 0xc2b2ae35U;
    return key ^ (key >> 16);
  }
};

namespace detail {

/// What became of a key: entered by this call, there already, or no slot was free.
enum class Entered : std::uint8_t { now, before, never };

/// Handle of a table in kernels: open addressing, linear probing, a power-of-two number of slots of which at
/// most half are used, so a probe always meets an empty slot. Row -1 means absent.
///
/// 64-bit keys lie beside their rows; a 32-bit key and its row share one word, so a probe is one load.
template <class Key, class Hash = MurmurHash>
struct HashTableRef;

template <class Hash>
struct HashTableRef<std::uint64_t, Hash> {
  static constexpr std::int64_t words_per_slot = 2;  // in units of 64 bits, rows padded to the key's size
  static constexpr unsigned long long empty = ~0ULL;

  unsigned long long* slots;  // [2 * num_slots]: key, row
  std::uint64_t mask;         // num_slots - 1

  /// Stores `key` with the smallest of the rows given for it. Returns whether the key was there already.
  TESSERA_HOST_DEVICE bool insert(std::uint64_t key, std::int32_t row) const
  {
    for (auto slot = Hash{}(key)&mask;; slot = (slot + 1) & mask) {
      auto const seen =
          atomic_compare_exchange(&slots[2 * slot], empty, static_cast<unsigned long long>(key));
      if (seen == empty || seen == key) {
        atomic_minimum(&slots[2 * slot + 1], static_cast<unsigned long long>(row));
        return seen == key;
      }
    }
  }

  /// Enters `key` with row 0 or finds it there; for tables that may fill up, so it gives up after all slots.
  TESSERA_HOST_DEVICE Entered try_insert(std::uint64_t key) const
  {
    auto slot = Hash{}(key)&mask;
    for (std::uint64_t probes = 0; probes <= mask; ++probes, slot = (slot + 1) & mask) {
      auto const seen =
          atomic_compare_exchange(&slots[2 * slot], empty, static_cast<unsigned long long>(key));
      if (seen == empty) { return Entered::now; }
      if (seen == key) { return Entered::before; }
    }
    return Entered::never;
  }

  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t find(std::uint64_t key) const
  {
    for (auto slot = Hash{}(key)&mask;; slot = (slot + 1) & mask) {
      auto const seen = slots[2 * slot];
      if (seen == key) { return static_cast<std::int32_t>(slots[2 * slot + 1]); }
      if (seen == empty) { return -1; }
    }
  }
};

template <class Hash>
struct HashTableRef<std::uint32_t, Hash> {
  static constexpr std::int64_t words_per_slot = 1;
  static constexpr unsigned long long empty = ~0ULL;

  unsigned long long* slots;  // [num_slots]: key in the high half, row in the low half
  std::uint64_t mask;

  TESSERA_HOST_DEVICE bool insert(std::uint32_t key, std::int32_t row) const
  {
    auto const word = static_cast<unsigned long long>(key) << 32 | static_cast<std::uint32_t>(row);
    for (auto slot = Hash{}(key)&mask;; slot = (slot + 1) & mask) {
      auto const seen = atomic_compare_exchange(&slots[slot], empty, word);
      if (seen == empty) { return false; }
      if (static_cast<std::uint32_t>(seen >> 32) == key) {
        atomic_minimum(&slots[slot], word);  // one key: the order of words is the order of rows
        return true;
      }
    }
  }

  TESSERA_HOST_DEVICE Entered try_insert(std::uint32_t key) const
  {
    auto slot = Hash{}(key)&mask;
    for (std::uint64_t probes = 0; probes <= mask; ++probes, slot = (slot + 1) & mask) {
      auto const seen =
          atomic_compare_exchange(&slots[slot], empty, static_cast<unsigned long long>(key) << 32);
      if (seen == empty) { return Entered::now; }
      if (static_cast<std::uint32_t>(seen >> 32) == key) { return Entered::before; }
    }
    return Entered::never;
  }

  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t find(std::uint32_t key) const
  {
    for (auto slot = Hash{}(key)&mask;; slot = (slot + 1) & mask) {
      auto const seen = slots[slot];
      if (static_cast<std::uint32_t>(seen >> 32) == key && seen != empty) {
        return static_cast<std::int32_t>(seen & 0xffffffffU);
      }
      if (seen == empty) { return -1; }
    }
  }
};

/// Owns the slots of one table for up to `capacity` keys.
template <class Key, class Space, class Hash = MurmurHash>
class HashTable {
 public:
  using Ref = HashTableRef<Key, Hash>;

  /// An empty table. Cost: 16 to 64 bytes a key. Stream: one allocation and one fill.
  HashTable(std::int64_t capacity, Execution<Space> const& exec)
  {
    num_slots_ = 16;
    while (num_slots_ < 2 * capacity) { num_slots_ *= 2; }
    slots_ = Buffer<unsigned long long, Space>{num_slots_ * Ref::words_per_slot, exec};
    fill_bytes(slots_, 0xff, exec);
  }

  [[nodiscard]] Ref ref() noexcept { return {slots_.data(), static_cast<std::uint64_t>(num_slots_ - 1)}; }

 private:
  std::int64_t num_slots_;
  Buffer<unsigned long long, Space> slots_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
