// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "tensors.hpp"

#include <tessera/nn/group_norm.hpp>
#include <tessera/nn/pooling.hpp>

#include <climits>
#include <limits>

using namespace tessera;

namespace {

struct Pooled {
  std::vector<double> average;  // [batches, channels]
  std::vector<double> largest;
};

Pooled pool_by_definition(test::HostTensor const& x, int batches)
{
  Pooled result;
  for (int b = 0; b < batches; ++b) {
    for (int c = 0; c < x.channels; ++c) {
      double sum = 0;
      double count = 0;
      double largest = -std::numeric_limits<double>::infinity();
      for (std::size_t row = 0; row < x.rows(); ++row) {
        if (x.coordinates[row].batch != b) { continue; }
        sum += x.at(row, c);
        count += 1;
        largest = std::max(largest, x.at(row, c));
      }
      result.average.push_back(count > 0 ? sum / count : 0);
      result.largest.push_back(count > 0 ? largest : 0);
    }
  }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("global pooling: mean and maximum of each batch entry, 0 for an empty one", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::size_t const rows : {0U, 1U, 64U, 5000U}) {
    for (int const channels : {1, 6, 32}) {
      for (int const batches : {0, 6}) {
        CAPTURE(rows);
        CAPTURE(channels);
        CAPTURE(batches);
        test::for_each_scalar([&](auto scalar) {
          using Scalar = decltype(scalar);
          auto in = test::random_tensor<Scalar>(rows, channels, {1, 3, 4}, 3);
          for (auto& value : in.features) { value -= 20; }  // all below 0: no maximum comes from padding
          in.features = [&] {
            std::vector<double> held;
            for (auto const value : test::rounded<Scalar>(in.features)) { held.push_back(test::wide(value)); }
            return held;
          }();
          auto const x = test::upload_tensor<Scalar>(in, exec, batches);
          nn::GlobalAveragePool<3, Scalar, Space> const average;
          nn::GlobalMaxPool<3, Scalar, Space> const largest;
          auto const mean = average(x, exec);
          auto const top = largest(x, exec);
          REQUIRE(mean.rows() == x.coordinates()->num_batches());
          REQUIRE(mean.columns() == channels);
          REQUIRE(top.rows() == mean.rows());
          auto const expected = pool_by_definition(in, static_cast<int>(mean.rows()));
          test::check_close(download(mean.data(), mean.size(), exec), expected.average,
                            test::rounding<Scalar>());
          test::check_close(download(top.data(), top.size(), exec), expected.largest, 0);
        });
      }
    }
  }
}

TEST_CASE_TEMPLATE("global pooling: many batch entries", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<int> entries;
  for (int b = 0; b < 70000; b += 7) { entries.push_back(b); }
  auto const in = test::random_tensor<float>(2000, 64, entries, 3);
  auto const x = test::upload_tensor<float>(in, exec);
  auto const mean = global_average_pool(x, exec);
  auto const found = download(mean.data(), mean.size(), exec);
  std::vector<double> sums(found.size(), 0.0);
  std::vector<double> counts(found.size() / 64, 0.0);
  for (std::size_t row = 0; row < in.rows(); ++row) {
    auto const b = static_cast<std::size_t>(in.coordinates[row].batch);
    counts[b] += 1;
    for (int c = 0; c < 64; ++c) { sums[b * 64 + static_cast<std::size_t>(c)] += in.at(row, c); }
  }
  for (std::size_t i = 0; i < sums.size(); ++i) { sums[i] /= std::max(1.0, counts[i / 64]); }
  test::check_close(found, sums, 1e-5);
}

TEST_CASE_TEMPLATE("global pooling: a far batch entry is refused, by group norm too, before memory is taken",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const error = [&](int far, int rows) {
    std::vector<Coordinate<3>> coordinates;
    for (int i = 0; i < rows; ++i) { coordinates.push_back({i == 0 ? far : 0, {i, 0, 0}}); }
    std::vector<float> const ones(static_cast<std::size_t>(2 * rows), 1);
    SparseTensor<3, float, Space> const x{make_coordinate_set(coordinates, {}, exec),
                                          upload_matrix(ones, 2, exec)};
    auto const average = test::error_of([&] { static_cast<void>(global_average_pool(x, exec)); });
    auto const largest = test::error_of([&] { static_cast<void>(global_max_pool(x, exec)); });
    auto const norm = test::error_of(
        [&] { static_cast<void>(group_norm<3, float, Space>(x, 1, nullptr, nullptr, 1e-5, exec)); });
    CHECK(average.substr(0, average.find(": ")) == (average.empty() ? "" : "global_average_pool"));
    CHECK(largest.substr(0, largest.find(": ")) == (average.empty() ? "" : "global_max_pool"));
    CHECK(norm.substr(0, norm.find(": ")) == (average.empty() ? "" : "group_norm"));
    return average;
  };
  CHECK(error(131071, 1).empty());
  CHECK(test::has(error(131072, 1), "batch entries up to 131072 for 1 rows"));
  CHECK(test::has(error(30000000, 3), "batch entries up to 30000000 for 3 rows; entries up to 131071"));
  CHECK(test::has(error(INT_MAX - 1, 1), "batch entries up to 2147483646"));
  CHECK(error(159999, 40000).empty());  // as many as the rows make likely
  CHECK(test::has(error(160000, 40000), "entries up to 159999"));
}

TEST_CASE_TEMPLATE("global pooling: NaN comes through", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto in = test::random_tensor<float>(200, 2, {0, 1}, 3);
  in.features[2 * 77] = std::numeric_limits<double>::quiet_NaN();
  auto const entry = in.coordinates[77].batch;
  auto const x = test::upload_tensor<float>(in, exec);
  auto const top = global_max_pool(x, exec);
  auto const found = download(top.data(), top.size(), exec);
  for (int i = 0; i < 4; ++i) { CHECK(std::isnan(found[static_cast<std::size_t>(i)]) == (i == 2 * entry)); }
}
