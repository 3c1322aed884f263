// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/point_rows.hpp>
#include <tessera/core/int_array.hpp>

#include <climits>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

constexpr int voxel_block = 512;  // points of a block of the kernels of hard voxelization

/// What a block works on: points of one scan, and where the scan's voxels begin.
struct BlockPoints {
  int scan;
  std::int64_t first;   // the block's points
  std::int64_t end;     // of the scan's points
  unsigned scan_block;  // the scan's first block
};

/// One scan: block b has the points from b * voxel_block on.
struct OneScan {
  std::int64_t num_points;

  [[nodiscard]] __device__ BlockPoints of_block(unsigned block) const
  {
    return {0, std::int64_t{block} * voxel_block, num_points, 0};
  }
  /// Voxels of the scans before.
  [[nodiscard]] __device__ int first_row(int) const { return 0; }
};

/// Several scans: the blocks of each follow those of the scan before, and none has points of two.
struct ManyScans {
  std::int32_t const* offsets;      // [num_scans + 1]
  std::int32_t const* block_begin;  // [num_scans + 1]
  std::int32_t const* row_begin;    // [num_scans + 1], of write_voxels_kernel alone
  int num_scans;

  [[nodiscard]] __device__ BlockPoints of_block(unsigned block) const
  {
    if (block >= static_cast<unsigned>(block_begin[num_scans])) { return {0, 0, 0, block}; }
    int begin = 0;  // the scan is the last one whose first block is not behind this
    int end = num_scans;
    while (end - begin > 1) {
      int const middle = begin + (end - begin) / 2;
      if (static_cast<unsigned>(block_begin[middle]) <= block) {
        begin = middle;
      } else {
        end = middle;
      }
    }
    auto const scan_block = static_cast<unsigned>(block_begin[begin]);
    return {begin, offsets[begin] + std::int64_t{block - scan_block} * voxel_block, offsets[begin + 1],
            scan_block};
  }
  [[nodiscard]] __device__ int first_row(int scan) const { return row_begin[scan]; }
};

/// blocks[s] = blocks that the points of scan s take, none if an offset is wrong; one further 0 closes the
/// array.
struct CountBlocks {
  std::int32_t const* offsets;  // [num_scans + 1]
  PointFaults const* faults;    // [1]
  int num_scans;
  std::int32_t* blocks;  // [num_scans + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t s) const
  {
    bool const used = s < num_scans && faults->first_offset == INT_MAX;
    blocks[s] = used ? ceil_div(offsets[s + 1] - offsets[s], voxel_block) : 0;
  }
};

/// rows[s] = voxels of scan s, at most as many as it may have; one further 0 closes the array.
struct CountRows {
  std::int32_t const* num_first;    // [blocks]
  std::int32_t const* block_begin;  // [num_scans + 1]
  int num_scans;
  int max_voxels;
  std::int32_t* rows;  // [num_scans + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t s) const
  {
    std::int32_t sum = 0;
    for (auto b = s < num_scans ? block_begin[s] : 0; s < num_scans && b < block_begin[s + 1]; ++b) {
      sum += num_first[b];
    }
    rows[s] = sum < max_voxels ? sum : max_voxels;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
