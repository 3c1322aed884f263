// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/locate_points.hpp>
#include <tessera/core/hash.hpp>
#include <tessera/core/strided_view.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What hard voxelization does with points, for kernels.
struct HardVoxelRule {
  VoxelRule<3> rule;  // in x, y, z
  int max_points;
  int max_voxels;   // of each scan
  int batch_entry;  // of the first scan
  bool reversed;    // coordinates are (z, y, x)

  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t num_cells() const
  {
    return std::int64_t{rule.extent[0]} * rule.extent[1] * rule.extent[2];
  }
  /// The cell of row i as a number below num_cells(), or -1 where there is none.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t cell(StridedView<float const> const& positions,
                                                      std::int64_t i) const
  {
    float const p[3] = {positions(i, 0), positions(i, 1), positions(i, 2)};
    IntArray<3> at;
    std::int32_t const lowest[3] = {};  // not read: the grid has an origin
    if (!rule.keeps(p) || rule.locate(p, lowest, at) != PointFate::kept) { return -1; }
    return (std::int64_t{at[2]} * rule.extent[1] + at[1]) * rule.extent[0] + at[0];
  }
  /// The coordinate of a cell of scan number `scan`.
  [[nodiscard]] TESSERA_HOST_DEVICE Coordinate<3> coordinate(std::int64_t cell, int scan) const
  {
    auto const x = static_cast<int>(cell % rule.extent[0]);
    auto const rest = cell / rule.extent[0];
    auto const y = static_cast<int>(rest % rule.extent[1]);
    auto const z = static_cast<int>(rest / rule.extent[1]);
    Coordinate<3> c;
    c.batch = batch_entry + scan;
    c.position[0] = reversed ? z : x;
    c.position[1] = y;
    c.position[2] = reversed ? x : z;
    return c;
  }
};

/// Points as hard voxelization takes them: scan after scan.
struct HardPoints {
  JoinedColumns<float> columns;  // [count, 3 + channels], the first three x, y, z in `columns.first`
  std::int64_t count;
  std::int32_t const* offsets;  // [num_scans + 1] where the scans begin, or null: one scan
  int num_scans;
};

/// Where voxels go, `capacity` rows; null for what is not wanted.
struct VoxelRows {
  Coordinate<3>* coordinates = nullptr;  // [capacity]
  std::int32_t* num_points = nullptr;    // [capacity]
  float* mean = nullptr;                 // [capacity, channels]
  float* points = nullptr;               // [capacity, max_points, channels]
  std::int32_t* count = nullptr;         // [1] rows in use
};

/// Where a cell starts to look for its slot of `mask` + 1; see MurmurHash.
template <class Key>
[[nodiscard]] TESSERA_HOST_DEVICE std::int64_t first_slot(Key cell, std::int64_t mask, HashSeed const& seed)
{
  if constexpr (sizeof(Key) == sizeof(std::uint32_t)) {
    return std::int64_t{MurmurHash{}(static_cast<std::uint32_t>(cell), seed)} & mask;
  } else {
    return static_cast<std::int64_t>(MurmurHash{}(static_cast<std::uint64_t>(cell), seed)) & mask;
  }
}

/// Slots for the cells of up to `num_points` points: a power of two, at most half of it used.
[[nodiscard]] inline std::int64_t num_cell_slots(std::int64_t num_points)
{
  std::int64_t slots = 16;
  while (slots < 2 * num_points) { slots *= 2; }
  return slots;
}

/// The mean of a column over the points in `list`, which ends at `max_points` or at -1; also
/// tells how many there are. One order of summing, so both spaces get the same bits.
[[nodiscard]] TESSERA_HOST_DEVICE inline float mean_of_points(StridedColumn<float> const& column,
                                                              std::int32_t const* list, int max_points,
                                                              std::int32_t& count)
{
  float sum = 0;
  std::int32_t used = 0;
  for (; used < max_points && list[used] >= 0; ++used) { sum += column[list[used]]; }
  count = used;
  return rounded_divide(sum, static_cast<float>(used));
}

/// Finds the voxels of scans, then writes them: Host here, Device in hard_voxels_device.cuh. Two steps, so
/// that the host may learn the number of voxels between them. Offsets that do not ascend from 0 to the number
/// of points are noted in `faults`, and then there are no voxels.
template <class Space>
class HardVoxelizer {
  static_assert(std::is_void_v<Space>,
                "hard_voxelize on the device: include <tessera/coords/voxelize.cuh> and compile with nvcc");
};

/// The definition, point after point.
template <>
class HardVoxelizer<Host> {
 public:
  HardVoxelizer(HardPoints const& points, HardVoxelRule const& rule, PointFaults const* faults,
                Execution<Host> const& exec)
      : points_{points}, rule_{rule}
  {
    if (faults->first_offset < INT_MAX) { return; }
    std::vector<std::int64_t> cells(static_cast<std::size_t>(points.count));
    exec.parallel_for(points.count, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        cells[static_cast<std::size_t>(i)] = rule.cell(points.columns.first, i);
      }
    });
    auto const mask = num_cell_slots(points.count) - 1;
    std::vector<std::int64_t> key_of(static_cast<std::size_t>(mask + 1), -1);
    std::vector<std::int32_t> voxel_of(static_cast<std::size_t>(mask + 1), -1);
    auto const seed = hash_seed();
    for (int scan = 0; scan < points.num_scans; ++scan) {
      bool const is_batch = points.offsets != nullptr;
      std::int64_t const begin = is_batch ? points.offsets[scan] : 0;
      std::int64_t const end = is_batch ? points.offsets[scan + 1] : points.count;
      auto const most = num_voxels() + rule.max_voxels;
      auto const first_key = scan * rule.num_cells();
      for (auto i = begin; i < end; ++i) {
        auto const cell = cells[static_cast<std::size_t>(i)];
        if (cell < 0) { continue; }
        auto const key = first_key + cell;
        auto at = first_slot(key, mask, seed);
        while (key_of[static_cast<std::size_t>(at)] != key && key_of[static_cast<std::size_t>(at)] >= 0) {
          at = (at + 1) & mask;
        }
        auto const slot = static_cast<std::size_t>(at);
        if (key_of[slot] < 0) {
          if (num_voxels() >= most) { continue; }
          key_of[slot] = key;
          voxel_of[slot] = static_cast<std::int32_t>(num_voxels());
          voxels_.push_back(key);
          used_.push_back(0);
          lists_.resize(lists_.size() + static_cast<std::size_t>(rule.max_points), -1);
        }
        auto const voxel = voxel_of[slot];
        auto& used = used_[static_cast<std::size_t>(voxel)];
        if (used < rule.max_points) { list(voxel)[used++] = static_cast<std::int32_t>(i); }
      }
    }
  }

  [[nodiscard]] std::int64_t num_voxels() const { return static_cast<std::int64_t>(voxels_.size()); }
  [[nodiscard]] std::int64_t download_num_voxels(Execution<Host> const&) const { return num_voxels(); }

  void write(VoxelRows const& to, Execution<Host> const& exec)
  {
    if (to.count != nullptr) { *to.count = static_cast<std::int32_t>(num_voxels()); }
    exec.parallel_for(num_voxels(), 1024, [&](std::int64_t begin, std::int64_t end) {
      for (auto voxel = begin; voxel < end; ++voxel) { write(to, voxel); }
    });
  }

 private:
  [[nodiscard]] std::int32_t* list(std::int64_t voxel) { return lists_.data() + voxel * rule_.max_points; }

  void write(VoxelRows const& to, std::int64_t voxel)
  {
    auto const v = static_cast<std::size_t>(voxel);
    auto const columns = points_.columns.columns();
    if (to.coordinates != nullptr) {
      auto const scan = voxels_[v] / rule_.num_cells();
      to.coordinates[voxel] = rule_.coordinate(voxels_[v] - scan * rule_.num_cells(), static_cast<int>(scan));
    }
    if (to.num_points != nullptr) { to.num_points[voxel] = used_[v]; }
    for (std::int64_t c = 0; c < columns; ++c) {
      auto const column = points_.columns.column(c);
      if (to.mean != nullptr) {
        std::int32_t count = 0;
        to.mean[voxel * columns + c] = mean_of_points(column, list(voxel), rule_.max_points, count);
      }
      for (int k = 0; k < rule_.max_points && to.points != nullptr; ++k) {
        auto const point = list(voxel)[k];
        to.points[(voxel * rule_.max_points + k) * columns + c] = point < 0 ? 0 : column[point];
      }
    }
  }

  HardPoints points_;
  HardVoxelRule rule_;
  std::vector<std::int64_t> voxels_;  // cell of each, those of a scan after those of the scan before
  std::vector<std::int32_t> used_;    // points of each
  std::vector<std::int32_t> lists_;   // [num_voxels, max_points] the points of each, -1 after the last
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
