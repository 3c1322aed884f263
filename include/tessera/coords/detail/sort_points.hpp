// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/detail/group_points.hpp>
#include <tessera/core/row_count.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The task of sorting points by voxel, then by index (Sort::run()); points without one come last. Voxels
/// outside the box, and points of no cloud, are noted and left out.
template <int Dim, class Key>
struct SortByVoxel {
  using KeyType = Key;

  PointRows points;
  VoxelRule<Dim> rule;
  std::int32_t const* lowest;  // [num_batches, Dim], or null where the rule does not need it
  KeyPacking<Dim, Key> packing;
  Key none;               // key of points without voxel
  std::uint32_t* errors;  // [1] bits of DataError
  Key* keys;              // [count]
  std::int32_t* order;    // [count]

  [[nodiscard]] TESSERA_HOST_DEVICE Key key(std::int64_t i) const
  {
    float p[Dim];
    load_position(points, i, p);
    Coordinate<Dim> voxel;
    voxel.batch = points.batch_of(i);
    bool fits = points.has_cloud(voxel.batch);
    if (fits) {
      if (!rule.keeps(p)) { return none; }
      auto const* const base = lowest != nullptr ? lowest + std::int64_t{voxel.batch} * Dim : nullptr;
      auto const fate = rule.locate(p, base, voxel.position);
      if (fate == PointFate::dropped) { return none; }
      fits = fate == PointFate::kept && packing.contains(voxel);
    }
    if (!fits) {
      atomic_or(errors, std::uint32_t{DataError::out_of_range});
      return none;
    }
    return packing.pack(voxel);
  }
  TESSERA_HOST_DEVICE void store(std::int64_t place, Key key, std::int32_t item) const
  {
    keys[place] = key;
    order[place] = item;
  }
};

/// Element i of the features of all rows, zero in those that are not in use.
template <class Scalar>
struct ReduceFeaturesInUse {
  ReduceFeatures<Scalar> reduce;
  RowCount rows;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (i / reduce.features.columns() < rows.size()) {
      reduce(i);
    } else {
      reduce.voxel_features[i] = Scalar(0.0F);
    }
  }
};

/// Adds noted errors to those of a set.
struct PassOnErrors {
  std::uint32_t const* from;  // [1]
  std::uint32_t* to;          // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    if (*from != 0) { atomic_or(to, *from); }
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
