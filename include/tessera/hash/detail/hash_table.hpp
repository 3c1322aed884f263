// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/hash.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/hash/detail/probe_sequence.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

namespace detail {

/// What became of a key: entered by this call, there already, or the table is over half full.
enum class Entered : std::uint8_t { now, before, never };

/// How many slots in a row are full in no table that is at most half full. At that load a run of n slots is
/// full with a probability of about exp(-0.19 n) (Poisson arrivals, Chernoff bound), and the seed keeps
/// anybody from choosing the keys: below 1e-30 for all runs of 2^32 slots. So a table that may be given too
/// many keys is known to be too full after a few hundred probes, however large it is.
inline constexpr std::uint64_t longest_run = 512;

/// Handle of a table in kernels: open addressing, linear probing, a power-of-two number of slots of which at
/// most half are used, so a probe always meets an empty slot. Row -1 means absent.
///
/// 64-bit keys are stored beside their rows; a 32-bit key and its row share one word. A key begins probing in a
/// bucket of 32 bytes, and find() looks at a bucket at once: memory gives no less, and the threads of a warp
/// wait for the one that probes longest, on a LiDAR scan 1.5 to 3 times where slot by slot it was 4 to 6.
template <class Key>
struct HashTableRef;

template <>
struct HashTableRef<std::uint64_t> {
  static constexpr std::int64_t words_per_slot = 2;  // in units of 64 bits, rows padded to the key's size
  static constexpr std::uint64_t bucket = 2;         // slots
  static constexpr unsigned long long empty = ~0ULL;

  unsigned long long* slots;  // [2 * num_slots]: key, row
  std::uint64_t mask;         // num_slots - 1
  HashSeed seed;

  /// Stores `key` with the smallest of the rows given for it. Returns whether the key was there already.
  TESSERA_HOST_DEVICE bool insert(std::uint64_t key, std::int32_t row) const
  {
    for (auto at = begin(key);; go_on(at, key)) {
      auto* const slot = &slots[2 * at.slot()];
      auto const seen = atomic_compare_exchange(slot, empty, static_cast<unsigned long long>(key));
      if (seen == empty || seen == key) {
        atomic_minimum(slot + 1, static_cast<unsigned long long>(row));
        return seen == key;
      }
    }
  }

  /// Enters `key` with row 0 or finds it there; for tables that may be given too many keys: gives up where
  /// the table must be over half full.
  TESSERA_HOST_DEVICE Entered try_insert(std::uint64_t key) const
  {
    auto at = begin(key);
    settle(at, key);  // a key is mostly there already
    for (; at.probes <= mask && at.probes < longest_run; go_on(at, key)) {
      auto const seen =
          atomic_compare_exchange(&slots[2 * at.slot()], empty, static_cast<unsigned long long>(key));
      if (seen == empty) { return Entered::now; }
      if (seen == key) { return Entered::before; }
    }
    return Entered::never;
  }

  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t find(std::uint64_t key) const
  {
    for (auto slot = begin(key).bucket;; slot = (slot + bucket) & mask) {
      auto const first = load_two(&slots[2 * slot]);
      auto const second = load_two(&slots[2 * slot + 2]);
      if (first[0] == key) { return static_cast<std::int32_t>(first[1]); }
      if (second[0] == key) { return static_cast<std::int32_t>(second[1]); }
      if (first[0] == empty || second[0] == empty) { return -1; }
    }
  }

  [[nodiscard]] TESSERA_HOST_DEVICE ProbeSequence<bucket> begin(std::uint64_t key) const
  {
    auto const hash = MurmurHash{}(key, seed);
    return {hash * bucket & mask, hash >> 31};  // the lowest bits choose the bucket, so the highest the slot
  }

 private:
  /// Goes on past slots that other keys are seen to have: one load for the rest of a bucket instead of an
  /// exchange for each of its slots, since a kernel waits for the longest sequence.
  TESSERA_HOST_DEVICE void settle(ProbeSequence<bucket>& at, std::uint64_t key) const
  {
    std::uint32_t taken = 0;
    do {
      taken = 0;
      for (std::uint64_t i = 0; i < bucket; ++i) {
        auto const seen = peek_two(&slots[2 * (at.bucket + i)])[0];
        taken |= (seen != empty && seen != key ? 1U : 0U) << i;
      }
    } while (at.pass(taken, mask) && at.probes < longest_run);
  }
  TESSERA_HOST_DEVICE void go_on(ProbeSequence<bucket>& at, std::uint64_t key) const
  {
    at.advance(mask);
    settle(at, key);
  }
};

template <>
struct HashTableRef<std::uint32_t> {
  static constexpr std::int64_t words_per_slot = 1;
  static constexpr std::uint64_t bucket = 4;  // slots
  static constexpr unsigned long long empty = ~0ULL;

  unsigned long long* slots;  // [num_slots]: key in the high half, row in the low half
  std::uint64_t mask;
  HashSeed seed;

  TESSERA_HOST_DEVICE bool insert(std::uint32_t key, std::int32_t row) const
  {
    auto const word = static_cast<unsigned long long>(key) << 32 | static_cast<std::uint32_t>(row);
    for (auto at = begin(key);; go_on(at, key)) {
      auto* const slot = &slots[at.slot()];
      auto const seen = atomic_compare_exchange(slot, empty, word);
      if (seen == empty) { return false; }
      if (static_cast<std::uint32_t>(seen >> 32) == key) {
        atomic_minimum(slot, word);  // one key: the order of words is the order of rows
        return true;
      }
    }
  }

  TESSERA_HOST_DEVICE Entered try_insert(std::uint32_t key) const
  {
    auto at = begin(key);
    settle(at, key);  // a key is mostly there already
    for (; at.probes <= mask && at.probes < longest_run; go_on(at, key)) {
      auto const seen =
          atomic_compare_exchange(&slots[at.slot()], empty, static_cast<unsigned long long>(key) << 32);
      if (seen == empty) { return Entered::now; }
      if (static_cast<std::uint32_t>(seen >> 32) == key) { return Entered::before; }
    }
    return Entered::never;
  }

  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t find(std::uint32_t key) const
  {
    for (auto slot = begin(key).bucket;; slot = (slot + bucket) & mask) {
      auto const first = load_two(&slots[slot]);
      auto const second = load_two(&slots[slot + 2]);
      bool ends = false;
      for (int i = 0; i < 4; ++i) {
        auto const word = i < 2 ? first[i] : second[i - 2];
        if (static_cast<std::uint32_t>(word >> 32) == key && word != empty) {
          return static_cast<std::int32_t>(word & 0xffffffffU);
        }
        ends = ends || word == empty;
      }
      if (ends) { return -1; }
    }
  }

  [[nodiscard]] TESSERA_HOST_DEVICE ProbeSequence<bucket> begin(std::uint32_t key) const
  {
    auto const hash = std::uint64_t{MurmurHash{}(key, seed)};
    return {hash * bucket & mask, hash >> 30};
  }

 private:
  TESSERA_HOST_DEVICE void settle(ProbeSequence<bucket>& at, std::uint32_t key) const
  {
    std::uint32_t taken = 0;
    do {
      auto const first = peek_two(&slots[at.bucket]);
      auto const second = peek_two(&slots[at.bucket + 2]);
      taken = 0;
      for (int i = 0; i < 4; ++i) {
        auto const seen = i < 2 ? first[i] : second[i - 2];
        taken |= (seen != empty && static_cast<std::uint32_t>(seen >> 32) != key ? 1U : 0U) << i;
      }
    } while (at.pass(taken, mask) && at.probes < longest_run);
  }
  TESSERA_HOST_DEVICE void go_on(ProbeSequence<bucket>& at, std::uint32_t key) const
  {
    at.advance(mask);
    settle(at, key);
  }
};

/// Owns the slots of one table for up to `capacity` keys.
template <class Key, class Space>
class HashTable {
 public:
  using Ref = HashTableRef<Key>;

  /// An empty table.
  /// Cost: 16 to 64 bytes per key.
  /// Stream: one allocation and one fill.
  HashTable(std::int64_t capacity, Execution<Space> const& exec)
  {
    num_slots_ = 16;  // of whole buckets
    while (num_slots_ < 2 * capacity) { num_slots_ *= 2; }
    slots_ = Buffer<unsigned long long, Space>{num_slots_ * Ref::words_per_slot, exec};
    fill_bytes(slots_, 0xff, exec);
  }

  [[nodiscard]] Ref ref() noexcept
  {
    return {slots_.data(), static_cast<std::uint64_t>(num_slots_ - 1), seed_};
  }

 private:
  std::int64_t num_slots_;
  HashSeed seed_ = hash_seed();  // of all keys of this table
  Buffer<unsigned long long, Space> slots_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
