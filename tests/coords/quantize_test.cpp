// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

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
#include <optional>
#include <random>

using namespace tessera;

namespace {

constexpr float no_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

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
    return options.voxel_rounding == Rounding::floor ? std::floor(cells) : std::nearbyint(cells);
  };
  auto const kept = [&](std::size_t i) {
    for (std::size_t axis = 0; axis < Dim; ++axis) {
      float const p = cloud.positions[i * Dim + axis];
      if (!std::isfinite(p)) { return false; }
      if (options.range_lower && (p < (*options.range_lower)[axis] || p >= (*options.range_upper)[axis])) {
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
      lowest_cell[b][axis] = std::min(lowest_cell[b][axis], round(p, options.fixed_origin[axis], axis));
    }
  }
  std::map<std::array<int, Dim + 1>, std::vector<std::int32_t>> points_of;
  for (std::size_t i = 0; i < cloud.size(); ++i) {
    auto const b = static_cast<std::size_t>(cloud.batch[i]);
    bool used = kept(i);
    std::array<int, Dim + 1> voxel{cloud.batch[i]};
    for (std::size_t axis = 0; used && axis < Dim; ++axis) {
      float const p = cloud.positions[i * Dim + axis];
      bool const from_lowest = options.grid_origin == GridOrigin::lowest_point;
      float cell = round(p, from_lowest ? lowest[b][axis] : options.fixed_origin[axis], axis);
      if (options.grid_origin == GridOrigin::lowest_voxel) { cell -= lowest_cell[b][axis]; }
      voxel[axis + 1] = static_cast<int>(cell);
      if (options.grid_extent) {
        used = voxel[axis + 1] >= 0 && voxel[axis + 1] < (*options.grid_extent)[static_cast<int>(axis)];
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
      result.features.push_back(options.voxel_features == VoxelFeatures::mean
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
  CHECK(found.coordinates->spatial_range().has_value() == options.grid_extent.has_value());
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

}  // namespace

TEST_CASE_TEMPLATE("quantize: agrees with the definition in 1 to 4 dimensions under every option", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  expect_oracle_with_all_options<Space, 1>();
  expect_oracle_with_all_options<Space, 2>();
  expect_oracle_with_all_options<Space, 3>();
  expect_oracle_with_all_options<Space, 4>();
}

TEST_CASE_TEMPLATE("quantize: many points, few voxels and the other way round", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  auto const mean = QuantizeOptions<3>(1.0F).features(VoxelFeatures::mean);
  expect_oracle<Space>(random_cloud<3>(1, 30000, 2, 2, true), mean);
  expect_oracle<Space>(random_cloud<3>(2, 30000, 400, 2, false), mean);     // 32-bit keys
  expect_oracle<Space>(random_cloud<3>(3, 20000, 200000, 7, false), mean);  // 64-bit keys
}

TEST_CASE_TEMPLATE("quantize: a worked example", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<3> cloud;
  cloud.positions = {0.9F, 0, 0, -0.1F, 0, 0, 0.2F, 0, 0, no_number, 0, 0};
  cloud.features = {1, 10, 2, 20, 3, 30, 4, 40};
  cloud.batch = {0, 0, 0, 0};
  auto const found = quantize<Space>(cloud, QuantizeOptions<3>(1.0F));
  CHECK(found.rows == std::vector<Coordinate<3>>{{0, {-1, 0, 0}}, {0, {0, 0, 0}}});
  CHECK(found.first_point == std::vector<std::int32_t>{1, 0});
  CHECK(found.inverse == std::vector<std::int32_t>{1, 0, 1, -1});
  CHECK(found.features == std::vector<float>{2, 20, 1, 10});
  CHECK(found.num_dropped == 1);
  auto const mean = quantize<Space>(cloud, QuantizeOptions<3>(1.0F).features(VoxelFeatures::mean));
  CHECK(mean.features == std::vector<float>{2, 20, 2, 20});
}

TEST_CASE_TEMPLATE("quantize: halves round to even, then the lowest voxel is 0", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<1> cloud;
  cloud.positions = {-0.5F, 0.5F, 1.5F, 2.5F, -1.5F};
  cloud.features.resize(10);
  cloud.batch.resize(5);
  auto options = QuantizeOptions<1>(1.0F).rounding(Rounding::nearest_even);
  auto const fixed = quantize<Space>(cloud, options);
  CHECK(fixed.rows == std::vector<Coordinate<1>>{{0, {-2}}, {0, {0}}, {0, {2}}});
  CHECK(fixed.inverse == std::vector<std::int32_t>{1, 1, 2, 2, 0});
  auto const shifted = quantize<Space>(cloud, options.origin(GridOrigin::lowest_voxel));
  CHECK(shifted.rows == std::vector<Coordinate<1>>{{0, {0}}, {0, {2}}, {0, {4}}});
}

TEST_CASE_TEMPLATE("quantize: no points, one point and none that is left give sets like any other", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (auto const grid_origin : {GridOrigin::fixed, GridOrigin::lowest_point, GridOrigin::lowest_voxel}) {
    for (bool const grid : {false, true}) {
      auto options = QuantizeOptions<3>(0.5F).origin(grid_origin);
      if (grid) { options.grid({4, 5, 6}); }
      Cloud<3> cloud;
      cloud.num_batches = 2;
      auto const none = quantize<Space>(cloud, options);
      CHECK(none.rows.empty());
      CHECK(none.inverse.empty());
      cloud.positions = {no_number, 0, 0};
      cloud.features = {1, 2};
      cloud.batch = {1};
      auto const left_out = quantize<Space>(cloud, options);
      CHECK(left_out.rows.empty());
      CHECK(left_out.inverse == std::vector<std::int32_t>{-1});
      CHECK(left_out.num_dropped == 1);
      cloud.positions = {1, 1, 1};
      auto const one = quantize<Space>(cloud, options);
      int const at = grid_origin == GridOrigin::fixed ? 2 : 0;
      CHECK(one.rows == std::vector<Coordinate<3>>{{1, {at, at, at}}});
      CHECK(one.features == std::vector<float>{1, 2});
    }
  }
}

TEST_CASE_TEMPLATE("quantize: one cloud has the batch entry asked for, and needs no features", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const positions = upload_matrix(std::vector<float>{5, 5, 1, 1}, 2, exec);
  PointsView<double> points{positions.view()};
  points.batch_entry = 3;
  auto const found = sparse_quantize(points, QuantizeOptions<2>(1.0F), exec);
  CHECK(download(found.coordinates->data(), 2, exec) == std::vector<Coordinate<2>>{{3, {1, 1}}, {3, {5, 5}}});
  CHECK(found.coordinates->num_batches() == 4);
  CHECK(found.features.rows() == 2);
  CHECK(found.features.columns() == 0);
}

TEST_CASE_TEMPLATE("quantize: a NaN feature flows through and touches no other voxel", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<1> cloud;
  cloud.positions = {0, 0, 3};
  cloud.features = {1, no_number, 2, 2, 3, 3};
  cloud.batch = {0, 0, 0};
  auto const found = quantize<Space>(cloud, QuantizeOptions<1>(1.0F).features(VoxelFeatures::mean));
  CHECK(found.features[0] == 1.5F);
  CHECK(std::isnan(found.features[1]));
  CHECK(found.features[3] == 3.0F);
}

TEST_CASE_TEMPLATE("quantize: voxels that do not fit are refused by point, and a grid leaves them out", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<3> cloud;
  cloud.positions = {1, 1, 1, 2, 3e9F, 4, 1e30F, 2, 3};
  cloud.features.resize(6);
  cloud.batch.resize(3);
  CHECK(test::error_of([&] { quantize<Space>(cloud, QuantizeOptions<3>(1.0F)); }) ==
        "sparse_quantize: the voxel of point 1 at [2, 3e+09, 4] is beyond 2^30; choose larger voxels, or a "
        "range that leaves it out");
  CHECK(quantize<Space>(cloud, QuantizeOptions<3>(1.0F).grid(100)).inverse ==
        std::vector<std::int32_t>{0, -1, -1});
  auto const ranged = QuantizeOptions<3>(1.0F).range({0, 0, 0}, {9, 9, 9});
  CHECK(quantize<Space>(cloud, ranged).inverse == std::vector<std::int32_t>{0, -1, -1});
  cloud.positions = {1, 1, 1, 0, 9, 0, 0, 0, 0};  // a range has its lower end and not its upper one
  CHECK(quantize<Space>(cloud, ranged).inverse == std::vector<std::int32_t>{1, -1, 0});

  cloud.positions = {-1e9F, -1e9F, -1e9F, 0, 0, 0, 1e9F, 1e9F, 1e9F};
  CHECK(test::has(test::error_of([&] { quantize<Space>(cloud, QuantizeOptions<3>(1.0F)); }),
                  "a key of 93 bits is needed but 63 is the most"));

  float const most = 1 << 30;
  Cloud<1> line;
  line.positions = {-most, most, 0};
  line.features.resize(6);
  line.batch.resize(3);
  CHECK(quantize<Space>(line, QuantizeOptions<1>(1.0F)).rows ==
        std::vector<Coordinate<1>>{{0, {-(1 << 30)}}, {0, {0}}, {0, {1 << 30}}});
  CHECK(test::has(test::error_of([&] {
                    quantize<Space>(line, QuantizeOptions<1>(1.0F).origin(GridOrigin::lowest_voxel));
                  }),
                  "point 1"));
}

TEST_CASE_TEMPLATE("quantize: points of no cloud are refused", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Cloud<2> cloud;
  cloud.positions = {1, 1, 2, 2, no_number, no_number};
  cloud.features.resize(6);
  cloud.num_batches = 2;
  for (bool const grid : {false, true}) {
    auto options = QuantizeOptions<2>(1.0F);
    if (grid) { options.grid(4); }
    cloud.batch = {0, 1, 2};
    CHECK(test::error_of([&] { quantize<Space>(cloud, options); }) ==
          "sparse_quantize: point 2 belongs to cloud 2 of 2");
    cloud.batch = {0, -1, 1};
    CHECK(test::error_of([&] { quantize<Space>(cloud, options.origin(GridOrigin::lowest_point)); }) ==
          "sparse_quantize: point 1 belongs to cloud -1 of 2");
  }
}

TEST_CASE("quantize: sizes, ranges, grids and shapes that cannot be meant are refused")
{
  Execution<Host> const exec{};
  std::vector<float> const values(6);
  MatrixView<float const> const three{values.data(), 2, 3};
  auto const error = [&](PointsView<float> const& points, QuantizeOptions<3> const& options) {
    return test::error_of([&] { static_cast<void>(sparse_quantize(points, options, exec)); });
  };
  PointsView<float> const good{three, three};
  CHECK(error(good, QuantizeOptions<3>(1.0F)).empty());
  CHECK(error(good, QuantizeOptions<3>(0.0F)) ==
        "sparse_quantize: voxel size 0 on axis 0; it must be positive and finite");
  CHECK(test::has(error(good, QuantizeOptions<3>({1, -2, 1})), "voxel size -2 on axis 1"));
  CHECK(test::has(error(good, QuantizeOptions<3>(no_number)), "voxel size nan"));
  CHECK(test::has(error(good, QuantizeOptions<3>(infinity)), "voxel size inf"));
  CHECK(test::has(error(good, QuantizeOptions<3>(1.0F).origin({0, 0, no_number})), "origin nan on axis 2"));
  CHECK(error(good, QuantizeOptions<3>(1.0F).range({0, 2, 0}, {1, 2, 1})) ==
        "sparse_quantize: the range 2 to 2 on axis 1 is empty");
  CHECK(error(good, QuantizeOptions<3>(1.0F).grid({4, 0, 4})) ==
        "sparse_quantize: a grid of [4, 0, 4] voxels");
  CHECK(test::has(error({MatrixView<float const>{values.data(), 3, 2}}, QuantizeOptions<3>(1.0F)),
                  "positions have 2 columns, not 3"));
  CHECK(test::has(error({three, {values.data(), 1, 3}}, QuantizeOptions<3>(1.0F)),
                  "2 points but 1 rows of features"));
  std::vector<std::int32_t> const batch{0, 0};
  CHECK(
      test::has(error({three, three, batch.data()}, QuantizeOptions<3>(1.0F)), "num_batches must be given"));
  CHECK(test::has(error({three, three, nullptr, 2, 2}, QuantizeOptions<3>(1.0F)),
                  "batch entry 2 of only 2 clouds"));
}

TEST_CASE_TEMPLATE("vote labels: every voxel has the label of most of its points, ties the smallest", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (unsigned seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    // from many voxels of one point to one voxel of all, labels negative too, and few so that many tie
    std::size_t const count = seed == 1 ? 0 : 3000;
    auto const cloud = random_cloud<2>(seed, count, seed % 2 == 0 ? 20.0F : 2.0F, 2, true);
    std::mt19937 random{seed};
    std::vector<std::int32_t> labels;
    std::int32_t const choice[] = {-7, 0, 3, INT_MAX, INT_MIN, 255};
    for (std::size_t i = 0; i < count; ++i) { labels.push_back(choice[random() % (seed < 5 ? 3 : 6)]); }
    auto const positions = upload_matrix(cloud.positions, 2, exec);
    auto const batch = upload(cloud.batch, exec);
    PointsView<float> view{positions.view()};
    view.batch = batch.data();
    view.num_batches = cloud.num_batches;
    auto const voxels = sparse_quantize(view, QuantizeOptions<2>(seed == 8 ? 1000.0F : 0.5F), exec);
    auto const inverse = download(voxels.inverse, exec);
    auto const there = upload(labels, exec);
    for (auto const ignored : {std::optional<std::int32_t>{}, std::optional<std::int32_t>{0},
                               std::optional<std::int32_t>{-7}, std::optional<std::int32_t>{77}}) {
      std::vector<std::map<std::int32_t, int>> counts(static_cast<std::size_t>(voxels.num_voxels()));
      for (std::size_t i = 0; i < count; ++i) {
        if (inverse[i] >= 0 && labels[i] != ignored) {
          ++counts[static_cast<std::size_t>(inverse[i])][labels[i]];
        }
      }
      std::vector<std::int32_t> expected;
      for (auto const& of_voxel : counts) {
        auto best = std::pair{ignored.value_or(0), 0};
        for (auto const& [label, votes] : of_voxel) {  // ascending labels
          if (votes > best.second) { best = {label, votes}; }
        }
        expected.push_back(best.first);
      }
      CHECK(download(vote_labels(voxels, there.data(), ignored, exec), exec) == expected);
    }
  }
  CHECK(test::error_of([&] {
          auto const point = upload_matrix(std::vector<float>{1, 1}, 2, exec);
          auto const one = sparse_quantize(PointsView<float>{point.view()}, QuantizeOptions<2>(1.0F), exec);
          static_cast<void>(vote_labels(one, nullptr, std::nullopt, exec));
        }) == "vote_labels: no labels for 1 points");
}

#ifdef __CUDACC__
TEST_CASE_TEMPLATE("quantize: means of half features are summed in single precision", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<__half> features;
  for (int i = 0; i < 4096; ++i) { features.push_back(static_cast<__half>(i % 2 == 0 ? 1024.0F : 1.0F)); }
  auto const positions = upload_matrix(std::vector<float>(4096), 1, exec);
  auto const matrix = upload_matrix(features, 1, exec);
  auto const found = sparse_quantize(PointsView<__half>{positions.view(), matrix.view()},
                                     QuantizeOptions<1>(1.0F).features(VoxelFeatures::mean), exec);
  CHECK(static_cast<float>(download(found.features.data(), 1, exec)[0]) == 512.5F);
}
#endif

TEST_CASE_TEMPLATE("quantize: a whole scan has the voxels that numpy finds", Space, TESSERA_TEST_SPACES)
{
  auto const file = test::data_file("data/semkitti_000000.bin");
  if (!file || test::skipped<Space>()) { return; }
  auto const scan = read_kitti(*file);
  Cloud<3> cloud;
  cloud.positions = scan.positions;
  cloud.batch.resize(cloud.size());
  for (float const intensity : scan.features) { cloud.features.insert(cloud.features.end(), {intensity, 1}); }
  auto options = QuantizeOptions<3>(0.05F).origin(GridOrigin::lowest_voxel);
  bool const is_the_scan = scan.size() == 123'389;  // numpy's numbers are those of one file
  if (is_the_scan) { CHECK(quantize<Space>(cloud, options).rows.size() == 94444); }
  expect_oracle<Space>(cloud, options);
  expect_oracle<Space>(cloud, options.rounding(Rounding::nearest_even).features(VoxelFeatures::mean));
  options = QuantizeOptions<3>(0.05F).origin(GridOrigin::lowest_point);
  if (is_the_scan) { CHECK(quantize<Space>(cloud, options).rows.size() == 94590); }
}

TEST_CASE_TEMPLATE("quantize: voxels already made stay what they are", Space, TESSERA_TEST_SPACES)
{
  auto const file = test::data_file("golden/minkunet_semkitti.safetensors");
  if (!file || test::skipped<Space>()) { return; }
  Safetensors const golden{*file};
  auto const coords = golden.to<std::int32_t>("input.coords");
  Cloud<3> cloud;
  std::vector<Coordinate<3>> rows;
  for (std::size_t i = 0; i < coords.size(); i += 4) {
    rows.push_back({coords[i], {coords[i + 1], coords[i + 2], coords[i + 3]}});
    cloud.batch.push_back(coords[i]);
    cloud.num_batches = std::max(cloud.num_batches, coords[i] + 1);
    for (std::size_t k = 1; k <= 3; ++k) { cloud.positions.push_back(static_cast<float>(coords[i + k])); }
    cloud.features.insert(cloud.features.end(), {static_cast<float>(i / 4), 0});
  }
  auto const found = quantize<Space>(cloud, QuantizeOptions<3>(1.0F));
  REQUIRE(found.rows.size() == rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    REQUIRE(found.rows[static_cast<std::size_t>(found.inverse[i])] == rows[i]);
  }
}
