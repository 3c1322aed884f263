// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/ops/dense.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <set>

using namespace tessera;

namespace {

template <int Dim>
struct Voxels {
  std::vector<Coordinate<Dim>> rows;
  std::vector<float> features;
  SpatialRange<Dim> range;
  std::int64_t channels = 0;
};

/// Different voxels of a grid in random order, and no feature zero.
template <int Dim>
Voxels<Dim> random_voxels(unsigned seed, std::int64_t channels)
{
  std::mt19937 random{seed};
  Voxels<Dim> voxels;
  voxels.channels = channels;
  voxels.range.batches = 3;
  for (int i = 0; i < Dim; ++i) { voxels.range.extent[i] = 3 + static_cast<int>(random() % 4); }
  std::set<std::vector<int>> seen;
  for (int n = 0; n < 25; ++n) {
    Coordinate<Dim> row;
    row.batch = static_cast<int>(random() % 2) * 2;  // entry 1 stays empty
    std::vector<int> key{row.batch};
    for (int i = 0; i < Dim; ++i) {
      row.position[i] = static_cast<int>(random() % static_cast<unsigned>(voxels.range.extent[i]));
      key.push_back(row.position[i]);
    }
    if (!seen.insert(key).second) { continue; }
    voxels.rows.push_back(row);
    for (std::int64_t c = 0; c < channels; ++c) {
      voxels.features.push_back(static_cast<float>(random() % 1000 + 1));
    }
  }
  return voxels;
}

template <class Space, int Dim>
SparseTensor<Dim, float, Space> tensor_of(Voxels<Dim> const& voxels, bool with_range)
{
  Execution<Space> const exec{};
  CoordinateSetOptions<Dim> options;
  if (with_range) { options.spatial_range = voxels.range; }
  return {make_coordinate_set(voxels.rows, options, exec),
          Matrix<float, Space>{upload(voxels.features, exec), static_cast<std::int64_t>(voxels.rows.size()),
                               voxels.channels}};
}

/// Row-major index of (batch, channel, position) in the shape of a layout.
template <int Dim>
std::size_t place_of(std::vector<std::int64_t> const& shape, DenseLayout layout, Coordinate<Dim> const& row,
                     std::int64_t channel)
{
  std::vector<std::int64_t> index{row.batch};
  if (layout == DenseLayout::channels_first) { index.push_back(channel); }
  for (int i = 0; i < Dim; ++i) { index.push_back(row.position[i]); }
  if (layout == DenseLayout::channels_last) { index.push_back(channel); }
  std::int64_t place = 0;
  for (std::size_t i = 0; i < shape.size(); ++i) { place = place * shape[i] + index[i]; }
  return static_cast<std::size_t>(place);
}

template <class Space, int Dim>
void expect_definition()
{
  Execution<Space> const exec{};
  for (unsigned seed : {1U, 2U, 3U}) {
    for (auto const layout : {DenseLayout::channels_last, DenseLayout::channels_first}) {
      for (bool const with_range : {true, false}) {
        CAPTURE(Dim);
        CAPTURE(seed);
        auto const voxels = random_voxels<Dim>(seed, 1 + 2 * (seed % 2));
        auto const x = tensor_of<Space>(voxels, with_range);
        DenseOptions<Dim> options;
        options.layout = layout;
        if (!with_range) { options.range = voxels.range; }
        auto const dense_x = dense(x, options, exec);
        auto const shape = dense_x.shape();
        REQUIRE(shape.size() == Dim + 2);
        CHECK(shape[layout == DenseLayout::channels_last ? Dim + 1 : 1] == voxels.channels);
        std::vector<float> expected(static_cast<std::size_t>(dense_x.size()));
        for (std::size_t i = 0; i < voxels.rows.size(); ++i) {
          for (std::int64_t c = 0; c < voxels.channels; ++c) {
            expected[place_of(shape, layout, voxels.rows[i], c)] =
                voxels.features[i * static_cast<std::size_t>(voxels.channels) + static_cast<std::size_t>(c)];
          }
        }
        CHECK(download(dense_x.data(), dense_x.size(), exec) == expected);

        auto const back = gather_from_dense(x, dense_x, exec);
        CHECK(back.coordinates() == x.coordinates());
        CHECK(back.features_on_host(exec) == voxels.features);

        auto const y = sparse(dense_x, exec);
        auto const rows = y.coordinates_on_host(exec);
        REQUIRE(rows.size() == voxels.rows.size());
        CHECK(y.coordinates()->spatial_range() == voxels.range);
        std::vector<std::size_t> places;
        for (auto const& row : rows) {
          places.push_back(place_of(shape, DenseLayout::channels_last, row, 0));
        }
        if (layout == DenseLayout::channels_last) { CHECK(std::is_sorted(places.begin(), places.end())); }
        auto const dense_y = dense(y, options, exec);
        CHECK(download(dense_y.data(), dense_y.size(), exec) == expected);
      }
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("dense: agrees with the definition, and sparse and gather_from_dense undo it", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  expect_definition<Space, 1>();
  expect_definition<Space, 2>();
  expect_definition<Space, 3>();
  expect_definition<Space, 4>();
}

TEST_CASE_TEMPLATE("dense: a worked example", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Voxels<1> const voxels{{{1, {0}}, {0, {2}}}, {1, 2, 3, 4}, {2, 3}, 2};
  auto const x = tensor_of<Space>(voxels, true);
  auto const last = dense(x, exec);
  CHECK(last.shape() == std::vector<std::int64_t>{2, 3, 2});
  CHECK(download(last.data(), 12, exec) == std::vector<float>{0, 0, 0, 0, 3, 4, 1, 2, 0, 0, 0, 0});
  auto const first = dense(x, {std::nullopt, DenseLayout::channels_first}, exec);
  CHECK(first.shape() == std::vector<std::int64_t>{2, 2, 3});
  CHECK(download(first.data(), 12, exec) == std::vector<float>{0, 0, 3, 0, 0, 4, 1, 0, 0, 2, 0, 0});
}

TEST_CASE_TEMPLATE("dense: no voxels give zeros, and zeros give no voxels", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = tensor_of<Space>(Voxels<2>{{}, {}, {2, {3, 4}}, 2}, true);
  auto const zeros = dense(x, exec);
  CHECK(download(zeros.data(), zeros.size(), exec) == std::vector<float>(48));
  auto const y = sparse(zeros, {2, 4}, exec);
  CHECK(y.num_rows() == 0);
  CHECK(y.channels() == 2);
  CHECK(y.tensor_stride() == IntArray<2>{2, 4});
  CHECK(gather_from_dense(x, zeros, exec).num_rows() == 0);
}

TEST_CASE_TEMPLATE("sparse: a voxel of zeros is lost, one with a single value or NaN is kept", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  float const no_number = std::numeric_limits<float>::quiet_NaN();
  Voxels<1> const voxels{
      {{0, {0}}, {0, {1}}, {0, {2}}, {0, {3}}}, {0, 0, 0, 5, no_number, 0, -0.0F, 0}, {1, 4}, 2};
  auto const y = sparse(dense(tensor_of<Space>(voxels, true), exec), exec);
  CHECK(y.coordinates_on_host(exec) == std::vector<Coordinate<1>>{{0, {1}}, {0, {2}}});
  auto const features = y.features_on_host(exec);
  CHECK(features[1] == 5);
  CHECK(std::isnan(features[2]));
}

TEST_CASE_TEMPLATE("dense: voxels outside the range are refused, and the tensor stays usable", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Voxels<2> const voxels{{{0, {0, 0}}, {0, {2, -1}}}, {1, 2}, {1, {3, 3}}, 1};
  auto const x = tensor_of<Space>(voxels, false);
  auto const error = [&](SpatialRange<2> const& range) {
    return test::error_of([&] { static_cast<void>(dense(x, {range, {}}, exec)); });
  };
  CHECK(test::error_of([&] { static_cast<void>(dense(x, exec)); }) ==
        "dense: the tensor has no spatial range, so one must be given");
  CHECK(error({1, {3, 3}}) ==
        "dense: voxels in 1 batch entries from [0, -1] to [2, 0] are not all inside the range 1 x [3, 3]");
  CHECK(error({0, {3, 3}}) == "dense: a range of 0 x [3, 3] with 1 channels");
  CHECK(test::has(error({1 << 30, {1 << 30, 1 << 30}}), "cannot be allocated"));
  CHECK(x.features_on_host(exec) == std::vector<float>{1, 2});

  // A row that breaks the declared range is found by the kernel.
  auto const wrong = tensor_of<Space>(voxels, true);
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(dense(wrong, exec));
                    wrong.coordinates()->check(exec);
                  }),
                  "outside the declared spatial range"));
}

TEST_CASE_TEMPLATE("dense: a range smaller than declared will do where every voxel is inside", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Voxels<1> const voxels{{{0, {1}}}, {7}, {5, 100}, 1};
  auto const x = tensor_of<Space>(voxels, true);
  auto const small = dense(x, {SpatialRange<1>{1, 2}, {}}, exec);
  CHECK(download(small.data(), 2, exec) == std::vector<float>{0, 7});
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(dense(x, {SpatialRange<1>{1, 1}, {}}, exec));
                  }),
                  "not all inside the range 1 x [1]"));
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(gather_from_dense(
                        x, DenseTensor<1, float, Space>{{1, 1}, 1, DenseLayout::channels_last, exec}, exec));
                  }),
                  "gather_from_dense: voxels"));
}

TEST_CASE_TEMPLATE("dense: rows that are not in use have no cell", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<1> options;
  options.spatial_range = SpatialRange<1>{1, 4};
  // behind the two rows in use lie one inside the range and one outside
  auto const rows = upload(std::vector<std::int32_t>{0, 1, 0, 3, 0, 0, 7, 77}, exec);
  auto const count = upload(std::vector<std::int32_t>{2}, exec);
  SparseTensor<1, float, Space> const x{
      make_coordinate_set<1>(rows.data(), RowCount{4, count.data()}, options, exec),
      upload_matrix(std::vector<float>{10, 30, 50, 70}, 1, exec)};
  auto const cells = dense(x, exec);
  CHECK(download(cells.data(), cells.size(), exec) == std::vector<float>{0, 10, 0, 30});
  auto const back = gather_from_dense(x, cells, exec);
  CHECK(back.features_on_host(exec) == std::vector<float>{10, 30});
  CHECK(download(back.features().data, 4, exec) == std::vector<float>{10, 30, 0, 0});
}

TEST_CASE_TEMPLATE("dense: moving empties the source, shape and all", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  SpatialRange<2> const range{2, {3, 4}};
  DenseTensor<2, float, Space> a{range, 5, DenseLayout::channels_first, exec};
  auto const* const data = a.data();
  DenseTensor<2, float, Space> b{std::move(a)};
  DenseTensor<2, float, Space> c{{1, {7, 7}}, 1, DenseLayout::channels_last, exec};
  c = std::move(b);
  for (auto const* const empty : {&a, &b}) {
    CHECK(empty->data() == nullptr);
    CHECK(empty->size() == 0);
    CHECK(empty->channels() == 0);
    CHECK(empty->range() == SpatialRange<2>{0, {0, 0}});
    CHECK(empty->shape() == std::vector<std::int64_t>(4, 0));
  }
  CHECK(c.data() == data);
  CHECK(c.range() == range);
  CHECK(c.shape() == std::vector<std::int64_t>{2, 5, 3, 4});
  CHECK_FALSE(test::error_of([&] { static_cast<void>(sparse(a, exec)); }).empty());
}

TEST_CASE("dense: sizes beyond 64 bits are refused, and places are computed in 64")
{
  Execution<Host> const exec{};
  CHECK(test::error_of([&] {
          DenseTensor<3, float, Host>({4, {1 << 30, 1 << 30, 4}}, 1, DenseLayout::channels_last, exec);
        }) ==
        "DenseTensor: a dense tensor of 4 x [1073741824, 1073741824, 4] x 1 elements cannot be allocated");
  detail::DenseShape<3> const shape{{2, {4096, 4096, 4096}}, 16, DenseLayout::channels_first};
  Coordinate<3> const corner{1, {4095, 4095, 4095}};
  auto const cell = shape.cell(corner);
  CHECK(cell == (std::int64_t{1} << 37) - 1);
  CHECK(shape.coordinate(cell) == corner);
  CHECK(shape.element(cell, 15) == (std::int64_t{1} << 41) - 1);
}

#ifdef __CUDACC__
TEST_CASE_TEMPLATE("dense: half features go there and back", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<__half> const values{static_cast<__half>(1.5F), static_cast<__half>(-2.0F)};
  SparseTensor<1, __half, Space> const x{
      make_coordinate_set(std::vector<Coordinate<1>>{{0, {3}}, {0, {1}}}, {1, SpatialRange<1>{1, 4}}, exec),
      upload_matrix(values, 1, exec)};
  auto const y = sparse(dense(x, exec), exec);
  auto const features = y.features_on_host(exec);
  CHECK(static_cast<float>(features[0]) == -2.0F);
  CHECK(static_cast<float>(features[1]) == 1.5F);
}
#endif
