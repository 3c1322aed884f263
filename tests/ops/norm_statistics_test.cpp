// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "norm_cases.hpp"

#include <limits>
#include <optional>
#include <utility>
#include <vector>

using namespace norm_cases;

TEST_CASE_TEMPLATE("norms: gradients of floats and halves are those of double within rounding", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (int const channels : {5, 16}) {
    auto const count = static_cast<std::size_t>(1000 * channels);
    auto const values = test::random_values(count, 1);
    auto const cotangent = test::random_values(count, 2);
    test::for_each_scalar([&](auto scalar) {
      using Scalar = decltype(scalar);
      using Sum = accumulator_t<Scalar>;
      // what the scalar can hold is the input of both
      auto const held = [&](std::vector<double> const& from) {
        std::vector<double> result;
        for (auto const value : from) { result.push_back(test::wide(test::from_double<Scalar>(value))); }
        return result;
      };
      for (bool const is_batch : {true, false}) {
        auto const gradients = [&](auto of, auto const& x_values, auto const& dy_values) {
          using T = decltype(of);
          Affine<accumulator_t<T>, Space> affine{channels, exec};
          Running<accumulator_t<T>, Space> running{channels, exec};
          auto const x = tensor_of<3, T>(x_values, channels, exec);
          return by_record<T>(affine, dy_values, channels, exec, [&](auto const& inside) {
            return is_batch ? batch_norm_training(x, running.options(), affine.weight_ref(),
                                                  affine.bias_ref(), eps, inside)
                            : group_norm(x, 1, affine.weight_ref(), affine.bias_ref(), eps, inside);
          });
        };
        auto const found = gradients(Scalar{}, held(values), held(cotangent));
        auto const expected = gradients(double{}, held(values), held(cotangent));
        test::check_close(found.x, expected.x, test::rounding<Scalar>());
        test::check_close(found.weight, expected.weight, 3 * test::rounding<Sum>());
        test::check_close(found.bias, expected.bias, 3 * test::rounding<Sum>());
        auto const again = gradients(Scalar{}, held(values), held(cotangent));
        CHECK(test::same_bits(found.x, again.x));
        CHECK(test::same_bits(found.weight, again.weight));
        CHECK(test::same_bits(found.bias, again.bias));
      }
    });
  }
}

TEST_CASE("norms: gradients have the same bits for any number of threads")
{
  auto const values = test::random_values(3000 * 8, 1);
  auto const cotangent = test::random_values(3000 * 8, 2);
  auto const gradients = [&](int threads, bool is_batch) {
    Execution<Host> const exec{threads};
    Affine<float, Host> affine{8, exec};
    Running<float, Host> running{8, exec};
    auto const x = tensor_of<3, float>(values, 8, exec);
    return by_record<float>(affine, cotangent, 8, exec, [&](auto const& inside) {
      return is_batch ? batch_norm_training(x, running.options(), affine.weight_ref(), affine.bias_ref(), eps,
                                            inside)
                      : group_norm(x, 2, affine.weight_ref(), affine.bias_ref(), eps, inside);
    });
  };
  for (bool const is_batch : {true, false}) {
    auto const one = gradients(1, is_batch);
    auto const four = gradients(4, is_batch);
    CHECK(test::same_bits(one.x, four.x));
    CHECK(test::same_bits(one.weight, four.weight));
    CHECK(test::same_bits(one.bias, four.bias));
  }
}

TEST_CASE_TEMPLATE("norms: room for more rows changes no bit of values, statistics and gradients", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int channels = 4;
  constexpr int rows = 130;
  auto values = test::random_values(rows * channels, 1);
  auto cotangent = test::random_values(rows * channels, 2);
  auto const run = [&](std::optional<std::int32_t> used, bool is_batch) {
    Affine<float, Space> affine{channels, exec};
    Running<float, Space> running{channels, exec};
    auto const x = tensor_of<2, float>(values, channels, exec, used);
    std::vector<float> y;
    auto found = by_record<float>(affine, cotangent, channels, exec, [&](auto const& inside) {
      auto result = is_batch ? batch_norm_training(x, running.options(), affine.weight_ref(),
                                                   affine.bias_ref(), eps, inside)
                             : group_norm(x, 2, affine.weight_ref(), affine.bias_ref(), eps, inside);
      y = result.features_on_host(exec);
      return result;
    });
    auto const statistics = download(running.variance, exec);
    y.insert(y.end(), statistics.begin(), statistics.end());
    return std::pair{found, y};
  };
  for (bool const is_batch : {true, false}) {
    auto const exact = run(std::nullopt, is_batch);
    // rows that are not in use hold anything
    values.resize(5000 * channels, std::numeric_limits<double>::quiet_NaN());
    cotangent.resize(5000 * channels, std::numeric_limits<double>::quiet_NaN());
    auto roomy = run(rows, is_batch);
    values.resize(rows * channels);
    cotangent.resize(rows * channels);
    CHECK(test::same_bits(exact.second, roomy.second));
    CHECK(test::same_bits(exact.first.weight, roomy.first.weight));
    CHECK(test::same_bits(exact.first.bias, roomy.first.bias));
    for (std::size_t i = rows * channels; i < roomy.first.x.size(); ++i) { REQUIRE(roomy.first.x[i] == 0); }
    roomy.first.x.resize(rows * channels);
    CHECK(test::same_bits(exact.first.x, roomy.first.x));
  }
}

TEST_CASE_TEMPLATE("batch norm: no rows are legal, one alone is an error", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int channels = 2;
  Affine<float, Space> affine{channels, exec};
  Running<float, Space> running{channels, exec};
  auto const none = tensor_of<3, float>({}, channels, exec);
  auto const found = by_record<float>(affine, {}, channels, exec, [&](auto const& inside) {
    return batch_norm_training(none, running.options(), affine.weight_ref(), affine.bias_ref(), eps, inside);
  });
  CHECK(found.x.empty());
  CHECK(found.weight == std::vector<float>(channels, 0));
  CHECK(download(running.variance, exec) == std::vector<float>(channels, 1));
  auto const in_groups = by_record<float>(affine, {}, channels, exec, [&](auto const& inside) {
    return group_norm(none, 1, affine.weight_ref(), affine.bias_ref(), eps, inside);
  });
  CHECK(in_groups.x.empty());

  auto const train = [&](SparseTensor<3, float, Space> const& x) {
    static_cast<void>(batch_norm_training(x, running.options(), nullptr, nullptr, eps, exec));
    x.coordinates()->check(exec);
  };
  auto const one = tensor_of<3, float>({1, 2}, channels, exec);
  CHECK_THROWS_WITH_AS(train(one), doctest::Contains("more than 1 row to have a variance"), invalid_argument);
  CHECK_NOTHROW(one.coordinates()->check(exec));
  // counted in the space: the running statistics stay, and the host hears of it when it asks
  auto const counted = tensor_of<3, float>({1, 2, 3, 4}, channels, exec, 1);
  CHECK_THROWS_WITH_AS(train(counted), doctest::Contains("more than 1 row to have a variance"),
                       invalid_argument);
  CHECK(download(running.mean, exec) == std::vector<float>(channels, 0));
  CHECK_NOTHROW(train(tensor_of<3, float>({1, 2, 3, 4}, channels, exec, 0)));
  CHECK(download(running.mean, exec) == std::vector<float>(channels, 0));
  CHECK_NOTHROW(train(tensor_of<3, float>({1, 2, 3, 4}, channels, exec, 2)));
  CHECK(download(running.mean, exec) != std::vector<float>(channels, 0));
}

TEST_CASE_TEMPLATE("batch norm: ranks that exchange statistics agree with one that has all rows", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int channels = 3;
  auto const values = test::random_values(11 * channels, 1);
  auto const cotangent = test::random_values(11 * channels, 2);
  std::vector<std::size_t> const bounds{0, 4 * channels, 4 * channels, 11 * channels};  // a rank has no rows
  auto const part = [&](std::vector<double> const& all, std::size_t rank) {
    return std::vector<double>(all.begin() + static_cast<std::ptrdiff_t>(bounds[rank]),
                               all.begin() + static_cast<std::ptrdiff_t>(bounds[rank + 1]));
  };
  auto const run = [&](std::vector<double> const& x_values, std::vector<double> const& dy,
                       test::PlayedExchange<Space>* exchange, Running<double, Space>& running) {
    Affine<double, Space> affine{channels, exec};
    auto const x = tensor_of<2, double>(x_values, channels, exec);
    return by_record<double>(affine, dy, channels, exec, [&](auto const& inside) {
      return batch_norm_training(x, running.options(), affine.weight_ref(), affine.bias_ref(), eps, exchange,
                                 inside);
    });
  };
  Running<double, Space> of_one{channels, exec};
  auto const expected = run(values, cotangent, nullptr, of_one);

  // Each rank is played until what all ranks send is known: the statistics, then the sums that depend on them.
  std::vector<std::vector<std::vector<double>>> sent(3);
  for (int round = 0; round < 3; ++round) {
    auto const known = sent;
    Found<double> joined;
    joined.weight.assign(channels, 0);
    joined.bias.assign(channels, 0);
    for (std::size_t rank = 0; rank < 3; ++rank) {
      test::PlayedExchange<Space> exchange{static_cast<int>(rank), 3};
      exchange.to_others = test::sent_by_others(known, rank, static_cast<std::size_t>(round));
      Running<double, Space> running{channels, exec};
      auto const own = run(part(values, rank), part(cotangent, rank), &exchange, running);
      REQUIRE(exchange.sent.size() == 2);
      sent[rank] = exchange.sent;
      joined.x.insert(joined.x.end(), own.x.begin(), own.x.end());
      for (std::size_t c = 0; c < channels; ++c) {
        joined.weight[c] += own.weight[c];
        joined.bias[c] += own.bias[c];
      }
      if (round == 2) {
        test::check_close(download(running.mean, exec), download(of_one.mean, exec), 1e-12);
        test::check_close(download(running.variance, exec), download(of_one.variance, exec), 1e-12);
      }
    }
    if (round == 2) {
      test::check_close(joined.x, expected.x, 1e-10);
      test::check_close(joined.weight, expected.weight, 1e-10);
      test::check_close(joined.bias, expected.bias, 1e-10);
    }
  }
}

TEST_CASE("Moments: parts merge into the whole, and an empty part changes no bit")
{
  auto const values = test::random_values(1000, 5);
  auto const moments = [&](std::size_t first, std::size_t last) {
    ops::Moments<double> result;
    for (auto i = first; i < last; ++i) { result.merge({1, values[i] + 100, 0}); }
    return result;
  };
  auto whole = moments(0, 1000);
  auto parts = moments(0, 3);
  parts.merge(moments(3, 700));
  parts.merge(moments(700, 1000));
  CHECK(parts.count == 1000);
  CHECK(parts.mean == doctest::Approx(whole.mean).epsilon(1e-12));
  CHECK(parts.m2 == doctest::Approx(whole.m2).epsilon(1e-12));
  auto const before = whole;
  whole.merge({});
  CHECK(whole.mean == before.mean);
  CHECK(whole.m2 == before.m2);
  ops::Moments<double> empty;
  empty.merge(before);
  CHECK(empty.mean == before.mean);
  CHECK(empty.m2 == before.m2);
}
