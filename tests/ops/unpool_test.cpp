// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "gradient_check.hpp"

#include <tessera/ops/unpool.hpp>

#include <limits>
#include <vector>

using namespace tessera;

namespace {

using Options = PoolOptions<3>;

template <class Scalar, class Space>
std::vector<Scalar> on_host(Matrix<Scalar, Space> const& matrix, Execution<Space> const& exec)
{
  return download(matrix.data(), matrix.size(), exec);
}

/// Numbers of which no two are equal, so that a small step does not change which is the largest.
std::vector<double> distinct(std::size_t count, unsigned seed)
{
  std::vector<double> values;
  for (std::size_t i = 0; i < count; ++i) { values.push_back(0.01 * static_cast<double>(i) - 1); }
  std::shuffle(values.begin(), values.end(), std::mt19937{seed});
  return values;
}

/// The pools and their gradients, to be looked at alike.
template <class Space>
struct Pools {
  using Tensor = SparseTensor<3, double, Space>;
  using Function = Tensor (*)(Tensor const&, Options const&, Execution<Space> const&);
  using Gradient = Matrix<double, Space> (*)(MatrixView<double const> const&, Tensor const&, Options const&,
                                             Execution<Space> const&);
  Function functions[3] = {max_pool<3, double, Space>, average_pool<3, double, Space>,
                           sum_pool<3, double, Space>};
  Gradient gradients[3] = {max_pool_backward<3, double, Space>, average_pool_backward<3, double, Space>,
                           sum_pool_backward<3, double, Space>};
};

}  // namespace

TEST_CASE_TEMPLATE("pools: gradients agree with finite differences", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto host = test::random_tensor<double>(30, 2, {0, 1}, 17);
  for (auto& c : host.coordinates) { c.position = {c.position[0] % 6, c.position[0] / 6, 0}; }
  auto const values = distinct(60, 3);
  host.features = values;
  auto const x = test::upload_tensor<double>(host, exec);
  auto const with = [&](std::vector<double> const& features) {
    return x.with_features(upload_matrix(features, 2, exec));
  };
  Pools<Space> const pools;
  for (auto const& options : {Options(2), Options(3).stride(2).padding(1), Options(3).stride(1).padding(1)}) {
    for (int kind = 0; kind < 3; ++kind) {
      CAPTURE(kind);
      auto const y = pools.functions[kind](x, options, exec);
      auto const cotangent = distinct(static_cast<std::size_t>(y.num_rows()) * 2, 5);
      auto const grad = upload_matrix(cotangent, 2, exec);
      auto const loss = [&](std::vector<double> const& features) {
        return test::dot(pools.functions[kind](with(features), options, exec).features_on_host(exec),
                         cotangent);
      };
      auto const found = on_host(pools.gradients[kind](grad.view(), x, options, exec), exec);
      test::check_close(found, test::finite_differences(values, loss, 1e-4), 1e-8);
    }
    auto const pooled = average_pool(x, options, exec);
    auto const coarse = distinct(static_cast<std::size_t>(pooled.num_rows()) * 2, 7);
    auto const loss = [&](std::vector<double> const& features) {
      auto const on_pooled = pooled.with_features(upload_matrix(features, 2, exec));
      return test::dot(unpool(on_pooled, x, options, exec).features_on_host(exec), values);
    };
    auto const found = on_host(unpool_backward<3, double, Space>(x.features(), x, options, exec), exec);
    test::check_close(found, test::finite_differences(coarse, loss, 1e-4), 1e-8);
  }
}

TEST_CASE_TEMPLATE("unpool: a voxel gets the mean of the pooled voxels whose windows hold it", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    for (int const channels : {3, 8}) {
      auto const host = test::random_tensor<Scalar>(400, channels, {0, 2}, 23);
      auto const x = test::upload_tensor<Scalar>(host, exec);
      auto const pooled = max_pool(x, Options(2), exec);
      auto const back = unpool(pooled, x, Options(2), exec);
      CHECK(back.coordinates() == x.coordinates());
      // windows of 2 with a stride of 2 hold each voxel once: it gets its parent's features
      auto const parents = pooled.coordinates_on_host(exec);
      auto const parent_features = pooled.features_on_host(exec);
      std::vector<Scalar> expected;
      for (auto const& c : host.coordinates) {
        Coordinate<3> parent{c.batch, {c.position[0] / 2, c.position[1] / 2, c.position[2] / 2}};
        auto const at = std::find(parents.begin(), parents.end(), parent);
        REQUIRE(at != parents.end());
        auto const first = parent_features.begin() + (at - parents.begin()) * channels;
        expected.insert(expected.end(), first, first + channels);
      }
      CHECK(test::same_bits(back.features_on_host(exec), expected));
    }
  });
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(20, 1, {0}, 1), exec);
  auto const pooled = max_pool(x, Options(2), exec);
  CHECK_THROWS_AS(static_cast<void>(unpool(pooled, x, Options(3), exec)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(max_pool_backward<3, float, Space>(x.features(), x, Options(2), exec)),
                  invalid_argument);
}

TEST_CASE_TEMPLATE("max_pool: of equal inputs the first has the gradient, of NaN the first NaN", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<Coordinate<3>> const rows{{0, {0, 0, 0}}, {0, {0, 0, 1}}, {0, {0, 1, 0}}, {0, {2, 0, 0}}};
  float const none = std::numeric_limits<float>::quiet_NaN();
  auto const gradient = [&](std::vector<float> const& features, Options const& options) {
    SparseTensor<3, float, Space> const x{make_coordinate_set(rows, CoordinateSetOptions<3>{}, exec),
                                          upload_matrix(features, 1, exec)};
    auto const grad = upload_matrix(std::vector<float>{5, 7}, 1, exec);
    return on_host(max_pool_backward<3, float, Space>(grad.view(), x, options, exec), exec);
  };
  CHECK(gradient({1, 2, 2, 3}, Options(2)) == std::vector<float>{0, 5, 0, 7});
  CHECK(gradient({1, none, none, 3}, Options(2)) == std::vector<float>{0, 5, 0, 7});
  CHECK(gradient({-1, -2, -3, 3}, Options(2)) == std::vector<float>{5, 0, 0, 7});
  // spconv's pool begins at 0: what is below has no part in the result
  CHECK(gradient({-1, -2, -3, 3}, Options(2).compat(Compatibility::spconv)) ==
        std::vector<float>{0, 0, 0, 7});
}
