// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "gradient_check.hpp"

#include <tessera/ops/normalization.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

constexpr double eps = 1e-3;

/// A tensor on rows of entries 0 and 1; `used` of them, where only the space is to know.
template <int Dim, class Scalar, class Space>
SparseTensor<Dim, Scalar, Space> tensor_of(std::vector<double> const& features, int channels,
                                           Execution<Space> const& exec,
                                           std::optional<std::int32_t> used = std::nullopt)
{
  auto const rows = test::small_grid<Dim>(static_cast<int>(features.size()) / channels);
  CoordinateSetOptions<Dim> options;
  options.spatial_range = SpatialRange<Dim>{2, IntArray<Dim>(100)};
  auto matrix = upload_matrix(test::rounded<Scalar>(features), channels, exec);
  if (!used) { return {make_coordinate_set(rows, options, exec), std::move(matrix)}; }
  auto set =
      CoordinateSet<Dim, Space>::make({upload(rows, exec), upload(std::vector{*used}, exec)}, options, exec);
  return {std::move(set), std::move(matrix)};
}

/// Parameters of a normalisation in the space, with identities and gradients.
template <class Sum, class Space>
struct Affine {
  Affine(int channels, Execution<Space> const& exec)
      : weight_values{test::random_values(static_cast<std::size_t>(channels), 11)},
        bias_values{test::random_values(static_cast<std::size_t>(channels), 12)},
        weight{upload(test::rounded<Sum>(weight_values), exec)},
        bias{upload(test::rounded<Sum>(bias_values), exec)},
        weight_grad{upload(std::vector<Sum>(weight_values.size(), Sum{0}), exec)},
        bias_grad{upload(std::vector<Sum>(weight_values.size(), Sum{0}), exec)}
  {}

  [[nodiscard]] ParameterRef<Sum> weight_ref() const { return {weight.data(), weight_id}; }
  [[nodiscard]] ParameterRef<Sum> bias_ref() const { return {bias.data(), bias_id}; }
  void watch(test::FilledGradients<Space>& gradients)
  {
    gradients.watch(weight_id, weight_grad.data(), weight_grad.size());
    gradients.watch(bias_id, bias_grad.data(), bias_grad.size());
  }

  std::vector<double> weight_values;
  std::vector<double> bias_values;
  Buffer<Sum, Space> weight;
  Buffer<Sum, Space> bias;
  Buffer<Sum, Space> weight_grad;
  Buffer<Sum, Space> bias_grad;
  VariableId weight_id = detail::next_variable_id();
  VariableId bias_id = detail::next_variable_id();
};

/// Gradients of input, weight and bias.
template <class Scalar>
struct Found {
  std::vector<Scalar> x;
  std::vector<accumulator_t<Scalar>> weight;
  std::vector<accumulator_t<Scalar>> bias;
};

/// Those that the record of `run(exec)` gives.
template <class Scalar, class Space, class Run>
Found<Scalar> by_record(Affine<accumulator_t<Scalar>, Space>& affine, std::vector<double> const& cotangent,
                        std::int64_t channels, Execution<Space> const& exec, Run const& run)
{
  auto const record = test::recorded(exec, run);
  test::FilledGradients<Space> gradients;
  affine.watch(gradients);
  gradients.want(record->inputs().at(0));
  gradients.reach(record->outputs().at(0), upload_matrix(test::rounded<Scalar>(cotangent), channels, exec));
  test::run_backward(*record, gradients, exec);
  return {gradients.template on_host<Scalar>(record->inputs()[0], exec), download(affine.weight_grad, exec),
          download(affine.bias_grad, exec)};
}

/// Normalises by means over (key of a row, group), or by `given` statistics; the definition.
template <class KeyOf>
std::vector<double> definition(std::vector<double> const& x, int channels, int groups, KeyOf const& key_of,
                               std::vector<double> const& weight, std::vector<double> const& bias)
{
  auto const rows = static_cast<int>(x.size()) / channels;
  auto const size = channels / groups;
  std::vector<double> y(x.size());
  for (int row = 0; row < rows; ++row) {
    for (int c = 0; c < channels; ++c) {
      double mean = 0;
      double square = 0;
      double count = 0;
      for (int pass = 0; pass < 2; ++pass) {
        for (int other = 0; other < rows; ++other) {
          if (key_of(other) != key_of(row)) { continue; }
          for (int d = c / size * size; d < (c / size + 1) * size; ++d) {
            auto const value = x[static_cast<std::size_t>(other * channels + d)];
            if (pass == 0) {
              mean += value;
              count += 1;
            } else {
              square += (value - mean) * (value - mean);
            }
          }
        }
        if (pass == 0) { mean /= count; }
      }
      auto const at = static_cast<std::size_t>(row * channels + c);
      auto const channel = static_cast<std::size_t>(c);
      y[at] = (x[at] - mean) / std::sqrt(square / count + eps) * weight[channel] + bias[channel];
    }
  }
  return y;
}

/// Finite differences of the definition.
template <class Function>
Found<double> differences(std::vector<double> const& x, std::vector<double> const& weight,
                          std::vector<double> const& bias, std::vector<double> const& cotangent,
                          Function const& function)
{
  return {test::finite_differences(
              x, [&](auto const& v) { return test::dot(function(v, weight, bias), cotangent); }),
          test::finite_differences(weight,
                                   [&](auto const& v) { return test::dot(function(x, v, bias), cotangent); }),
          test::finite_differences(
              bias, [&](auto const& v) { return test::dot(function(x, weight, v), cotangent); })};
}

void check_all(Found<double> const& found, Found<double> const& expected)
{
  test::check_close(found.x, expected.x, 1e-7);
  test::check_close(found.weight, expected.weight, 1e-7);
  test::check_close(found.bias, expected.bias, 1e-7);
}

/// Running statistics that nobody looks at.
template <class Sum, class Space>
struct Running {
  Running(int channels, Execution<Space> const& exec)
      : mean{upload(std::vector<Sum>(static_cast<std::size_t>(channels), Sum{0}), exec)},
        variance{upload(std::vector<Sum>(static_cast<std::size_t>(channels), Sum{1}), exec)}
  {}
  [[nodiscard]] ops::RunningStatistics<Sum> options()
  {
    return {{mean.data(), 0}, {variance.data(), 0}, 0.1};
  }
  Buffer<Sum, Space> mean;
  Buffer<Sum, Space> variance;
};

/// The exchanges of ranks that one thread plays in turn: the first calls note what each has, the later ones give
/// all ranks the sum.
template <class Space>
class PlayedExchange final : public ops::RowExchange<Space> {
 public:
  PlayedExchange(int own, int ranks) : rank_{own}, size_{ranks} {}

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  void all_reduce_sum(float* data, std::int64_t size, Execution<Space> const& exec) override
  {
    reduce(data, size, exec);
  }
  void all_reduce_sum(double* data, std::int64_t size, Execution<Space> const& exec) override
  {
    reduce(data, size, exec);
  }

  std::vector<std::vector<double>> sent;       // by each call
  std::vector<std::vector<double>> to_others;  // what the other ranks sent, together

 private:
  template <class T>
  void reduce(T* data, std::int64_t size, Execution<Space> const& exec)
  {
    auto const own = download(data, size, exec);
    auto const call = sent.size();
    sent.emplace_back(own.begin(), own.end());
    if (call >= to_others.size()) { return; }
    std::vector<T> sum;
    for (std::size_t i = 0; i < own.size(); ++i) {
      sum.push_back(own[i] + static_cast<T>(to_others[call][i]));
    }
    detail::Transfer<Space>::from_host(data, sum.data(), sum.size() * sizeof(T), exec);
  }

  int rank_;
  int size_;
};

}  // namespace

TEST_CASE_TEMPLATE("batch norm: gradients in training agree with finite differences of the definition", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (int const channels : {1, 3, 4}) {
    for (int const rows : {2, 9, 70}) {
      if (rows * channels > 210) { continue; }
      CAPTURE(channels);
      CAPTURE(rows);
      auto const count = static_cast<std::size_t>(rows * channels);
      auto const values = test::random_values(count, 1);
      auto const cotangent = test::random_values(count, 2);
      Affine<double, Space> affine{channels, exec};
      Running<double, Space> running{channels, exec};
      auto const expected = differences(values, affine.weight_values, affine.bias_values, cotangent,
                                        [&](auto const& x, auto const& weight, auto const& bias) {
                                          return definition(
                                              x, channels, channels, [](int) { return 0; }, weight, bias);
                                        });
      auto const x = tensor_of<3, double>(values, channels, exec);
      check_all(by_record<double>(affine, cotangent, channels, exec,
                                  [&](auto const& inside) {
                                    return batch_norm_training(x, running.options(), affine.weight_ref(),
                                                               affine.bias_ref(), eps, inside);
                                  }),
                expected);
      // the plain function, of a matrix, adds where it is told to
      auto const matrix = upload_matrix(values, channels, exec);
      auto const grad = upload_matrix(cotangent, channels, exec);
      auto const statistics = batch_statistics(matrix, nullptr, exec);
      ops::AffineGradients<double> const to{affine.weight_grad.data(), affine.bias_grad.data(),
                                            GradientMode::accumulate};
      auto const dx = batch_norm_training_backward(grad, matrix, statistics, affine.weight.data(), eps, to,
                                                   nullptr, exec);
      auto twice = expected;
      for (auto& value : twice.weight) { value *= 2; }
      for (auto& value : twice.bias) { value *= 2; }
      check_all(
          {test::on_host(dx, exec), download(affine.weight_grad, exec), download(affine.bias_grad, exec)},
          twice);
    }
  }
}

TEST_CASE_TEMPLATE("batch norm: gradients in evaluation agree with finite differences of the definition",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int channels = 3;
  auto const values = test::random_values(15, 1);
  auto const cotangent = test::random_values(15, 2);
  std::vector<double> const mean{0.5, -1, 2};
  std::vector<double> const variance{0.1, 2, 30};
  Affine<double, Space> affine{channels, exec};
  auto const mean_there = upload(mean, exec);
  auto const variance_there = upload(variance, exec);
  auto const expected =
      differences(values, affine.weight_values, affine.bias_values, cotangent,
                  [&](auto const& x, auto const& weight, auto const& bias) {
                    std::vector<double> y;
                    for (std::size_t i = 0; i < x.size(); ++i) {
                      auto const c = i % channels;
                      y.push_back((x[i] - mean[c]) / std::sqrt(variance[c] + eps) * weight[c] + bias[c]);
                    }
                    return y;
                  });
  auto const x = tensor_of<2, double>(values, channels, exec);
  auto const run = [&](auto const& value) {
    return [&](auto const& inside) {
      return batch_norm(value, mean_there.data(), variance_there.data(), affine.weight_ref(),
                        affine.bias_ref(), eps, inside);
    };
  };
  check_all(by_record<double>(affine, cotangent, channels, exec, run(x)), expected);
  Affine<double, Space> again{channels, exec};
  auto const matrix = upload_matrix(values, channels, exec);
  ops::BatchNormOptions<double> const options{
      mean_there.data(), variance_there.data(), again.weight.data(), again.bias.data(), channels, eps};
  auto const grad = upload_matrix(cotangent, channels, exec);
  auto const dx =
      batch_norm_backward(grad, matrix, options, {again.weight_grad.data(), again.bias_grad.data()}, exec);
  check_all({test::on_host(dx, exec), download(again.weight_grad, exec), download(again.bias_grad, exec)},
            expected);
}

TEST_CASE_TEMPLATE("group norm: gradients agree with finite differences of the definition", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const check = [&](auto dim, int channels, int groups, int rows) {
    constexpr int Dim = decltype(dim)::value;
    CAPTURE(Dim);
    CAPTURE(groups);
    auto const count = static_cast<std::size_t>(rows * channels);
    auto const values = test::random_values(count, 1);
    auto const cotangent = test::random_values(count, 2);
    auto const coordinates = test::small_grid<Dim>(rows);
    Affine<double, Space> affine{channels, exec};
    auto const expected = differences(
        values, affine.weight_values, affine.bias_values, cotangent,
        [&](auto const& x, auto const& weight, auto const& bias) {
          return definition(
              x, channels, groups, [&](int row) { return coordinates[static_cast<std::size_t>(row)].batch; },
              weight, bias);
        });
    auto const x = tensor_of<Dim, double>(values, channels, exec);
    check_all(by_record<double>(affine, cotangent, channels, exec,
                                [&](auto const& inside) {
                                  return group_norm(x, groups, affine.weight_ref(), affine.bias_ref(), eps,
                                                    inside);
                                }),
              expected);
    auto const grad = upload_matrix(cotangent, channels, exec);
    ops::AffineGradients<double> const to{affine.weight_grad.data(), affine.bias_grad.data()};
    auto const dx = group_norm_backward(grad.view(), x, groups, affine.weight.data(), eps, to, exec);
    check_all({test::on_host(dx, exec), download(affine.weight_grad, exec), download(affine.bias_grad, exec)},
              expected);
  };
  check(std::integral_constant<int, 1>{}, 4, 2, 9);
  check(std::integral_constant<int, 2>{}, 4, 4, 9);  // instance norm
  check(std::integral_constant<int, 3>{}, 6, 2, 20);
  check(std::integral_constant<int, 4>{}, 2, 1, 3);
}

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
                       PlayedExchange<Space>* exchange, Running<double, Space>& running) {
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
      PlayedExchange<Space> exchange{static_cast<int>(rank), 3};
      for (int call = 0; call < round; ++call) {
        std::vector<double> others;
        for (std::size_t other = 0; other < 3; ++other) {
          auto const& theirs = known[other][static_cast<std::size_t>(call)];
          others.resize(theirs.size());
          for (std::size_t i = 0; i < theirs.size() && other != rank; ++i) { others[i] += theirs[i]; }
        }
        exchange.to_others.push_back(others);
      }
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
