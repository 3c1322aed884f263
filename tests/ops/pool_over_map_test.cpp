// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Pools over a map that is there already.

#include "../support/device.hpp"
#include "../support/oracle.hpp"

#include <tessera/ops/pool_over_map.hpp>
#include <tessera/ops/pooling.hpp>

#include <random>
#include <vector>

using namespace tessera;

TEST_CASE_TEMPLATE("pool over a map: values and gradients have the bits of the pool that finds its map",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{13};
  auto const rows = test::random_coordinates<3>(300, 2, IntArray<3>(0), IntArray<3>(9), 7);
  auto const values = [&](std::int64_t count) {
    std::vector<float> result(static_cast<std::size_t>(count));
    for (auto& value : result) { value = std::uniform_real_distribution<float>{-1, 1}(random); }
    return result;
  };
  SparseTensor<3, float, Space> const x{make_coordinate_set(rows, {}, exec),
                                        upload_matrix(values(300 * 6), 6, exec)};
  for (bool const from_zero : {false, true}) {
    CAPTURE(from_zero);
    auto options = nn::PoolOptions<3>(3).stride(2).padding(1);
    options.compat(from_zero ? compat::spconv : compat::none);
    auto const found = detail::pool_map(x, options, "test", exec);
    auto& map = *found.map;
    auto const grad = upload_matrix(values(map.num_out() * 6), 6, exec);
    auto const check = [&](PoolKind kind, auto const& expected, auto const& expected_gradient) {
      auto const y = pool_over_map(kind, x.features(), map, from_zero, exec);
      CHECK(download(y.data(), y.size(), exec) == expected.features_on_host(exec));
      auto const dx = pool_over_map_backward(kind, grad.view(), x.features(), map, from_zero, exec);
      CHECK(download(dx.data(), dx.size(), exec) ==
            download(expected_gradient.data(), expected_gradient.size(), exec));
    };
    check(PoolKind::max, max_pool(x, options, exec), max_pool_backward(grad.view(), x, options, exec));
    check(PoolKind::average, average_pool(x, options, exec),
          average_pool_backward(grad.view(), x, options, exec));
    check(PoolKind::sum, sum_pool(x, options, exec), sum_pool_backward(grad.view(), x, options, exec));

    CHECK_THROWS_WITH_AS(static_cast<void>(pool_over_map(PoolKind::sum, grad.view(), map, false, exec)),
                         doctest::Contains("rows of features for a map of 300"), invalid_argument);
    CHECK_THROWS_WITH_AS(static_cast<void>(pool_over_map_backward(PoolKind::sum, x.features(), x.features(),
                                                                  map, false, exec)),
                         doctest::Contains("pool_over_map_backward: a gradient of 300 x 6"),
                         invalid_argument);
  }
}
