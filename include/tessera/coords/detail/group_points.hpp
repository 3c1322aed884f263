// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/locate_points.hpp>
#include <tessera/coords/key_packing.hpp>
#include <tessera/coords/quantize_options.hpp>
#include <tessera/core/scalar.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

namespace detail {

/// keys[i] = key of point i's voxel, one above the largest for points without; order[i] = i.
template <int Dim, class Key>
struct PackPoints {
  KeyPacking<Dim, Key> packing;
  Coordinate<Dim> const* voxels;  // [num_points], batch -1 for none
  Key none;
  Key* keys;
  std::int32_t* order;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    keys[i] = voxels[i].batch >= 0 ? packing.pack(voxels[i]) : none;
    order[i] = static_cast<std::int32_t>(i);
  }
};

/// starts[i] = 1 where sorted point i is the first of its voxel; one further 0 closes the array.
template <class Key>
struct MarkVoxels {
  Key const* keys;  // [num_points], ascending
  Key none;
  std::int64_t num_points;
  std::int32_t* starts;  // [num_points + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    bool const used = i < num_points && keys[i] != none;
    starts[i] = used && (i == 0 || keys[i] != keys[i - 1]) ? 1 : 0;
  }
};

/// statistics->voxels.count = number of voxels.
template <int Dim>
struct CountVoxels {
  std::int32_t const* total;  // [1]
  PointStatistics<Dim>* statistics;

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const { statistics->voxels.count = *total; }
};

/// The voxels' rows, where the sorted points of each begin, and the map from points to voxels. Voxels past
/// the room there is are left out with their points.
template <int Dim, class Key>
struct WriteVoxels {
  KeyPacking<Dim, Key> packing;
  Key const* keys;            // [num_points], ascending
  Key none;                   // key of points without voxel
  std::int32_t const* order;  // [num_points]
  std::int32_t const* place;  // [num_points + 1]: sums of the starts before a point
  std::int64_t num_points;
  std::int64_t room;          // voxels that are written, at most
  Coordinate<Dim>* rows;      // [room]
  std::int32_t* begin;        // [room + 1]
  std::int32_t* first_point;  // [room]
  std::int32_t* inverse;      // [num_points]
  std::int32_t* num_voxels;   // [1] all of them, or null
  std::int32_t* num_dropped;  // [1] points without voxel, or null

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    bool const used = i < num_points && keys[i] != none;
    bool const used_before = i > 0 && keys[i - 1] != none;
    if (!used) {
      if (used_before || i == 0) { close(i); }
      if (i < num_points) { inverse[order[i]] = -1; }
      return;
    }
    bool const starts = place[i + 1] != place[i];
    auto const voxel = starts ? place[i] : place[i] - 1;
    inverse[order[i]] = voxel < room ? voxel : -1;
    if (starts && voxel <= room) { begin[voxel] = static_cast<std::int32_t>(i); }
    if (starts && voxel < room) {
      rows[voxel] = packing.unpack(keys[i]);
      first_point[voxel] = order[i];
    }
  }

 private:
  /// `used` points have a voxel: the last one ends there.
  TESSERA_HOST_DEVICE void close(std::int64_t used) const
  {
    if (place[used] <= room) { begin[place[used]] = static_cast<std::int32_t>(used); }
    if (num_voxels != nullptr) { *num_voxels = place[used]; }
    if (num_dropped != nullptr) { *num_dropped = static_cast<std::int32_t>(num_points - used); }
  }
};

/// Element i of the voxels' features, row-major.
template <class Scalar>
struct ReduceFeatures {
  JoinedColumns<Scalar> features;  // [num_points, channels]
  std::int32_t const* order;       // [num_points]
  std::int32_t const* begin;       // [num_voxels + 1]
  VoxelFeatures kind;
  Scalar* voxel_features;  // [num_voxels, channels]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const channels = features.columns();
    auto const voxel = i / channels;
    auto const column = features.column(i - voxel * channels);
    auto const first = begin[voxel];
    if (kind == VoxelFeatures::first) {
      voxel_features[i] = column[order[first]];
      return;
    }
    using Sum = accumulator_t<Scalar>;
    auto const end = begin[voxel + 1];
    auto sum = static_cast<Sum>(column[order[first]]);
    for (auto at = first + 1; at < end; ++at) {
      auto const value = static_cast<Sum>(column[order[at]]);
      sum = kind == VoxelFeatures::maximum ? larger_or_nan(sum, value) : sum + value;
    }
    bool const divide = kind == VoxelFeatures::mean;
    voxel_features[i] =
        static_cast<Scalar>(divide ? rounded_divide(sum, static_cast<Sum>(end - first)) : sum);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
