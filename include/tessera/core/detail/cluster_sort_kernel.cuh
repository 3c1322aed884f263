// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/int_array.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A radix sort by one cluster of blocks, in one launch: what a set of a scan's size costs a chain of kernels
/// is mostly their beginnings and ends. On an H100 (nvcc 13.0) 94,444 masks of 27 bits take 37 us, CUB's six
/// kernels 45 us and the gaps between them; 9,504 masks take 22 us. A set that is too large for shared memory
/// is one that CUB is faster for: 178,339 keys of 31 bits, 72 us with the items left in memory, CUB 47 us.
struct ClusterSort {
  static constexpr int threads = 1024;  // of a block
  static constexpr int warps = threads / 32;
  static constexpr int digit_bits = 9;  // three passes for the masks of 27 offsets
  static constexpr int digits = 1 << digit_bits;
  static constexpr int unroll = 4;                      // loads under way at once
  static constexpr int most_shared_bytes = 226 * 1024;  // a block of sm_90 has up to 227 KB
  static constexpr int portable_blocks = 8;             // every device with clusters has room for these
  static constexpr int most_blocks = 16;
  static constexpr std::int64_t few = 8 * 1024;  // items for which more blocks gain nothing

  /// Items of a block, all but the last one's.
  [[nodiscard]] TESSERA_HOST_DEVICE static std::int64_t items_of_block(std::int64_t count, int blocks)
  {
    return ceil_div(count, blocks * threads) * threads;
  }
};

/// Where the items are kept between passes.
template <class Key>
struct SortBuffers {
  Key* keys[2];            // [count] each
  std::int32_t* items[2];  // [count] each
};

/// What a block of the cluster keeps in shared memory, before its items, as they came and by their digits:
/// twice [items of block] keys, then as often as many numbers of items.
struct ClusterSortShared {
  std::uint32_t places[ClusterSort::warps][ClusterSort::digits];  // of a warp's next item of a digit
  std::uint32_t halves[ClusterSort::digits];                      // items of a digit in the first warps
  std::uint32_t totals[ClusterSort::digits];                      // of the block; other blocks read them
  std::uint32_t begins[ClusterSort::digits];                      // of a digit's places in the block
  std::int32_t moves[ClusterSort::digits];                        // from places in the block to those of all
  std::uint32_t sums[2][ClusterSort::warps];
};

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// A thread's part. A warp owns the items [first, end), so that (block, warp, round, lane) is the order of
/// the items.
template <class Task>
class ClusterSorter {
  using Shape = ClusterSort;
  using Key = typename Task::KeyType;

 public:
  __device__ ClusterSorter(Task const& task, SortBuffers<Key> const& buffers, std::int64_t count,
                           unsigned char* shared)
      : task_{task}, buffers_{buffers}, shared_{*reinterpret_cast<ClusterSortShared*>(shared)}
  {
    block_ = static_cast<int>(__clusterRelativeBlockRank());
    blocks_ = static_cast<int>(__clusterSizeInBlocks());
    auto const of_block = static_cast<int>(Shape::items_of_block(count, blocks_));
    came_keys_ = reinterpret_cast<Key*>(shared + sizeof(ClusterSortShared));
    keys_ = came_keys_ + of_block;
    came_items_ = reinterpret_cast<std::int32_t*>(keys_ + of_block);
    items_ = came_items_ + of_block;
    auto const block_first = block_ * of_block;
    auto const left = static_cast<int>(count) - block_first;
    num_items_ = left < 0 ? 0 : left < of_block ? left : of_block;
    block_first_ = block_first;
    first_ = block_first + warp_id() * (of_block / Shape::warps);
    auto const end = first_ + of_block / Shape::warps;
    end_ = end < count ? end : static_cast<int>(count);
  }

  __device__ void sort(int bits)
  {
    int const passes = bits <= Shape::digit_bits ? 1 : ceil_div(bits, Shape::digit_bits);
    int shift = 0;
    for (int pass = 0; pass < passes; ++pass) {
      int const width = ceil_div(bits - shift, passes - pass);
      auto const digit = [&](Key key) {
        return static_cast<std::uint32_t>(key >> shift) & ((1U << width) - 1);
      };
      int const digits = 1 << width;
      for (int d = lane_id(); d < digits; d += 32) { shared_.places[warp_id()][d] = 0; }
      if (pass > 0) { __cluster_barrier_wait(); }  // the items are where they are read
      __syncwarp();
      auto const read = [&](int i, Key& key, std::int32_t& item) {
        key = pass == 0 ? task_.key(i) : buffers_.keys[(pass - 1) % 2][i];
        item = pass == 0 ? static_cast<std::int32_t>(i) : buffers_.items[(pass - 1) % 2][i];
      };
      for_each_round(read, [&](int i, bool exists, Key key, std::int32_t item) {
        if (!exists) { return; }
        came_keys_[i - block_first_] = key;
        came_items_[i - block_first_] = item;
        atomicAdd(&shared_.places[warp_id()][digit(key)], 1U);
      });
      find_places(digits);
      auto const read_again = [&](int i, Key& key, std::int32_t& item) {
        key = came_keys_[i - block_first_];
        item = came_items_[i - block_first_];
      };
      for_each_round(read_again, [&](int, bool exists, Key key, std::int32_t item) {
        auto const place = take(digit(key), exists);
        if (exists) {
          keys_[place] = key;
          items_[place] = item;
        }
      });
      __syncthreads();
      // in the block items of a digit are now adjacent, and go to neighbouring places
      for (int i = static_cast<int>(threadIdx.x); i < num_items_; i += Shape::threads) {
        auto const key = keys_[i];
        auto const item = items_[i];
        auto const place = i + shared_.moves[digit(key)];
        if (pass == passes - 1) {
          task_.store(place, key, item);
        } else {
          buffers_.keys[pass % 2][place] = key;
          buffers_.items[pass % 2][place] = item;
        }
      }
      __cluster_barrier_arrive();
      shift += width;
    }
    __cluster_barrier_wait();
  }

  /// See Sort::segment_ids().
  __device__ void segment_ids()
  {
    auto const read = [&](int i, Key& key, std::int32_t& begins) {
      key = task_.sorted_key(i);
      begins = key != none && (i == 0 || task_.sorted_key(i - 1) != key) ? 1 : 0;
    };
    auto* const noted = shared_.places[warp_id()];  // of each round: where runs begin, which keys are none
    static_assert(Shape::most_shared_bytes / (2 * sizeof(std::uint64_t)) <=
                  Shape::digits / 2 * Shape::threads);
    std::uint32_t number = 0;  // of runs before
    int round = 0;
    for_each_round(read, [&](int, bool exists, Key key, std::int32_t begins) {
      auto const begun = __ballot_sync(all_lanes, exists && begins != 0);
      auto const nones = __ballot_sync(all_lanes, exists && key == none);
      if (lane_id() == 0) {
        noted[2 * round] = begun;
        noted[2 * round + 1] = nones;
      }
      number += static_cast<std::uint32_t>(__popc(begun));
      ++round;
    });
    if (lane_id() == 0) { shared_.sums[0][warp_id()] = number; }
    __syncthreads();
    number = 0;
    std::uint32_t total = 0;
    for (int w = 0; w < Shape::warps; ++w) {
      number += w < warp_id() ? shared_.sums[0][w] : 0;
      total += shared_.sums[0][w];
    }
    if (threadIdx.x == 0) { shared_.totals[0] = total; }
    sync_cluster();
    std::uint32_t runs = 0;
    for (int block = 0; block < blocks_; ++block) {
      auto const of_block = total_of(block, 0);
      number += block < block_ ? of_block : 0;
      runs += of_block;
    }
    round = 0;
    for (auto base = first_; base < end_; base += 32) {
      auto const begun = noted[2 * round];
      bool const is_none = (noted[2 * round + 1] >> lane_id() & 1U) != 0;
      auto const own = number + static_cast<std::uint32_t>(__popc(begun & (~0U >> (31 - lane_id()))));
      if (base + lane_id() < end_) {
        task_.run(base + lane_id(), is_none ? -1 : static_cast<std::int32_t>(own) - 1,
                  (begun >> lane_id() & 1U) != 0);
      }
      number += static_cast<std::uint32_t>(__popc(begun));
      ++round;
    }
    if (block_ == 0 && threadIdx.x == 0) { task_.end(static_cast<std::int32_t>(runs)); }
    sync_cluster();  // the totals have been read
  }

 private:
  static constexpr unsigned all_lanes = 0xffffffffU;
  static constexpr Key none = static_cast<Key>(~Key{0});

  // The intrinsics of the toolkit, because <cooperative_groups.h> costs each source of the device seconds.

  __device__ static void sync_cluster()
  {
    __cluster_barrier_arrive();
    __cluster_barrier_wait();
  }

  /// `totals[d]` of another block of the cluster.
  [[nodiscard]] __device__ std::uint32_t total_of(int block, int d) const
  {
    auto const* const there = __cluster_map_shared_rank(&shared_.totals[d], static_cast<unsigned>(block));
    return *static_cast<std::uint32_t const*>(there);
  }

  /// Calls `body(i, exists, key, value)` for the warp's items, 32 at a time, by all lanes.
  template <class Read, class Body>
  __device__ void for_each_round(Read const& read, Body const& body) const
  {
    for (auto base = first_; base < end_; base += 32 * Shape::unroll) {
      Key keys[Shape::unroll];
      std::int32_t values[Shape::unroll];
#pragma unroll
      for (int j = 0; j < Shape::unroll; ++j) {
        auto const i = base + j * 32 + lane_id();
        keys[j] = 0;
        values[j] = 0;
        if (i < end_) { read(i, keys[j], values[j]); }
      }
#pragma unroll
      for (int j = 0; j < Shape::unroll; ++j) {
        auto const i = base + j * 32 + lane_id();
        if (base + j * 32 < end_) { body(i, i < end_, keys[j], values[j]); }
      }
    }
  }

  /// The next place of the digit in this warp; lanes with equal digits take theirs in order.
  [[nodiscard]] __device__ std::uint32_t take(std::uint32_t digit, bool exists)
  {
    auto peers = __ballot_sync(all_lanes, exists);
#pragma unroll
    for (int b = 0; b < Shape::digit_bits; ++b) {  // a third of the time of __match_any_sync()
      bool const set = (digit >> b & 1U) != 0;
      auto const others = __ballot_sync(all_lanes, set);
      peers &= set ? others : ~others;
    }
    auto const before = static_cast<std::uint32_t>(__popc(peers & ((1U << lane_id()) - 1)));
    std::uint32_t place = 0;
    if (exists) { place = shared_.begins[digit] + shared_.places[warp_id()][digit] + before; }
    __syncwarp();
    if (exists && before == 0) {
      shared_.places[warp_id()][digit] += static_cast<std::uint32_t>(__popc(peers));
    }
    __syncwarp();
    return place;
  }

  /// The sum of the values of lower threads; all threads call it.
  [[nodiscard]] __device__ std::uint32_t sum_before(std::uint32_t value, std::uint32_t (&sums)[Shape::warps])
  {
    auto sum = value;
    for (int step = 1; step < 32; step *= 2) {
      auto const left = __shfl_up_sync(all_lanes, sum, static_cast<unsigned>(step));
      sum += lane_id() >= step ? left : 0;
    }
    if (lane_id() == 31) { sums[warp_id()] = sum; }
    __syncthreads();
    auto const of_warp = sums[lane_id()];
    return sum - value + __reduce_add_sync(all_lanes, lane_id() < warp_id() ? of_warp : 0);
  }

  /// Turns the warps' counts of digits into places in the block, and finds how far those are from the places
  /// among all items, where smaller digits come first, then blocks before. Two threads have a digit, one for
  /// the first half of the warps.
  __device__ void find_places(int digits)
  {
    constexpr int half = Shape::warps / 2;
    static_assert(Shape::threads >= 2 * Shape::digits);
    __syncthreads();
    auto const d = static_cast<int>(threadIdx.x) % Shape::digits;
    bool const is_second = static_cast<int>(threadIdx.x) >= Shape::digits;
    bool const used = d < digits;
    int const first_warp = is_second ? half : 0;
    std::uint32_t counts[half];
    std::uint32_t own = 0;
#pragma unroll
    for (int w = 0; w < half; ++w) {  // all loads, then all stores
      counts[w] = used ? shared_.places[first_warp + w][d] : 0;
    }
#pragma unroll
    for (int w = 0; w < half; ++w) { own += counts[w]; }
    if (!is_second) { shared_.halves[d] = own; }
    __syncthreads();
    if (is_second) { shared_.totals[d] = shared_.halves[d] + own; }
    __cluster_barrier_arrive();
    auto place = is_second ? shared_.halves[d] : 0;
#pragma unroll
    for (int w = 0; w < half; ++w) {
      if (used) { shared_.places[first_warp + w][d] = place; }
      place += counts[w];
    }
    __syncthreads();
    auto const in_block = is_second ? 0 : shared_.totals[d];
    auto const begin = sum_before(in_block, shared_.sums[0]);
    __cluster_barrier_wait();
    std::uint32_t before = 0;  // in blocks before
    std::uint32_t total = 0;
    if (used && !is_second) {
#pragma unroll
      for (int block = 0; block < Shape::most_blocks; ++block) {
        if (block < blocks_) {
          auto const of_block = total_of(block, d);
          before += block < block_ ? of_block : 0;
          total += of_block;
        }
      }
    }
    before += sum_before(total, shared_.sums[1]);
    if (used && !is_second) {
      shared_.begins[d] = begin;
      shared_.moves[d] = static_cast<std::int32_t>(before - begin);
    }
    __syncthreads();
  }

  Task const& task_;
  SortBuffers<Key> const& buffers_;
  ClusterSortShared& shared_;
  Key* came_keys_;  // [items of block] in shared memory, all four
  Key* keys_;       // by digits
  std::int32_t* came_items_;
  std::int32_t* items_;  // by digits
  int block_;
  int blocks_;
  int num_items_;  // of this block
  int block_first_;
  int first_;
  int end_;
};

#endif

/// @tparam SegmentIds  and numbers the runs of equal keys
template <class Task, bool SegmentIds>
__global__ void __launch_bounds__(ClusterSort::threads)
    cluster_sort_kernel(__grid_constant__ Task const task,
                        __grid_constant__ SortBuffers<typename Task::KeyType> const buffers,
                        std::int64_t count, int bits)
{
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  ClusterSorter<Task> sorter{task, buffers, count, shared_bytes};
  sorter.sort(bits);
  if constexpr (SegmentIds) { sorter.segment_ids(); }
#endif
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
