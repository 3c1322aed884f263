// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/coords/vote_labels.hpp>
#include <tessera/io/point_bin.hpp>
#include <tessera/io/safetensors.hpp>

#include <algorithm>
#include <climits>
#include <limits>
#include <map>
#include <random>

namespace quantize_cases {

using namespace tessera;

inline constexpr float no_number = std::numeric_limits<float>::quiet_NaN();
inline constexpr float infinity = std::numeric_limits<float>::infinity();

/// Points on the host: positions [n, Dim], two features each, clouds.
template <int Dim>
struct Cloud {
  std::vector<float> positions;
  std::vector<float> features;
  std::vector<std::int32_t> batch;
  int num_batches = 1;

  std::size_t size() const { return positions.size() / Dim; }
};

/// The result on the host.
template <int Dim>
struct Voxels {
  std::vector<Coordinate<Dim>> rows;
  std::vector<float> features;
  std::vector<std::int32_t> first_point;
  std::vector<std::int32_t> inverse;
  std::int64_t num_dropped = 0;
};

template <int Dim>
Cloud<Dim> random_cloud(unsigned seed, std::size_t points, float extent, int num_batches, bool odd_values)
{
  std::mt19937 random{seed};
  auto const uniform = [&](float low, float high) {
    return low + (high - low) * static_cast<float>(random() % 100003) / 100003.0F;
  };
  Cloud<Dim> cloud;
  cloud.num_batches = num_batches;
  for (std::size_t i = 0; i < points; ++i) {
    for (int axis = 0; axis < Dim; ++axis) { cloud.positions.push_back(uniform(-extent, extent)); }
    if (odd_values && random() % 11 == 0) {
      cloud.positions[cloud.positions.size() - 1 - random() % Dim] =
          std::array<float, 3>{no_number, infinity, -infinity}[random() % 3];
    }
    cloud.features.push_back(uniform(-1, 1));
    cloud.features.push_back(uniform(-100, 100));
    cloud.batch.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(num_batches)));
  }
  return cloud;
}

/// The definition, point by point.
template <int Dim>
Voxels<Dim> oracle(Cloud<Dim> const& cloud, QuantizeOptions<Dim> const& options)
{
  auto const round = [&](float p, float zero, std::size_t axis) {
    float const cells = (p - zero) / options.voxel_size[axis];
    return options.rounding() == Rounding::floor ? std::floor(cells) : std::nearbyint(cells);
  };
  auto const kept = [&](std::size_t i) {
    for (std::size_t axis = 0; axis < Dim; ++axis) {
      float const p = cloud.positions[i * Dim + axis];
      if (!std::isfinite(p)) { return false; }
      if (options.range_lower() &&
          (p < (*options.range_lower())[axis] || p >= (*options.range_upper())[axis])) {
        return false;
      }
    }
    return true;
  };
  std::vector<std::array<float, Dim>> lowest(static_cast<std::size_t>(cloud.num_batches));
  std::vector<std::array<float, Dim>> lowest_cell = lowest;
  for (auto& values : lowest) { values.fill(infinity); }
  for (auto& values : lowest_cell) { values.fill(infinity); }
  for (std::size_t i = 0; i < cloud.size(); ++i) {
    auto const b = static_cast<std::size_t>(cloud.batch[i]);
    for (std::size_t axis = 0; kept(i) && axis < Dim; ++axis) {
      float const p = cloud.positions[i * Dim + axis];
      lowest[b][axis] = std::min(lowest[b][axis], p);
      lowest_cell[b][axis] = std::min(lowest_cell[b][axis], round(p, options.fixed_origin()[axis], axis));
    }
  }
  std::map<std::array<int, Dim + 1>, std::vector<std::int32_t>> points_of;
  for (std::size_t i = 0; i < cloud.size(); ++i) {
    auto const b = static_cast<std::size_t>(cloud.batch[i]);
    bool used = kept(i);
    std::array<int, Dim + 1> voxel{cloud.batch[i]};
    for (std::size_t axis = 0; used && axis < Dim; ++axis) {
      float const p = cloud.positions[i * Dim + axis];
      bool const from_lowest = options.origin() == GridOrigin::lowest_point;
      float cell = round(p, from_lowest ? lowest[b][axis] : options.fixed_origin()[axis], axis);
      if (options.origin() == GridOrigin::lowest_voxel) { cell -= lowest_cell[b][axis]; }
      voxel[axis + 1] = static_cast<int>(cell);
      if (options.grid()) {
        used = voxel[axis + 1] >= 0 && voxel[axis + 1] < (*options.grid())[static_cast<int>(axis)];
      }
    }
    if (used) { points_of[voxel].push_back(static_cast<std::int32_t>(i)); }
  }
  Voxels<Dim> result;
  result.inverse.assign(cloud.size(), -1);
  result.num_dropped = static_cast<std::int64_t>(cloud.size());
  for (auto const& [voxel, points] : points_of) {
    Coordinate<Dim> row;
    row.batch = voxel[0];
    for (int axis = 0; axis < Dim; ++axis) { row.position[axis] = voxel[static_cast<std::size_t>(axis) + 1]; }
    for (std::size_t c = 0; c < 2; ++c) {
      float sum = 0;
      for (auto const i : points) { sum += cloud.features[2 * static_cast<std::size_t>(i) + c]; }
      result.features.push_back(options.features() == VoxelFeatures::mean
                                    ? sum / static_cast<float>(points.size())
                                    : cloud.features[2 * static_cast<std::size_t>(points.front()) + c]);
    }
    for (auto const i : points) {
      result.inverse[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(result.rows.size());
    }
    result.first_point.push_back(points.front());
    result.num_dropped -= static_cast<std::int64_t>(points.size());
    result.rows.push_back(row);
  }
  return result;
}

template <class Space, int Dim>
Voxels<Dim> quantize(Cloud<Dim> const& cloud, QuantizeOptions<Dim> const& options)
{
  Execution<Space> const exec{};
  auto const positions = upload_matrix(cloud.positions, Dim, exec);
  auto const features = upload_matrix(cloud.features, 2, exec);
  auto const batch = upload(cloud.batch, exec);
  PointsView<float> view{positions.view(), features.view()};
  view.batch = batch.data();
  view.num_batches = cloud.num_batches;
  auto const found = sparse_quantize(view, options, exec);
  found.coordinates->check(exec);
  CHECK(found.coordinates->num_batches() == cloud.num_batches);
  CHECK(found.num_voxels() == found.coordinates->num_rows());
  CHECK(found.coordinates->spatial_range().has_value() == options.grid().has_value());
  auto rows = download(found.coordinates->data(), found.num_voxels(), exec);
  for (auto const& row : rows) { REQUIRE(found.coordinates->box().contains(row)); }
  return {std::move(rows), download(found.features.data(), found.features.size(), exec),
          download(found.first_point, exec), download(found.inverse, exec), found.num_dropped};
}

template <class Space, int Dim>
void expect_oracle(Cloud<Dim> const& cloud, QuantizeOptions<Dim> const& options)
{
  auto const expected = oracle(cloud, options);
  auto const found = quantize<Space>(cloud, options);
  CHECK(found.rows == expected.rows);
  CHECK(found.features == expected.features);
  CHECK(found.first_point == expected.first_point);
  CHECK(found.inverse == expected.inverse);
  CHECK(found.num_dropped == expected.num_dropped);
}

template <class Space, int Dim>
void expect_oracle_with_all_options()
{
  CAPTURE(Dim);
  std::array<float, Dim> size{};
  std::array<float, Dim> origin{};
  std::array<float, Dim> lower{};
  std::array<float, Dim> upper{};
  for (std::size_t axis = 0; axis < Dim; ++axis) {
    size[axis] = 0.4F + 0.3F * static_cast<float>(axis);
    origin[axis] = -0.7F * static_cast<float>(axis + 1);
    lower[axis] = -3;
    upper[axis] = 2 + static_cast<float>(axis);
  }
  unsigned seed = 10 * Dim;
  for (auto const rounding : {Rounding::floor, Rounding::nearest_even}) {
    for (auto const grid_origin : {GridOrigin::fixed, GridOrigin::lowest_point, GridOrigin::lowest_voxel}) {
      for (auto const features : {VoxelFeatures::first, VoxelFeatures::mean}) {
        for (bool const limited : {false, true}) {
          for (int const batches : {1, 3}) {
            ++seed;
            CAPTURE(seed);
            auto options = QuantizeOptions<Dim>(size).origin(origin).origin(grid_origin);
            options.rounding(rounding).features(features);
            if (limited) { options.range(lower, upper); }
            if (limited && batches == 3) { options.grid(5); }
            expect_oracle<Space>(random_cloud<Dim>(seed, 400, 4, batches, true), options);
          }
        }
      }
    }
  }
}

}  // namespace quantize_cases
