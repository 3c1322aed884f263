// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/hard_voxel_scans.cuh>
#include <tessera/coords/detail/hard_voxels.hpp>
#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/detail/scan.cuh>
#include <tessera/core/int_array.hpp>
#include <tessera/core/launch.cuh>

#include <algorithm>
#include <numeric>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Cells of scans in open addressing, and the first points of each, ascending. All bytes 0xff: empty.
template <class Key>
struct CellTable {
  static constexpr auto empty = static_cast<Key>(~Key{0});
  static constexpr std::uint32_t no_point = ~0U;

  Key* keys;             // [mask + 1]
  std::uint32_t* lists;  // [mask + 1, max_points]
  std::int64_t mask;
  int max_points;
  HashSeed seed;

  /// The slot of `key`, which is entered if it is new.
  [[nodiscard]] __device__ std::int64_t claim(Key key) const
  {
    for (auto slot = first_slot(key, mask, seed);; slot = (slot + 1) & mask) {
      Key seen = *static_cast<Key volatile*>(keys + slot);
      if (seen == empty) { seen = atomic_compare_exchange(keys + slot, Key{empty}, key); }
      if (seen == empty || seen == key) { return slot; }
    }
  }

  /// Enters `point` among the first points of `slot`, of which `known` are entered by others and come before
  /// it.
  ///
  /// Each place keeps the smallest of what reaches it and hands the other on, so place k ends with the k-th
  /// smallest whatever the order of arrival. Places only ever fall, hence a place that holds less than
  /// `point` means that it belongs further back, and none but the last few need an atomic operation.
  __device__ void enter(std::int64_t slot, std::uint32_t point, int known) const
  {
    auto* const list = lists + slot * max_points;
    int begin = known;
    for (int end = max_points; begin < end;) {
      int const middle = begin + (end - begin) / 2;
      if (*static_cast<std::uint32_t volatile*>(list + middle) < point) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    for (; begin < max_points && point != no_point; ++begin) {
      auto const there = atomicMin(list + begin, point);
      point = there > point ? there : point;
    }
  }

  /// Whether `point` opened the voxel at `slot`.
  [[nodiscard]] __device__ bool is_first(std::int64_t slot, std::int64_t point) const
  {
    return slot >= 0 && lists[slot * max_points] == static_cast<std::uint32_t>(point);
  }
};

/// slot_of[i] = where the cell of point i is, -1 without one; fills the table. Points of one cell in a warp
/// look for it once.
template <class Key, class Scans>
__global__ void __launch_bounds__(voxel_block)
    enter_points_kernel(StridedView<float const> positions, Scans scans, HardVoxelRule rule,
                        CellTable<Key> table, std::int32_t* slot_of)
{
  auto const own = scans.of_block(blockIdx.x);
  auto const i = own.first + threadIdx.x;
  auto const in_scan = i < own.end ? rule.cell(positions, i) : std::int64_t{-1};
  auto const cell = in_scan >= 0 ? own.scan * rule.num_cells() + in_scan : std::int64_t{-1};
  auto const key = static_cast<Key>(cell);  // -1 is `empty`
  int const lane = lane_id();
  unsigned const same = __match_any_sync(~0U, key);
  int const leader = first_lane(same);
  int slot = -1;
  if (cell >= 0 && lane == leader) { slot = static_cast<int>(table.claim(key)); }
  slot = __shfl_sync(~0U, slot, leader);
  if (cell >= 0) { table.enter(slot, static_cast<std::uint32_t>(i), __popc(same & ((1U << lane) - 1U))); }
  if (i < own.end) { slot_of[i] = slot; }
}

/// num_first[block] = how many of the block's points opened a voxel.
template <class Key, class Scans>
__global__ void __launch_bounds__(voxel_block)
    count_voxels_kernel(Scans scans, CellTable<Key> table, std::int32_t const* slot_of,
                        std::int32_t* num_first)
{
  auto const own = scans.of_block(blockIdx.x);
  auto const i = own.first + threadIdx.x;
  int const count = __syncthreads_count(i < own.end && table.is_first(slot_of[i], i) ? 1 : 0);
  if (threadIdx.x == 0) { num_first[blockIdx.x] = count; }
}

/// Writes the voxels that the block's points opened: their numbers follow those of the blocks before.
template <class Key, class Scans>
__global__ void __launch_bounds__(voxel_block)
    write_voxels_kernel(JoinedColumns<float> columns, Scans scans, HardVoxelRule rule, CellTable<Key> table,
                        std::int32_t const* slot_of, std::int32_t const* num_first, VoxelRows to)
{
  constexpr int warps = voxel_block / 32;
  __shared__ int slots[voxel_block];
  __shared__ int before_by[warps];  // voxels of the scan's earlier blocks that the warp has added up
  __shared__ int opened_by[warps];  // voxels that the warp's points opened

  auto const own = scans.of_block(blockIdx.x);
  int before = 0;
  for (auto b = own.scan_block + threadIdx.x; b < blockIdx.x; b += voxel_block) { before += num_first[b]; }
  before = sum_over_lanes(before);
  auto const i = own.first + threadIdx.x;
  int const slot = i < own.end ? slot_of[i] : -1;
  bool const opens = table.is_first(slot, i);
  unsigned const opening = __ballot_sync(~0U, opens);
  if (lane_id() == 0) {
    before_by[warp_id()] = before;
    opened_by[warp_id()] = __popc(opening);
  }
  __syncthreads();
  int in_scan = 0;
  int opened = 0;
  int place = __popc(opening & ((1U << lane_id()) - 1U));
  for (int warp = 0; warp < warps; ++warp) {
    in_scan += before_by[warp];
    opened += opened_by[warp];
    place += warp < warp_id() ? opened_by[warp] : 0;
  }
  int const room = rule.max_voxels > in_scan ? rule.max_voxels - in_scan : 0;
  int const num_voxels = opened < room ? opened : room;
  int const base = scans.first_row(own.scan) + in_scan;
  if (opens && place < num_voxels) {
    slots[place] = slot;
    if (to.coordinates != nullptr) {
      auto const cell = static_cast<std::int64_t>(table.keys[slot]) - own.scan * rule.num_cells();
      to.coordinates[base + place] = rule.coordinate(cell, own.scan);
    }
  }
  if constexpr (std::is_same_v<Scans, OneScan>) {
    if (to.count != nullptr && threadIdx.x == 0 && blockIdx.x == gridDim.x - 1) {
      *to.count = in_scan < rule.max_voxels ? in_scan + num_voxels : rule.max_voxels;
    }
  } else {
    if (to.count != nullptr && threadIdx.x == 0 && blockIdx.x == 0) {
      *to.count = scans.first_row(scans.num_scans);
    }
  }
  __syncthreads();

  auto const* const lists = reinterpret_cast<std::int32_t const*>(table.lists);
  auto const channels = static_cast<int>(columns.columns());
  int const per_voxel = rule.max_points * channels;
  if (to.mean != nullptr || to.num_points != nullptr) {
    for (int e = static_cast<int>(threadIdx.x); e < num_voxels * channels; e += voxel_block) {
      int const voxel = e / channels;
      int const channel = e - voxel * channels;
      auto const* const list = lists + std::int64_t{slots[voxel]} * rule.max_points;
      std::int32_t count = 0;
      float const mean = mean_of_points(columns.column(channel), list, rule.max_points, count);
      if (to.mean != nullptr) { to.mean[std::int64_t{base} * channels + e] = mean; }
      if (to.num_points != nullptr && channel == 0) { to.num_points[base + voxel] = count; }
    }
  }
  for (int e = static_cast<int>(threadIdx.x); e < num_voxels * per_voxel && to.points != nullptr;
       e += voxel_block) {
    int const voxel = e / per_voxel;
    int const rest = e - voxel * per_voxel;
    int const k = rest / channels;
    auto const point = lists[std::int64_t{slots[voxel]} * rule.max_points + k];
    to.points[std::int64_t{base} * per_voxel + e] =
        point < 0 ? 0.0F : columns.column(rest - k * channels)[point];
  }
}

/// One fill and three kernels: enter the points, count the voxels of each block, write them. Of several scans
/// also which blocks are whose, and where the voxels of each begin.
///
/// A template, though there is one device: the kernels are compiled where somebody voxelizes, not wherever the
/// header is included.
/// @tparam Space  Device
template <class Space>
class DeviceHardVoxelizer {
 public:
  /// @param faults  [1] in the space; nobody waits for them here
  DeviceHardVoxelizer(HardPoints const& points, HardVoxelRule const& rule, PointFaults const* faults,
                      Execution<Space> const& exec)
      : points_{points},
        rule_{rule},
        num_slots_{num_cell_slots(points.count)},
        num_blocks_{std::max<std::int64_t>(
            1, ceil_div(points.count, voxel_block) + (points.offsets != nullptr ? points.num_scans : 0))},
        wide_{points.num_scans * rule.num_cells() > UINT32_MAX - 1LL},
        slot_of_{points.count, exec},
        num_first_{num_blocks_, exec},
        table_{num_slots_ * (rule.max_points + (wide_ ? 2 : 1)), exec}
  {
    fill_bytes(table_, 0xff, exec);
    if (points.offsets != nullptr) { lay_out_blocks(faults, exec); }
    wide_ ? find<unsigned long long>(exec) : find<unsigned>(exec);
  }

  /// Waits.
  [[nodiscard]] std::int64_t download_num_voxels(Execution<Space> const& exec) const
  {
    if (points_.offsets != nullptr) { return download(row_begin_.data() + points_.num_scans, 1, exec)[0]; }
    auto const counts = download(num_first_, exec);
    return std::min<std::int64_t>(rule_.max_voxels,
                                  std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  }

  void write(VoxelRows const& to, Execution<Space> const& exec)
  {
    wide_ ? write<unsigned long long>(to, exec) : write<unsigned>(to, exec);
  }

 private:
  void lay_out_blocks(PointFaults const* faults, Execution<Space> const& exec)
  {
    auto const entries = std::int64_t{points_.num_scans} + 1;
    block_begin_ = Buffer<std::int32_t, Space>{entries, exec};
    row_begin_ = Buffer<std::int32_t, Space>{entries, exec};
    for_each(entries, CountBlocks{points_.offsets, faults, points_.num_scans, block_begin_.data()}, exec);
    Scan<Space>::exclusive(block_begin_.data(), block_begin_.data(), entries, exec);
  }
  template <class Key>
  [[nodiscard]] CellTable<Key> table()
  {
    auto* const keys = reinterpret_cast<Key*>(table_.data());
    return {keys, reinterpret_cast<std::uint32_t*>(keys + num_slots_), num_slots_ - 1, rule_.max_points,
            seed_};
  }
  [[nodiscard]] ManyScans many_scans() const
  {
    return {points_.offsets, block_begin_.data(), row_begin_.data(), points_.num_scans};
  }
  template <class Key>
  void find(Execution<Space> const& exec)
  {
    if (points_.offsets == nullptr) {
      find<Key>(OneScan{points_.count}, exec);
      return;
    }
    find<Key>(many_scans(), exec);
    auto const entries = std::int64_t{points_.num_scans} + 1;
    for_each(entries,
             CountRows{num_first_.data(), block_begin_.data(), points_.num_scans, rule_.max_voxels,
                       row_begin_.data()},
             exec);
    Scan<Space>::exclusive(row_begin_.data(), row_begin_.data(), entries, exec);
  }
  template <class Key, class Scans>
  void find(Scans const& scans, Execution<Space> const& exec)
  {
    auto const grid = dim3(static_cast<unsigned>(num_blocks_));
    launch(enter_points_kernel<Key, Scans>, grid, voxel_block, 0, exec, points_.columns.first, scans, rule_,
           table<Key>(), slot_of_.data());
    launch(count_voxels_kernel<Key, Scans>, grid, voxel_block, 0, exec, scans, table<Key>(),
           static_cast<std::int32_t const*>(slot_of_.data()), num_first_.data());
  }
  template <class Key>
  void write(VoxelRows const& to, Execution<Space> const& exec)
  {
    points_.offsets == nullptr ? write<Key>(OneScan{points_.count}, to, exec)
                               : write<Key>(many_scans(), to, exec);
  }
  template <class Key, class Scans>
  void write(Scans const& scans, VoxelRows const& to, Execution<Space> const& exec)
  {
    launch(write_voxels_kernel<Key, Scans>, dim3(static_cast<unsigned>(num_blocks_)), voxel_block, 0, exec,
           points_.columns, scans, rule_, table<Key>(), static_cast<std::int32_t const*>(slot_of_.data()),
           static_cast<std::int32_t const*>(num_first_.data()), to);
  }

  HardPoints points_;
  HardVoxelRule rule_;
  std::int64_t num_slots_;
  HashSeed seed_ = hash_seed();
  std::int64_t num_blocks_;
  bool wide_;                                // keys need 64 bits
  Buffer<std::int32_t, Space> slot_of_;      // [num_points]
  Buffer<std::int32_t, Space> num_first_;    // [num_blocks]
  Buffer<std::uint32_t, Space> table_;       // keys, then lists
  Buffer<std::int32_t, Space> block_begin_;  // [num_scans + 1] of several scans
  Buffer<std::int32_t, Space> row_begin_;    // [num_scans + 1] of several scans
};

template <>
class HardVoxelizer<Device> : public DeviceHardVoxelizer<Device> {
 public:
  using DeviceHardVoxelizer<Device>::DeviceHardVoxelizer;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
