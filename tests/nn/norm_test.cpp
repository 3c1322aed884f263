// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "tensors.hpp"

#include <tessera/nn/group_norm.hpp>

#include <map>
#include <utility>

using namespace tessera;

namespace {

struct Statistics {
  double mean = 0;
  double variance = 0;  // biased
  double count = 0;
};

/// Mean and variance of the values of (key of a row, group of channels), by two passes in double.
template <class KeyOf>
std::map<std::pair<int, int>, Statistics> statistics_of(test::HostTensor const& x, int groups,
                                                        KeyOf const& key_of)
{
  auto const size = x.channels / groups;
  std::map<std::pair<int, int>, Statistics> result;
  auto const visit = [&](auto const& body) {
    for (std::size_t row = 0; row < x.rows(); ++row) {
      for (int c = 0; c < x.channels; ++c) { body(result[{key_of(row), c / size}], x.at(row, c)); }
    }
  };
  visit([](Statistics& s, double value) { s.mean += value, s.count += 1; });
  for (auto& [key, s] : result) { s.mean /= s.count; }
  visit([](Statistics& s, double value) { s.variance += (value - s.mean) * (value - s.mean); });
  for (auto& [key, s] : result) { s.variance /= s.count; }
  return result;
}

/// Weights and biases around 1 and 0.
std::vector<double> affine(int channels, double centre)
{
  std::vector<double> result;
  for (int c = 0; c < channels; ++c) { result.push_back(centre + 0.25 * (c % 5) - 0.5); }
  return result;
}

template <class Sum, class Space>
void set(nn::Parameter<Sum, Space>& parameter, std::vector<double> const& values,
         Execution<Space> const& exec)
{
  auto const rounded = test::rounded<Sum>(values);
  detail::Transfer<Space>::from_host(parameter.write(), rounded.data(), rounded.size() * sizeof(Sum), exec);
}

template <class Sum, class Space>
std::vector<Sum> get(nn::Parameter<Sum, Space> const& parameter, Execution<Space> const& exec)
{
  return download(parameter.data(), parameter.size(), exec);
}

/// y of x by the statistics that `statistics_at(row, channel)` names.
template <class StatisticsAt>
std::vector<double> normalized(test::HostTensor const& x, std::vector<double> const& weight,
                               std::vector<double> const& bias, double eps, StatisticsAt const& statistics_at)
{
  std::vector<double> y;
  for (std::size_t row = 0; row < x.rows(); ++row) {
    for (int c = 0; c < x.channels; ++c) {
      Statistics const s = statistics_at(row, c);
      auto const i = static_cast<std::size_t>(c);
      y.push_back((x.at(row, c) - s.mean) / std::sqrt(s.variance + eps) * weight[i] + bias[i]);
    }
  }
  return y;
}

}  // namespace

TEST_CASE_TEMPLATE("batch norm: evaluation uses the running statistics", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (int const channels : {1, 5, 24}) {
    CAPTURE(channels);
    test::for_each_scalar([&](auto scalar) {
      using Scalar = decltype(scalar);
      auto const in = test::random_tensor<Scalar>(333, channels, {0, 1}, 1);
      auto const weight = affine(channels, 1.0);
      auto const bias = affine(channels, 0.0);
      auto const mean = affine(channels, 2.0);
      auto const variance = affine(channels, 3.0);
      nn::BatchNorm<3, Scalar, Space> norm{NormOptions(channels).eps(1e-3), exec};
      set(norm.weight(), weight, exec);
      set(norm.bias(), bias, exec);
      set(norm.running_mean(), mean, exec);
      set(norm.running_var(), variance, exec);
      auto const y = norm(test::upload_tensor<Scalar>(in, exec), exec);
      auto const expected = normalized(in, weight, bias, 1e-3, [&](std::size_t, int c) {
        auto const i = static_cast<std::size_t>(c);
        return Statistics{mean[i], variance[i], 0};
      });
      test::check_close(y.features_on_host(exec), expected, test::rounding<Scalar>());
    });
  }
}

TEST_CASE_TEMPLATE("batch norm: training uses the batch's statistics and updates the running ones", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::size_t const rows : {2U, 64U, 65U, 5000U}) {
    for (int const channels : {1, 5, 24}) {
      CAPTURE(rows);
      CAPTURE(channels);
      test::for_each_scalar([&](auto scalar) {
        using Scalar = decltype(scalar);
        auto const in = test::random_tensor<Scalar>(rows, channels, {0, 1}, 1);
        auto const weight = affine(channels, 1.0);
        auto const bias = affine(channels, 0.0);
        auto const mean = affine(channels, 2.0);
        auto const variance = affine(channels, 3.0);
        nn::BatchNorm<3, Scalar, Space> norm{NormOptions(channels).momentum(0.3), exec};
        set(norm.weight(), weight, exec);
        set(norm.bias(), bias, exec);
        set(norm.running_mean(), mean, exec);
        set(norm.running_var(), variance, exec);
        norm.train();
        auto const y = norm(test::upload_tensor<Scalar>(in, exec), exec);

        auto statistics = statistics_of(in, channels, [](std::size_t) { return 0; });
        auto const expected = normalized(in, weight, bias, 1e-5, [&](std::size_t, int c) {
          return statistics[{0, c}];
        });
        test::check_close(y.features_on_host(exec), expected, test::rounding<Scalar>());
        std::vector<double> running_mean;
        std::vector<double> running_variance;
        for (int c = 0; c < channels; ++c) {
          auto const i = static_cast<std::size_t>(c);
          auto const s = statistics[{0, c}];
          running_mean.push_back(0.7 * mean[i] + 0.3 * s.mean);
          running_variance.push_back(0.7 * variance[i] + 0.3 * s.variance * s.count / (s.count - 1));
        }
        using Sum = accumulator_t<Scalar>;
        test::check_close(get(norm.running_mean(), exec), running_mean, test::rounding<Sum>());
        test::check_close(get(norm.running_var(), exec), running_variance, test::rounding<Sum>());
      });
    }
  }
}

TEST_CASE_TEMPLATE("batch norm: a mean far from 0 costs no precision", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto in = test::random_tensor<float>(3000, 4, {0}, 5);
  for (auto& value : in.features) { value = static_cast<float>(value + 1000); }
  nn::BatchNorm<3, float, Space> norm{NormOptions(4).affine(false), exec};
  norm.train();
  auto statistics = statistics_of(in, 4, [](std::size_t) { return 0; });
  auto const expected =
      normalized(in, std::vector<double>(4, 1.0), std::vector<double>(4, 0.0), 1e-5, [&](std::size_t, int c) {
        return statistics[{0, c}];
      });
  test::check_close(norm(test::upload_tensor<float>(in, exec), exec).features_on_host(exec), expected, 1e-3);
}

TEST_CASE_TEMPLATE("group norm and instance norm: each batch entry by itself", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::size_t const rows : {1U, 70U, 5000U}) {
    for (int const groups : {1, 3, 24}) {
      for (int const batches : {0, 6}) {  // without a range, and with empty entries behind the last
        CAPTURE(rows);
        CAPTURE(groups);
        CAPTURE(batches);
        test::for_each_scalar([&](auto scalar) {
          using Scalar = decltype(scalar);
          auto const in = test::random_tensor<Scalar>(rows, 24, {1, 3, 4}, 1);  // entries 0 and 2 are empty
          auto const weight = affine(24, 1.0);
          auto const bias = affine(24, 0.0);
          nn::GroupNorm<3, Scalar, Space> norm{groups, NormOptions(24).eps(1e-2), exec};
          set(norm.weight(), weight, exec);
          set(norm.bias(), bias, exec);
          auto const x = test::upload_tensor<Scalar>(in, exec, batches);
          auto const entry = [&](std::size_t row) { return in.coordinates[row].batch; };
          auto statistics = statistics_of(in, groups, entry);
          auto const at = [&](std::size_t row, int c) { return statistics[{entry(row), c / (24 / groups)}]; };
          test::check_close(norm(x, exec).features_on_host(exec), normalized(in, weight, bias, 1e-2, at),
                            test::rounding<Scalar>());
          if (groups == 24) {
            nn::InstanceNorm<3, Scalar, Space> instance{24, exec};
            CHECK(instance.parameters().empty());
            auto const ones = std::vector<double>(24, 1.0);
            auto const zeros = std::vector<double>(24, 0.0);
            auto const bound = rows == 1 ? 1e-3 : test::rounding<Scalar>();
            test::check_close(instance(x, exec).features_on_host(exec), normalized(in, ones, zeros, 1e-5, at),
                              bound);
          }
        });
      }
    }
  }
}

TEST_CASE_TEMPLATE("norms: the same bits on every run", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  auto const in = test::random_tensor<float>(9000, 12, {0, 1, 2}, 1);
  std::vector<float> first;
  for (int run = 0; run < 3; ++run) {
    Execution<Space> exec{};
    if constexpr (std::is_same_v<Space, Host>) { exec = Execution<Host>{run + 1}; }
    auto const x = test::upload_tensor<float>(in, exec);
    nn::BatchNorm<3, float, Space> batch{12, exec};
    batch.train();
    nn::GroupNorm<3, float, Space> group{4, 12, exec};
    auto const y = group(batch(x, exec), exec).features_on_host(exec);
    if (run == 0) { first = y; }
    CHECK(test::same_bits(first, y));
  }
}

TEST_CASE_TEMPLATE("norms: no rows, one row, wrong channels, wrong options", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const none = test::upload_tensor<float>(test::random_tensor<float>(0, 4, {0}, 1), exec);
  auto const one = test::upload_tensor<float>(test::random_tensor<float>(1, 4, {0}, 1), exec);
  nn::BatchNorm<3, float, Space> batch{4, exec};
  nn::GroupNorm<3, float, Space> group{2, 4, exec};
  CHECK(group(none, exec).num_rows() == 0);
  CHECK(batch(none, exec).num_rows() == 0);
  CHECK(batch(one, exec).num_rows() == 1);
  batch.train();
  CHECK(batch(none, exec).num_rows() == 0);
  CHECK(test::has(test::error_of([&] { (void)batch(one, exec); }), "more than 1 row"));
  test::check_close(get(batch.running_mean(), exec), std::vector<double>(4, 0.0), 0);
  test::check_close(get(batch.running_var(), exec), std::vector<double>(4, 1.0), 0);

  nn::BatchNorm<3, float, Space> other{5, exec};
  CHECK(test::has(test::error_of([&] { (void)other(one, exec); }), "4 channels but 5"));
  nn::GroupNorm<3, float, Space> fives{5, 5, exec};
  CHECK(test::has(test::error_of([&] { (void)fives(one, exec); }), "4 channels but 5"));
  CHECK(test::has(test::error_of([&] { nn::GroupNorm<3, float, Space>(3, 4, exec); }), "3 groups"));
  CHECK(test::has(test::error_of([&] { nn::GroupNorm<3, float, Space>(0, 4, exec); }), "0 groups"));
  CHECK(test::has(test::error_of([&] { nn::BatchNorm<3, float, Space>(0, exec); }), "0 channels"));
  CHECK(test::has(test::error_of([&] { nn::BatchNorm<3, float, Space>(NormOptions(4).eps(-1), exec); }),
                  "epsilon -1"));
}

TEST_CASE("batch norm: its channels stay those it was made with")
{
  Execution<Host> const exec;
  nn::BatchNorm<3, float, Host> norm{4, exec};
  norm.options().channels = 9;
  SparseTensor<3, float, Host> const x{
      make_coordinate_set(std::vector<Coordinate<3>>{{0, {1, 2, 3}}}, {}, exec),
      upload_matrix(std::vector<float>(9, 1.0F), 9, exec)};
  CHECK_THROWS_WITH_AS(static_cast<void>(norm.forward(x, exec)),
                       "BatchNorm: 9 channels; they stay the 4 the layer was made with", invalid_argument);
}
