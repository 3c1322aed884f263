// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/small.hpp"

#include <tessera/coords/fixed_quantize.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

using namespace tessera;

namespace {

struct Cloud {
  std::vector<float> positions;  // [n, 3]
  std::vector<float> features;   // [n, 2]
  std::vector<std::int32_t> batch;
  int num_batches = 1;

  std::size_t size() const { return batch.size(); }
};

/// Points of [-extent, extent), some of them not finite, some equal to others.
Cloud random_cloud(unsigned seed, std::size_t count, float extent, int num_batches)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> uniform{-extent, extent};
  Cloud cloud;
  cloud.num_batches = num_batches;
  for (std::size_t i = 0; i < count; ++i) {
    for (int axis = 0; axis < 3; ++axis) {
      bool const repeats = i > 0 && random() % 3 == 0;
      cloud.positions.push_back(repeats ? cloud.positions[cloud.positions.size() - 3] : uniform(random));
    }
    if (random() % 19 == 0) { cloud.positions.back() = std::numeric_limits<float>::quiet_NaN(); }
    if (random() % 23 == 0) { cloud.positions.back() = -std::numeric_limits<float>::infinity(); }
    cloud.features.push_back(uniform(random));
    cloud.features.push_back(uniform(random));
    cloud.batch.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(num_batches)));
  }
  return cloud;
}

using Voxel = std::array<int, 4>;  // compares lexicographically

/// The definition: each point's voxel, in single precision; batch -1 for a point that is left out.
std::vector<Voxel> voxels_by_definition(Cloud const& cloud, QuantizeOptions<3> const& options)
{
  auto const cell = [&](float p, float zero, std::size_t axis) {
    float const cells = (p - zero) / options.voxel_size[axis];
    return static_cast<int>(options.rounding() == Rounding::floor ? std::floor(cells)
                                                                  : std::nearbyint(cells));
  };
  auto const kept = [&](std::size_t i) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      float const p = cloud.positions[3 * i + axis];
      if (!std::isfinite(p)) { return false; }
      if (options.range_lower() &&
          !(p >= (*options.range_lower())[axis] && p < (*options.range_upper())[axis])) {
        return false;
      }
    }
    return true;
  };
  std::map<int, std::array<float, 3>> lowest;
  for (std::size_t i = 0; i < cloud.size(); ++i) {
    if (!kept(i)) { continue; }
    std::array<float, 3> const p{cloud.positions[3 * i], cloud.positions[3 * i + 1],
                                 cloud.positions[3 * i + 2]};
    auto& own = lowest.emplace(cloud.batch[i], p).first->second;
    for (std::size_t axis = 0; axis < 3; ++axis) { own[axis] = std::min(own[axis], p[axis]); }
  }
  std::vector<Voxel> result(cloud.size(), Voxel{-1, 0, 0, 0});
  for (std::size_t i = 0; i < cloud.size(); ++i) {
    if (!kept(i)) { continue; }
    auto const& least = lowest.at(cloud.batch[i]);
    Voxel voxel{cloud.batch[i], 0, 0, 0};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      float const p = cloud.positions[3 * i + axis];
      switch (options.origin()) {
        case GridOrigin::fixed: voxel[axis + 1] = cell(p, options.fixed_origin()[axis], axis); break;
        case GridOrigin::lowest_point: voxel[axis + 1] = cell(p, least[axis], axis); break;
        case GridOrigin::lowest_voxel:
          voxel[axis + 1] = cell(p, options.fixed_origin()[axis], axis) -
                            cell(least[axis], options.fixed_origin()[axis], axis);
          break;
      }
      if (options.grid()) {
        bool const inside =
            voxel[axis + 1] >= 0 && voxel[axis + 1] < (*options.grid())[static_cast<int>(axis)];
        if (!inside) { voxel[0] = -1; }
      }
    }
    result[i] = voxel;
  }
  return result;
}

template <class Space>
struct Uploaded {
  Matrix<float, Space> positions;
  Matrix<float, Space> features;
  Buffer<std::int32_t, Space> batch;
  int num_batches;

  Uploaded(Cloud const& cloud, Execution<Space> const& exec)
      : positions{upload_matrix(cloud.positions, 3, exec)},
        features{upload_matrix(cloud.features, 2, exec)},
        batch{upload(cloud.batch, exec)},
        num_batches{cloud.num_batches}
  {}
  PointsView<float> view() const
  {
    PointsView<float> result{positions, features};
    result.batch = batch.data();
    result.num_batches = num_batches;
    return result;
  }
};

CoordinateBox<3> wide_box(int batches)
{
  CoordinateBox<3> box;
  box.batches = batches;
  box.lower = IntArray<3>(-4000);
  box.upper = IntArray<3>(4000);
  return box;
}

}  // namespace

TEST_CASE_TEMPLATE("quantize: in fixed room voxels, features and inverse are those of the definition", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  QuantizeOptions<3> const plain{0.5F};
  std::vector<QuantizeOptions<3>> ways{plain};
  ways.push_back(
      QuantizeOptions<3>({0.5F, 0.25F, 2.0F}).origin({0.1F, -3, 7}).rounding(Rounding::nearest_even));
  ways.push_back(QuantizeOptions<3>(0.7F).origin(GridOrigin::lowest_point));
  ways.push_back(QuantizeOptions<3>(0.7F).origin(GridOrigin::lowest_voxel).range({-4, -5, -6}, {6, 5, 4}));
  ways.push_back(QuantizeOptions<3>(0.5F).grid({9, 12, 30}).origin({-2, -2, -2}));
  if (test::few_cases()) { ways = {ways[2]}; }
  for (unsigned seed = 1; seed <= (test::few_cases() ? 1U : 6U); ++seed) {
    auto const cloud = random_cloud(seed, seed == 6 ? 0 : 50 * seed * seed, 9, seed % 2 == 0 ? 3 : 1);
    Uploaded<Space> const points{cloud, exec};
    for (std::size_t way = 0; way < ways.size(); ++way) {
      for (auto const kind : {VoxelFeatures::first, VoxelFeatures::mean, VoxelFeatures::maximum}) {
        CAPTURE(seed);
        CAPTURE(way);
        CAPTURE(static_cast<int>(kind));
        auto options = ways[way];
        options.features(kind);
        auto const voxel_of = voxels_by_definition(cloud, options);
        std::map<Voxel, std::vector<std::size_t>> expected;  // points of each voxel, ascending
        std::int32_t dropped = 0;
        for (std::size_t i = 0; i < voxel_of.size(); ++i) {
          if (voxel_of[i][0] < 0) {
            ++dropped;
          } else {
            expected[voxel_of[i]].push_back(i);
          }
        }
        VoxelRoom<3> const room{1500, wide_box(cloud.num_batches), {}};
        auto const found = sparse_quantize(points.view(), options, room, exec);
        found.coordinates->check(exec);
        CHECK(found.coordinates->capacity() == 1500);
        REQUIRE(found.coordinates->num_rows() == static_cast<std::int64_t>(expected.size()));
        CHECK(download(found.num_dropped, exec)[0] == dropped);
        auto const rows = download(found.coordinates->data(), found.coordinates->num_rows(), exec);
        auto const features = download(found.features.data(), found.features.size(), exec);
        auto const first = download(found.first_point.data(), found.coordinates->num_rows(), exec);
        auto const inverse = download(found.inverse, exec);
        std::vector<std::int32_t> expected_inverse(cloud.size(), -1);
        std::size_t row = 0;
        for (auto const& [voxel, members] : expected) {
          CHECK(rows[row] == Coordinate<3>{voxel[0], {voxel[1], voxel[2], voxel[3]}});
          CHECK(first[row] == static_cast<std::int32_t>(members[0]));
          for (std::size_t channel = 0; channel < 2; ++channel) {
            float value = cloud.features[2 * members[0] + channel];
            for (std::size_t k = 1; k < members.size(); ++k) {
              float const next = cloud.features[2 * members[k] + channel];
              if (kind == VoxelFeatures::mean) { value += next; }
              if (kind == VoxelFeatures::maximum) { value = std::max(value, next); }
            }
            if (kind == VoxelFeatures::mean) { value /= static_cast<float>(members.size()); }
            CHECK(features[2 * row + channel] == value);
          }
          for (auto const i : members) { expected_inverse[i] = static_cast<std::int32_t>(row); }
          ++row;
        }
        CHECK(inverse == expected_inverse);
        bool zero = true;
        for (auto i = 2 * row; i < features.size(); ++i) { zero = zero && features[i] == 0; }
        CHECK(zero);
      }
    }
  }
}

TEST_CASE_TEMPLATE("quantize: fixed room gives the bits of quantizing without it, scan-sized and in any box",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const cloud = random_cloud(9, 60000, 45, 1);
  Uploaded<Space> const points{cloud, exec};
  auto const options = QuantizeOptions<3>(0.4F)
                           .origin(GridOrigin::lowest_voxel)
                           .rounding(Rounding::nearest_even)
                           .range({-40, -45, -20}, {40, 45, 20})
                           .features(VoxelFeatures::mean);
  auto const expected = sparse_quantize(points.view(), options, exec);
  auto const rows = download(expected.coordinates->data(), expected.num_voxels(), exec);
  auto const bounds = voxel_box(options);
  REQUIRE(bounds.has_value());
  for (auto const& box : {wide_box(1), *bounds}) {
    VoxelRoom<3> const room{60000, box, {}};
    auto const found = sparse_quantize(points.view(), options, room, exec);
    found.coordinates->check(exec);
    REQUIRE(found.coordinates->num_rows() == expected.num_voxels());
    CHECK(download(found.coordinates->data(), expected.num_voxels(), exec) == rows);
    CHECK(download(found.features.data(), expected.features.size(), exec) ==
          download(expected.features.data(), expected.features.size(), exec));
    CHECK(download(found.inverse, exec) == download(expected.inverse, exec));
    CHECK(download(found.num_dropped, exec)[0] == expected.num_dropped);
  }
}

TEST_CASE_TEMPLATE("quantize: voxels past the room are reported, and left out with their points", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Cloud cloud;
  for (int i = 0; i < 40; ++i) {
    cloud.positions.insert(cloud.positions.end(), {static_cast<float>(i / 2) + 0.5F, 0.5F, 0.5F});
    cloud.features.insert(cloud.features.end(), {static_cast<float>(i), 1});
    cloud.batch.push_back(0);
  }
  Uploaded<Space> const points{cloud, exec};
  for (std::int64_t const most : {1, 7, 19, 20, 21}) {
    CAPTURE(most);
    auto const found = sparse_quantize(points.view(), QuantizeOptions<3>(1.0F).features(VoxelFeatures::mean),
                                       VoxelRoom<3>{most, wide_box(1), {}}, exec);
    auto const voxels = std::min<std::int64_t>(most, 20);
    if (most < 20) {
      CHECK_THROWS_WITH_AS(found.coordinates->check(exec), "coordinates: more rows than the capacity given",
                           invalid_argument);
    } else {
      found.coordinates->check(exec);
    }
    CHECK(found.coordinates->num_rows() == voxels);
    auto const inverse = download(found.inverse, exec);
    auto const features = download(found.features.data(), 2 * voxels, exec);
    for (int i = 0; i < 40; ++i) {
      CHECK(inverse[static_cast<std::size_t>(i)] == (i / 2 < voxels ? i / 2 : -1));
    }
    for (std::int64_t v = 0; v < voxels; ++v) {
      CHECK(features[static_cast<std::size_t>(2 * v)] == 2 * static_cast<float>(v) + 0.5F);
    }
  }
}

TEST_CASE_TEMPLATE("quantize: voxels outside the box and points of no cloud are reported, not stored", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const outside =
      "coordinates: a row lies outside the declared spatial range or has a negative batch entry";
  for (int const fault : {0, 1, 2, 3}) {
    CAPTURE(fault);
    Cloud cloud;
    cloud.positions = {0.5F, 0.5F, 0.5F, 3.5F, 0.5F, 0.5F, 1.5F, 0.5F, 0.5F};
    cloud.features = {1, 2, 3, 4, 5, 6};
    cloud.batch = {0, 0, 0};
    if (fault == 1) { cloud.positions[3] = 4000.5F; }  // the box ends with voxel 4000
    if (fault == 2) { cloud.positions[3] = 3e30F; }    // no voxel at all
    if (fault == 3) { cloud.batch[1] = 1; }
    if (fault == 1) { cloud.positions[3] = 4001.5F; }
    Uploaded<Space> const points{cloud, exec};
    auto const found =
        sparse_quantize(points.view(), QuantizeOptions<3>(1.0F), VoxelRoom<3>{9, wide_box(1), {}}, exec);
    if (fault == 0) {
      found.coordinates->check(exec);
      CHECK(download(found.inverse, exec) == std::vector<std::int32_t>{0, 2, 1});
    } else {
      if (fault == 3) {
        CHECK_THROWS_AS(found.coordinates->check(exec), invalid_argument);
      } else {
        CHECK_THROWS_WITH_AS(found.coordinates->check(exec), outside, invalid_argument);
      }
      CHECK(found.coordinates->num_rows() == 2);
      CHECK(download(found.inverse, exec) == std::vector<std::int32_t>{0, -1, 1});
    }
  }
}

TEST_CASE_TEMPLATE("quantize: in fixed room clouds may be told by offsets, and false ones are reported",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const positions =
      upload_matrix(std::vector<float>{2.5F, 0.5F, 0.5F, 1.5F, 0.5F, 0.5F, 1.5F, 0.5F, 0.5F}, 3, exec);
  for (bool const good : {true, false}) {
    auto const offsets = upload(std::vector<std::int32_t>{0, 1, good ? 3 : 2}, exec);
    PointsView<float> points{positions};
    points.offsets = offsets.data();
    points.num_batches = 2;
    auto const found = sparse_quantize(points, QuantizeOptions<3>(1.0F).origin(GridOrigin::lowest_voxel),
                                       VoxelRoom<3>{9, wide_box(2), {}}, exec);
    if (good) {
      found.coordinates->check(exec);
      CHECK(download(found.inverse, exec) == std::vector<std::int32_t>{0, 1, 1});
    } else {
      CHECK_THROWS_WITH_AS(found.coordinates->check(exec), doctest::Contains("offsets"), invalid_argument);
    }
  }
}

TEST_CASE("quantize: a box from a range holds every voxel, and without range or grid there is none")
{
  Execution<Host> const exec{1};
  CHECK(!voxel_box(QuantizeOptions<3>(0.1F)).has_value());
  auto const grid = voxel_box(QuantizeOptions<3>(0.1F).grid({4, 5, 6}), 2);
  REQUIRE(grid.has_value());
  CHECK(grid->batches == 2);
  CHECK(grid->lower == IntArray<3>(0));
  CHECK(grid->upper == IntArray<3>{3, 4, 5});
  std::mt19937 random{4};
  for (int trial = 0; trial < 300; ++trial) {
    CAPTURE(trial);
    auto const uniform = [&](float low, float high) {
      return low + (high - low) * static_cast<float>(random() % 100003) / 100003.0F;
    };
    bool const is_far = trial % 3 == 0;  // where a float has no room for the index of a voxel
    float const centre = is_far ? uniform(-2e6F, 2e6F) : 0;
    std::array<float, 3> const lower{centre + uniform(-90, -1), uniform(-90, -1), uniform(-90, -1)};
    std::array<float, 3> const upper{centre + uniform(1, 90), uniform(1, 90), uniform(1, 90)};
    auto options =
        QuantizeOptions<3>(is_far ? uniform(0.005F, 0.02F) : uniform(0.02F, 3)).range(lower, upper);
    if (trial % 4 == 1) { options.origin(GridOrigin::lowest_point); }
    if (trial % 4 == 2) { options.origin({uniform(-500, 500), 1, -2}); }
    if (trial % 4 == 3) { options.origin(GridOrigin::lowest_voxel); }
    if (trial % 2 == 0) { options.rounding(Rounding::nearest_even); }
    // the corners of the range, as near as floats come, and what is between
    std::vector<float> positions;
    for (int corner = 0; corner < 8; ++corner) {
      for (std::size_t axis = 0; axis < 3; ++axis) {
        bool const high = (corner >> axis & 1) != 0;
        positions.push_back(high ? std::nextafter(upper[axis], lower[axis]) : lower[axis]);
      }
    }
    auto const box = voxel_box(options);
    REQUIRE(box.has_value());
    auto const matrix = upload_matrix(positions, 3, exec);
    auto const voxels = sparse_quantize(PointsView<float>{matrix.view()}, options, exec);
    for (std::int64_t i = 0; i < voxels.num_voxels(); ++i) {
      CHECK(box->contains(voxels.coordinates->data()[i]));
    }
  }
}

TEST_CASE("quantize: room that cannot hold a voxel is refused in a sentence")
{
  Execution<Host> const exec{1};
  PointsView<float> const none;
  auto points = none;
  points.positions.columns = 3;
  QuantizeOptions<3> const options{1.0F};
  CHECK_THROWS_WITH_AS((void)sparse_quantize(points, options, VoxelRoom<3>{0, wide_box(1), {}}, exec),
                       "sparse_quantize: room for 0 voxels", invalid_argument);
  CHECK_THROWS_WITH_AS((void)sparse_quantize(points, options, VoxelRoom<3>{5, {}, {}}, exec),
                       doctest::Contains("no box that voxels may be in"), invalid_argument);
}
