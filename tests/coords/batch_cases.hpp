// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/small.hpp"

#include <tessera/coords/collate.hpp>
#include <tessera/coords/combine_sets.hpp>
#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/coords/voxelize.hpp>
#include <tessera/tensor/collate.hpp>

#ifdef __CUDACC__
#include <tessera/coords/detail/hard_voxels_device.cuh>
#endif

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

namespace batch_cases {

using namespace tessera;

inline constexpr std::int64_t columns = 5;  // x, y, z and two features

using Clouds = std::vector<std::vector<float>>;  // of each cloud [points, columns]

inline std::int64_t points_of(std::vector<float> const& rows)
{
  return static_cast<std::int64_t>(rows.size()) / columns;
}

/// Clouds of so many points each in a box, some of them not finite or outside the grid.
inline Clouds random_clouds(unsigned seed, std::vector<int> const& sizes)
{
  std::mt19937 random{seed};
  Clouds clouds;
  for (int const size : sizes) {
    std::vector<float> rows;
    for (int i = 0; i < size * static_cast<int>(columns); ++i) {
      rows.push_back(static_cast<float>(random() % 10007) / 1000 - 5);
      if (random() % 97 == 0) { rows.back() = std::numeric_limits<float>::quiet_NaN(); }
    }
    clouds.push_back(std::move(rows));
  }
  return clouds;
}

/// A batch in memory of the space: points, their clouds and where the clouds begin.
template <class Space>
struct Batch {
  Matrix<float, Space> rows;
  Buffer<std::int32_t, Space> batch;
  Buffer<std::int32_t, Space> offsets;
  std::vector<std::int32_t> order;  // by point of the batch: its number, cloud after cloud
  int num_batches = 0;

  PointsView<float> view(bool by_offsets) const
  {
    auto points = interleaved_points(rows);
    points.num_batches = num_batches;
    points.batch = by_offsets ? nullptr : batch.data();
    points.offsets = by_offsets ? offsets.data() : nullptr;
    return points;
  }
};

/// @param mixed  whether clouds take turns; the points of each keep their order
template <class Space>
Batch<Space> make_batch(Clouds const& clouds, bool mixed, Execution<Space> const& exec)
{
  Batch<Space> result;
  std::vector<float> rows;
  std::vector<std::int32_t> batch;
  std::vector<std::int32_t> offsets{0};
  std::vector<std::int32_t> first;
  for (std::size_t b = 0; b < clouds.size(); ++b) {
    auto const count = points_of(clouds[b]);
    first.push_back(offsets.back());
    offsets.push_back(offsets.back() + static_cast<std::int32_t>(count));
    rows.insert(rows.end(), clouds[b].begin(), clouds[b].end());
    batch.insert(batch.end(), static_cast<std::size_t>(count), static_cast<std::int32_t>(b));
  }
  result.order.resize(batch.size());
  std::iota(result.order.begin(), result.order.end(), 0);
  if (mixed) {
    std::mt19937 random{17};
    std::shuffle(batch.begin(), batch.end(), random);
    auto const sorted = rows;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      auto const from = first[static_cast<std::size_t>(batch[i])]++;
      result.order[i] = from;
      std::copy_n(sorted.begin() + from * columns, columns,
                  rows.begin() + static_cast<std::ptrdiff_t>(i) * columns);
    }
  }
  result.rows = upload_matrix(rows, columns, exec);
  result.batch = upload(batch, exec);
  result.offsets = upload(offsets, exec);
  result.num_batches = static_cast<int>(clouds.size());
  return result;
}

inline bool same_bits(std::vector<float> const& a, std::vector<float> const& b)
{
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), 4 * a.size()) == 0);
}

template <class T, class Space>
std::vector<float> values_of(Matrix<T, Space> const& m, Execution<Space> const& exec)
{
  return download(m.data(), m.size(), exec);
}

/// What clouds give one after the other.
template <class Space>
struct OneByOne {
  std::vector<CoordinateSetPointer<3, Space>> sets;
  std::vector<float> features;
  std::vector<float> points;
  std::vector<std::int32_t> num_points;
  std::vector<std::int32_t> inverse;  // cloud after cloud
};

template <class Space>
void expect_set(CoordinateSet<3, Space> const& found, OneByOne<Space> const& expected,
                Execution<Space> const& exec)
{
  auto const collated = collate_coordinates<3, Space>(expected.sets, exec);
  found.check(exec);
  CHECK(download(found.data(), found.num_rows(), exec) ==
        download(collated->data(), collated->num_rows(), exec));
  CHECK(found.num_batches() == collated->num_batches());
  CHECK(found.box().lower == collated->box().lower);
  CHECK(found.box().upper == collated->box().upper);
  CHECK(found.spatial_range() == collated->spatial_range());
}

template <class Values>
void append(Values& to, Values const& from)
{
  to.insert(to.end(), from.begin(), from.end());
}

template <class Space>
OneByOne<Space> hard_one_by_one(Clouds const& clouds, VoxelizeOptions options, Execution<Space> const& exec)
{
  OneByOne<Space> result;
  options.capacity(std::nullopt);
  for (std::size_t b = 0; b < clouds.size(); ++b) {
    auto const rows = upload_matrix(clouds[b], columns, exec);
    auto const one = hard_voxelize(rows.view(), options, exec, static_cast<int>(b), {true, true});
    result.sets.push_back(one.coordinates);
    append(result.features, values_of(one.mean, exec));
    append(result.points, values_of(one.points, exec));
    append(result.num_points, download(one.num_points, exec));
  }
  return result;
}

template <class Space, class Quantize>
OneByOne<Space> quantized_one_by_one(Clouds const& clouds, Quantize const& quantize,
                                     Execution<Space> const& exec)
{
  OneByOne<Space> result;
  std::int32_t rows_before = 0;
  for (std::size_t b = 0; b < clouds.size(); ++b) {
    auto const rows = upload_matrix(clouds[b], columns, exec);
    auto points = interleaved_points(rows);
    points.batch_entry = static_cast<int>(b);
    auto const one = quantize(points);
    result.sets.push_back(one.coordinates);
    append(result.features, values_of(one.features, exec));
    for (auto const voxel : download(one.inverse, exec)) {
      result.inverse.push_back(voxel < 0 ? -1 : voxel + rows_before);
    }
    rows_before += static_cast<std::int32_t>(one.num_voxels());
  }
  return result;
}

template <class Space, class Quantize>
void expect_quantized(Clouds const& clouds, Quantize const& quantize, Execution<Space> const& exec)
{
  auto const expected = quantized_one_by_one(clouds, quantize, exec);
  for (bool const by_offsets : {true, false}) {
    CAPTURE(by_offsets);
    auto const batch = make_batch(clouds, !by_offsets, exec);
    auto const found = quantize(batch.view(by_offsets));
    expect_set(*found.coordinates, expected, exec);
    CHECK(same_bits(values_of(found.features, exec), expected.features));
    auto const inverse = download(found.inverse, exec);
    REQUIRE(inverse.size() == batch.order.size());
    for (std::size_t i = 0; i < inverse.size(); ++i) {
      REQUIRE(inverse[i] == expected.inverse[static_cast<std::size_t>(batch.order[i])]);
    }
  }
}

inline VoxelizeOptions grid_of(float size)
{
  return VoxelizeOptions({size, 1.5F * size, 2 * size}, {-4, -4, -4}, {4, 4, 4});
}

inline std::vector<std::vector<int>> const cloud_sizes{
    {700, 0, 1, 1300}, {0}, {0, 0, 5}, {513, 512, 511, 0, 1024}};

}  // namespace batch_cases
