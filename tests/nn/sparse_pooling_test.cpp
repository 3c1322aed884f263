// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What tests/nn/sparse_layers_test.cpp, which holds pooling against dense grids, leaves open.

#include "../support/device.hpp"
#include "../support/files.hpp"
#include "tensors.hpp"

#include <tessera/nn/sparse_pooling.hpp>

#include <limits>
#include <map>

using namespace tessera;

TEST_CASE_TEMPLATE("pooling over a kernel: a size of -1 collapses the axis to one cell", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const in = test::random_tensor<float>(3000, 3, {0, 1}, 4);
  auto const x = test::upload_tensor<float>(in, exec, 2);
  PoolOptions<3> const options = PoolOptions<3>({1, 1, -1}).stride(1).padding({0, 0, 2});
  auto const y = max_pool(x, options, exec);
  CHECK(y.coordinates()->spatial_range()->extent == IntArray<3>{50, 50, 1});
  std::map<std::vector<int>, std::vector<double>> largest;  // by (batch, x, y)
  for (std::size_t row = 0; row < in.rows(); ++row) {
    auto const& c = in.coordinates[row];
    auto& values = largest[{c.batch, c.position[0], c.position[1]}];
    values.resize(3, -std::numeric_limits<double>::infinity());
    for (int i = 0; i < 3; ++i) {
      auto& value = values[static_cast<std::size_t>(i)];
      value = std::max(value, in.at(row, i));
    }
  }
  std::vector<double> expected;
  std::vector<Coordinate<3>> rows;
  for (auto const& entry : largest) {
    rows.push_back({entry.first[0], {entry.first[1], entry.first[2], 0}});
    expected.insert(expected.end(), entry.second.begin(), entry.second.end());
  }
  CHECK(y.coordinates_on_host(exec) == rows);
  test::check_close(y.features_on_host(exec), expected, 0);

  auto const all = average_pool(x, PoolOptions<3>(-1), exec);
  CHECK(all.coordinates_on_host(exec) == std::vector<Coordinate<3>>{{0, {0, 0, 0}}, {1, {0, 0, 0}}});

  auto const unbounded = test::upload_tensor<float>(in, exec);
  CHECK_THROWS_WITH_AS((void)max_pool(unbounded, options, exec), doctest::Contains("without a spatial range"),
                       invalid_argument);
}

TEST_CASE_TEMPLATE("pooling over a kernel: each module has the bits of its function", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(300, 4, {0, 2}, 4), exec);
  auto const options = PoolOptions<3>(3).stride(2).padding(1);
  auto const check = [&](auto&& module, SparseTensor<3, float, Space> const& expected) {
    auto const found = module.forward(x, exec);
    CHECK(found.coordinates() == expected.coordinates());
    CHECK(test::same_bits(found.features_on_host(exec), expected.features_on_host(exec)));
    CHECK(module.options().stride() == options.stride());
  };
  check(nn::MaxPool<3, float, Space>{options}, max_pool(x, options, exec));
  check(nn::AveragePool<3, float, Space>{options}, average_pool(x, options, exec));
  check(nn::SumPool<3, float, Space>{options}, sum_pool(x, options, exec));
}

TEST_CASE_TEMPLATE("pooling over a kernel: NaN comes through the maximum, shuffled rows give the same bits",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto in = test::random_tensor<float>(500, 5, {0, 1}, 4);
  for (auto& value : in.features) { value -= 10; }
  in.features[5 * 100 + 2] = std::numeric_limits<double>::quiet_NaN();
  auto shuffled = in;
  std::vector<std::size_t> order(in.rows());
  for (std::size_t i = 0; i < order.size(); ++i) { order[i] = i; }
  std::mt19937 random{1};
  std::shuffle(order.begin(), order.end(), random);
  for (std::size_t i = 0; i < order.size(); ++i) {
    shuffled.coordinates[i] = in.coordinates[order[i]];
    std::copy_n(in.features.begin() + static_cast<std::ptrdiff_t>(5 * order[i]), 5,
                shuffled.features.begin() + static_cast<std::ptrdiff_t>(5 * i));
  }
  auto const x = test::upload_tensor<float>(in, exec);
  auto const z = test::upload_tensor<float>(shuffled, exec);
  PoolOptions<3> const options = PoolOptions<3>(3).stride(2).padding(1);
  auto const largest = max_pool(x, options, exec).features_on_host(exec);
  auto const nans = std::count_if(largest.begin(), largest.end(), [](float v) { return std::isnan(v); });
  CHECK(nans >= 1);
  CHECK(nans <= 8);  // the outputs whose windows hold that voxel
  CHECK(test::same_bits(largest, max_pool(z, options, exec).features_on_host(exec)));
  CHECK(test::same_bits(average_pool(x, options, exec).features_on_host(exec),
                        average_pool(z, options, exec).features_on_host(exec)));
}

TEST_CASE_TEMPLATE("pooling over a kernel: no voxels, and no coordinates", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::HostTensor none;
  none.channels = 3;
  auto const x = test::upload_tensor<float>(none, exec, 2);
  CHECK(max_pool(x, PoolOptions<3>(2), exec).num_rows() == 0);
  CHECK(average_pool(x, PoolOptions<3>(2), exec).channels() == 3);
  using Tensor = SparseTensor<3, float, Space>;
  CHECK_THROWS_WITH_AS((void)max_pool(Tensor{}, PoolOptions<3>(2), exec), doctest::Contains("no coordinates"),
                       invalid_argument);
}

TEST_CASE_TEMPLATE("pooling over a kernel: a volume that wraps is refused by its sizes, whole axes included",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, {1 << 30, 9, 4}};
  SparseTensor<3, float, Space> const x{
      make_coordinate_set(std::vector<Coordinate<3>>{{0, {1, 1, 1}}}, options, exec),
      upload_matrix(std::vector<float>{1}, 1, exec)};
  for (auto compat : {compat::none, compat::spconv}) {
    auto const error = [&](IntArray<3> const& size) {
      return test::error_of(
          [&] { static_cast<void>(max_pool(x, PoolOptions<3>(size).compat(compat), exec)); });
    };
    CHECK(error({1 << 30, 2, 1}) == "max_pool: kernel size [1073741824, 2, 1] has more than 1048576 offsets");
    CHECK(test::has(error({9, 954437177, 1}), "has more than 1048576 offsets"));  // 1 modulo 2^32
    CHECK(test::has(error({-1, 1, 1}), "max_pool: kernel size [1073741824, 1, 1] has more than 1048576"));
    CHECK(error({1, -1, -1}).empty());
  }
}
