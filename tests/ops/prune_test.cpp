// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../nn/tensors.hpp"
#include "../support/device.hpp"

#include <tessera/ops/broadcast.hpp>
#include <tessera/ops/pooling.hpp>
#include <tessera/ops/prune.hpp>

#include <cstdint>
#include <vector>

using namespace tessera;

namespace {

/// The rows of `x` that `keep(row)` says.
template <class Keep>
test::HostTensor kept_of(test::HostTensor const& x, Keep const& keep)
{
  test::HostTensor result;
  result.channels = x.channels;
  for (std::size_t i = 0; i < x.rows(); ++i) {
    if (!keep(i)) { continue; }
    result.coordinates.push_back(x.coordinates[i]);
    for (int c = 0; c < x.channels; ++c) { result.features.push_back(x.at(i, c)); }
  }
  return result;
}

template <class Scalar, class Space>
void check_equal(SparseTensor<3, Scalar, Space> const& found, test::HostTensor const& expected,
                 Execution<Space> const& exec)
{
  CHECK(found.num_rows() == static_cast<std::int64_t>(expected.rows()));
  CHECK(found.coordinates_on_host(exec) == expected.coordinates);
  CHECK(test::same_bits(found.features_on_host(exec), test::rounded<Scalar>(expected.features)));
}

template <class Scalar, class Space>
std::vector<Scalar> on_host(Matrix<Scalar, Space> const& matrix, Execution<Space> const& exec)
{
  return download(matrix.data(), matrix.size(), exec);
}

}  // namespace

TEST_CASE_TEMPLATE("prune: the voxels that a mask, a threshold or a box keeps, in their order", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    for (int const channels : {3, 8}) {
      CAPTURE(channels);
      auto const host = test::random_tensor<Scalar>(500, channels, {0, 2}, 7);
      auto const x = test::upload_tensor<Scalar>(host, exec, 3);
      std::vector<std::uint8_t> mask;
      for (std::size_t i = 0; i < host.rows(); ++i) { mask.push_back(i * i % 7 < 3 ? 1 : 0); }
      auto const own_mask = upload_matrix(mask, 1, exec);
      auto const pruned = prune(x, own_mask, exec);
      check_equal(pruned, kept_of(host, [&](std::size_t i) { return mask[i] != 0; }), exec);
      CHECK(pruned.coordinates()->spatial_range() == x.coordinates()->spatial_range());

      // the gradient: of the voxels that stay, 0 for the others
      auto const grad = prune_backward<3, Scalar, Space>(pruned.features(), pruned, x, exec);
      auto expected = host.features;
      for (std::size_t n = 0; n < expected.size(); ++n) {
        if (mask[n / static_cast<std::size_t>(channels)] == 0) { expected[n] = 0; }
      }
      CHECK(test::same_bits(on_host(grad, exec), test::rounded<Scalar>(expected)));

      auto const box = crop(x, {10, 0, 0}, {40, 5, 1}, exec);
      check_equal(box,
                  kept_of(host,
                          [&](std::size_t i) {
                            auto const& p = host.coordinates[i].position;
                            return p[0] >= 10 && p[0] < 40 && p[1] < 5 && p[2] < 1;
                          }),
                  exec);
    }
    auto const host = test::random_tensor<Scalar>(300, 4, {0}, 8);
    auto scores = test::random_tensor<Scalar>(300, 1, {0}, 9);
    scores.features[5] = std::numeric_limits<double>::quiet_NaN();
    scores.features[6] = 0.5;
    auto const x = test::upload_tensor<Scalar>(host, exec);
    auto const s = x.with_features(upload_matrix(test::rounded<Scalar>(scores.features), 1, exec));
    check_equal(prune_above(x, s, 0.5, exec),
                kept_of(host, [&](std::size_t i) { return scores.features[i] > 0.5; }), exec);
  });
}

TEST_CASE_TEMPLATE("prune: nothing kept, nothing there, everything kept", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const host = test::random_tensor<float>(40, 2, {0, 1}, 3);
  auto const x = test::upload_tensor<float>(host, exec);
  auto const masked = [&](std::uint8_t value, std::size_t rows) {
    return upload_matrix(std::vector<std::uint8_t>(rows, value), 1, exec);
  };
  CHECK(prune(x, masked(0, 40), exec).num_rows() == 0);
  check_equal(prune(x, masked(255, 40), exec), host, exec);
  auto const none = crop(x, {0, 0, 0}, {0, 50, 50}, exec);
  CHECK(none.num_rows() == 0);
  CHECK(crop(none, {0, 0, 0}, {50, 50, 50}, exec).num_rows() == 0);
  CHECK_THROWS_WITH_AS(static_cast<void>(prune(x, masked(1, 39), exec)),
                       "prune: a mask [39, 1] for 40 rows; it must be [rows, 1]", invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(prune_above(x, x, 0, exec)), invalid_argument);
}

TEST_CASE_TEMPLATE("prune: where the number of rows stays in the space, so does that of those kept", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const host = test::random_tensor<float>(60, 2, {0, 1}, 5);
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{2, {50, 50, 50}};
  auto const x =
      test::tensor_in_room(host.coordinates, test::rounded<float>(host.features), 40, options, exec);
  std::vector<std::uint8_t> mask;
  for (std::size_t i = 0; i < 60; ++i) { mask.push_back(i % 3 == 0 ? 1 : 0); }
  auto const pruned = prune(x, upload_matrix(mask, 1, exec), exec);
  CHECK(pruned.capacity() == 60);
  CHECK(pruned.coordinates()->has_device_count());
  check_equal(pruned, kept_of(host, [&](std::size_t i) { return i < 40 && mask[i] != 0; }), exec);
  auto const grad = on_host(prune_backward<3, float, Space>(pruned.features(), pruned, x, exec), exec);
  for (std::size_t n = 0; n < grad.size(); ++n) {
    bool const stays = n / 2 < 40 && mask[n / 2] != 0;
    CHECK(grad[n] == (stays ? static_cast<float>(host.features[n]) : 0.0F));
  }
}

TEST_CASE_TEMPLATE("broadcast: each voxel gets the row of its batch entry, and gives its gradient to it",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    auto const host = test::random_tensor<Scalar>(600, 5, {0, 2}, 11);
    auto const x = test::upload_tensor<Scalar>(host, exec, 4);
    std::vector<double> values;
    for (int n = 0; n < 4 * 3; ++n) { values.push_back(0.25 * n - 1); }
    auto const own_values = upload_matrix(test::rounded<Scalar>(values), 3, exec);
    auto const y = broadcast(own_values, x, exec);
    std::vector<double> expected;
    std::vector<double> sums(4 * 5);
    for (std::size_t i = 0; i < host.rows(); ++i) {
      auto const entry = static_cast<std::size_t>(host.coordinates[i].batch);
      for (std::size_t c = 0; c < 3; ++c) { expected.push_back(values[3 * entry + c]); }
      for (std::size_t c = 0; c < 5; ++c) { sums[5 * entry + c] += host.features[5 * i + c]; }
    }
    CHECK(y.coordinates() == x.coordinates());
    CHECK(test::same_bits(y.features_on_host(exec), test::rounded<Scalar>(expected)));
    auto const grad = broadcast_backward<3, Scalar, Space>(x.features(), x, exec);
    test::check_close(on_host(grad, exec), sums, 20 * test::rounding<Scalar>());
  });
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(10, 1, {0, 1}, 1), exec, 2);
  auto const three = upload_matrix(std::vector<float>{1, 2, 3}, 1, exec);
  CHECK_THROWS_WITH_AS(static_cast<void>(broadcast(three, x, exec)), "broadcast: 3 rows for 2 batch entries",
                       invalid_argument);
}

TEST_CASE_TEMPLATE("sum_pool: the mean times the number of voxels in the window", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const host = test::random_tensor<double>(400, 3, {0, 1}, 13);
  auto const x = test::upload_tensor<double>(host, exec);
  auto const ones = x.with_features(upload_matrix(std::vector<double>(400, 1.0), 1, exec));
  auto const options = PoolOptions<3>(3).stride(2).padding(1);
  auto const sums = sum_pool(x, options, exec).features_on_host(exec);
  auto const means = average_pool(x, options, exec).features_on_host(exec);
  auto const counts = sum_pool(ones, options, exec).features_on_host(exec);
  std::vector<double> expected;
  for (std::size_t n = 0; n < means.size(); ++n) { expected.push_back(means[n] * counts[n / 3]); }
  test::check_close(sums, expected, 1e-12);
  double total = 0;
  auto const cells = sum_pool(ones, PoolOptions<3>(2), exec).features_on_host(exec);
  for (auto const count : cells) { total += count; }
  CHECK(total == 400);
}
