// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "loss_cases.hpp"

#include <limits>
#include <string>
#include <type_traits>
#include <utility>

using namespace loss_cases;

namespace {

constexpr std::int32_t ignored = 255;

/// Rows of logits on the voxels of a tensor, on points and in a matrix.
template <class Scalar, class Space, class Body>
void for_each_value(std::vector<double> const& logits, std::int64_t classes, Execution<Space> const& exec,
                    Body const& body)
{
  auto const matrix = [&] { return upload_matrix(test::rounded<Scalar>(logits), classes, exec); };
  auto const rows = static_cast<int>(logits.size() / static_cast<std::size_t>(classes));
  body(matrix());
  body(SparseTensor<2, Scalar, Space>{make_coordinate_set(test::small_grid<2>(rows), {}, exec), matrix()});
  Matrix<float, Space> positions{upload(std::vector<float>(static_cast<std::size_t>(3 * rows)), exec), rows,
                                 3};
  body(
      PointTensor<2, Scalar, Space>{std::make_shared<PointSet<2, Space>>(std::move(positions), 1), matrix()});
}

template <class Sum, class Space>
Sum number(Matrix<Sum, Space> const& loss, Execution<Space> const& exec)
{
  REQUIRE(loss.rows() == 1);
  REQUIRE(loss.columns() == 1);
  return download(loss.data(), 1, exec)[0];
}

template <class Sum, class Space>
Matrix<Sum, Space> one_number(double value, Execution<Space> const& exec)
{
  return upload_matrix(std::vector<Sum>{static_cast<Sum>(value)}, 1, exec);
}

}  // namespace

TEST_CASE_TEMPLATE("losses: values agree with the definition for every scalar", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::size_t const classes : {1U, 2U, 7U, 19U}) {
    for (std::size_t const rows : {0U, 1U, 64U, 333U}) {
      CAPTURE(classes);
      CAPTURE(rows);
      auto const labels = some_labels(rows, classes, ignored);
      auto const there = upload(labels, exec);
      test::for_each_scalar([&](auto scalar) {
        using Scalar = decltype(scalar);
        using Sum = accumulator_t<Scalar>;
        std::vector<double> logits;
        for (auto const value : test::random_values(rows * classes, 3)) {
          logits.push_back(test::wide(test::from_double<Scalar>(3 * value)));
        }
        Losses<Sum, Space> const losses{classes, ignored, exec};
        losses.for_each([&](std::string const& name, auto const& loss, auto const&, auto const& definition) {
          CAPTURE(name);
          for_each_value<Scalar>(logits, static_cast<std::int64_t>(classes), exec, [&](auto const& x) {
            auto const found = number(loss(x, there, exec), exec);
            test::check_close(std::vector<Sum>{found}, {definition(logits, labels)},
                              10 * test::rounding<Sum>());
          });
        });
      });
    }
  }
}

TEST_CASE_TEMPLATE("losses: gradients agree with finite differences of the definition", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::size_t const classes : {1U, 2U, 4U}) {
    for (std::size_t const rows : {0U, 1U, 13U}) {
      CAPTURE(classes);
      CAPTURE(rows);
      auto const labels = some_labels(rows, classes, ignored);
      auto const there = upload(labels, exec);
      auto const logits = test::random_values(rows * classes, 5);
      Losses<double, Space> const losses{classes, ignored, exec};
      losses.for_each(
          [&](std::string const& name, auto const& loss, auto const& gradient, auto const& definition) {
            CAPTURE(name);
            auto const expected = test::finite_differences(
                logits, [&](auto const& v) { return 1.5 * definition(v, labels); }, 1e-6);
            for_each_value<double>(logits, static_cast<std::int64_t>(classes), exec, [&](auto const& x) {
              auto const record =
                  test::recorded(exec, [&](auto const& inside) { return loss(x, there, inside); });
              auto const found = test::input_gradients<double>(*record, one_number<double>(1.5, exec), exec);
              test::check_close(found.at(0), expected, 1e-7);
              auto const grad = one_number<double>(1.5, exec);
              auto const plain = gradient(grad.view(), x, there);
              CHECK(test::same_bits(test::on_host(plain, exec), found.at(0)));
            });
          });
    }
  }
}

TEST_CASE_TEMPLATE("losses: gradients of floats and halves are those of double within rounding", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr std::size_t classes = 11;
  auto const labels = some_labels(500, classes, ignored);
  auto const there = upload(labels, exec);
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    using Sum = accumulator_t<Scalar>;
    std::vector<double> logits;
    for (auto const value : test::random_values(500 * classes, 3)) {
      logits.push_back(test::wide(test::from_double<Scalar>(value)));
    }
    auto const gradients = [&](auto of, auto sum) {
      using T = decltype(of);
      using SumOf = decltype(sum);
      auto const x = upload_matrix(test::rounded<T>(logits), classes, exec);
      std::vector<std::vector<T>> results;
      Losses<SumOf, Space> const losses{classes, ignored, exec};
      losses.for_each([&](std::string const&, auto const& loss, auto const&, auto const&) {
        auto const record = test::recorded(exec, [&](auto const& inside) { return loss(x, there, inside); });
        // a scale as mixed precision has one, so that halves are not subnormal
        test::FilledGradients<Space> filled;
        filled.want(x.id());
        filled.reach(record->outputs().at(0), one_number<SumOf>(512, exec));
        test::run_backward(*record, filled, exec);
        results.push_back(filled.template on_host<T>(x.id(), exec));
      });
      return results;
    };
    auto const found = gradients(Scalar{}, Sum{});
    auto const again = gradients(Scalar{}, Sum{});
    auto const expected = gradients(double{}, double{});
    for (std::size_t i = 0; i < found.size(); ++i) {
      CAPTURE(i);
      test::check_close(found[i], expected[i], 2 * test::rounding<Scalar>());
      CHECK(test::same_bits(found[i], again[i]));
    }
  });
}

TEST_CASE("losses: values and gradients have the same bits for any number of threads")
{
  constexpr std::size_t classes = 6;
  auto const labels = some_labels(9000, classes, ignored);
  auto const logits = test::random_values(9000 * classes, 3);
  auto const run = [&](int threads) {
    Execution<Host> const exec{threads};
    auto const there = upload(labels, exec);
    auto const x = upload_matrix(test::rounded<float>(logits), classes, exec);
    std::vector<std::vector<float>> results;
    Losses<float, Host> const losses{classes, ignored, exec};
    losses.for_each([&](std::string const&, auto const& loss, auto const& gradient, auto const&) {
      auto const value = loss(x, there, exec);
      results.push_back(test::on_host(value, exec));
      results.push_back(test::on_host(gradient(value.view(), x, there), exec));
    });
    return results;
  };
  auto const one = run(1);
  auto const four = run(4);
  REQUIRE(one.size() == four.size());
  for (std::size_t i = 0; i < one.size(); ++i) { CHECK(test::same_bits(one[i], four[i])); }
}

TEST_CASE_TEMPLATE("losses: room for more rows changes no bit, and rows that are not in use have no gradient",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr std::size_t classes = 5;
  constexpr std::size_t rows = 200;
  auto const run = [&](std::size_t capacity) {
    auto logits = test::random_values(rows * classes, 3);
    auto labels = some_labels(rows, classes, ignored);
    logits.resize(capacity * classes, std::numeric_limits<double>::quiet_NaN());
    labels.resize(capacity, 77);  // no class
    auto const coordinates = test::small_grid<2>(static_cast<int>(capacity));
    CoordinateSetOptions<2> options;
    options.spatial_range = SpatialRange<2>{2, {6, 10000}};
    auto count = upload(std::vector<std::int32_t>{rows}, exec);
    auto set = CoordinateSet<2, Space>::make({upload(coordinates, exec), std::move(count)}, options, exec);
    SparseTensor<2, float, Space> const x{set, upload_matrix(test::rounded<float>(logits), classes, exec)};
    auto const there = upload(labels, exec);
    std::vector<std::vector<float>> results;
    Losses<float, Space> const losses{classes, ignored, exec};
    losses.for_each([&](std::string const&, auto const& loss, auto const& gradient, auto const&) {
      auto const value = loss(x, there, exec);
      results.push_back(test::on_host(value, exec));
      auto dx = test::on_host(gradient(value.view(), x, there), exec);
      for (auto i = rows * classes; i < dx.size(); ++i) { REQUIRE(dx[i] == 0); }
      dx.resize(rows * classes);
      results.push_back(dx);
    });
    x.coordinates()->check(exec);
    return results;
  };
  auto const exact = run(rows);
  auto const roomy = run(5000);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    CAPTURE(i);
    CHECK(test::same_bits(exact[i], roomy[i]));
  }
}

TEST_CASE_TEMPLATE("losses: a label that is no class is named by its row", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr std::size_t classes = 3;
  Labels labels(40, 1);
  labels[17] = 3;
  labels[30] = -2;
  labels[5] = ignored;
  auto const there = upload(labels, exec);
  auto const logits = test::random_values(40 * classes, 3);
  Losses<float, Space> const losses{classes, ignored, exec};
  losses.for_each([&](std::string const& name, auto const& loss, auto const&, auto const&) {
    CAPTURE(name);
    SparseTensor<2, float, Space> const x{make_coordinate_set(test::small_grid<2>(40), {}, exec),
                                          upload_matrix(test::rounded<float>(logits), classes, exec)};
    auto const run = [&] {
      static_cast<void>(loss(x, there, exec));
      x.coordinates()->check(exec);
    };
    CHECK_THROWS_WITH_AS(run(), doctest::Contains("label of row 17"), invalid_argument);
  });
  // rows of a matrix have no set: who wants to know gives the loss a place
  auto const x = upload_matrix(test::rounded<float>(logits), classes, exec);
  ops::LabelErrors<Space> errors{exec};
  auto const options = CrossEntropyOptions<float>().ignore(ignored).errors(errors);
  auto const run = [&] {
    static_cast<void>(cross_entropy(x, there, options, exec));
    errors.check(exec);
  };
  CHECK_THROWS_WITH_AS(run(), doctest::Contains("label of row 17"), invalid_argument);
  errors.clear(exec);
  CHECK_NOTHROW(errors.check(exec));
}

TEST_CASE_TEMPLATE("losses: NaN logits make a NaN loss, ignored ones do not", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto logits = std::vector<float>(20 * 3, 0.5F);
  Labels labels(20, 2);
  labels[4] = ignored;
  labels[7] = 0;
  auto const there = upload(labels, exec);
  Losses<float, Space> const losses{3, ignored, exec};
  for (std::size_t const row : {4U, 9U}) {
    auto with_nan = logits;
    with_nan[row * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
    auto const x = upload_matrix(with_nan, 3, exec);
    losses.for_each([&](std::string const& name, auto const& loss, auto const&, auto const&) {
      CAPTURE(name);
      CHECK(std::isnan(number(loss(x, there, exec), exec)) == (row == 9));
    });
  }
}

TEST_CASE_TEMPLATE("losses: logits that exponentials overflow at are no trouble", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Labels const labels{0, 1, 2, 2};
  std::vector<float> const logits{30000,  -30000, 0,      30000, 29999, -5,
                                  -30000, -29990, -30001, 1e30F, 0,     1e30F};
  auto const x = upload_matrix(logits, 3, exec);
  auto const there = upload(labels, exec);
  auto const options = CrossEntropyOptions<float>().reduction(ops::Reduction::sum);
  auto const loss = cross_entropy(x, there, options, exec);
  double const expected =
      0 + std::log1p(std::exp(1.0)) + (11 + std::log1p(std::exp(-10.0) + std::exp(-11.0))) + std::log(2.0);
  CHECK(number(loss, exec) == doctest::Approx(expected).epsilon(1e-6));
  for (auto const value : test::on_host(cross_entropy_backward(loss, x, there, options, exec), exec)) {
    CHECK(std::isfinite(value));
  }
}

TEST_CASE_TEMPLATE("losses: processes that share what a mean divides by add up to one with all rows", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr std::size_t classes = 4;
  auto const logits = test::random_values(60 * classes, 3);
  auto const labels = some_labels(60, classes, ignored);
  auto const weights = upload(std::vector<double>{1, 2, 0.5, 1}, exec);
  auto const options = CrossEntropyOptions<double>().ignore(ignored).class_weights(weights.data());
  auto const part = [&](std::size_t first, std::size_t last) {
    auto const at = [](auto const& all, std::size_t i) {
      return all.begin() + static_cast<std::ptrdiff_t>(i);
    };
    return std::pair{
        upload_matrix(std::vector<double>(at(logits, first * classes), at(logits, last * classes)), classes,
                      exec),
        upload(Labels(at(labels, first), at(labels, last)), exec)};
  };
  auto const whole = part(0, 60);
  auto const loss = cross_entropy(whole.first, whole.second, options, exec);
  auto const one = one_number<double>(1, exec);
  auto const expected =
      test::on_host(cross_entropy_backward(one, whole.first, whole.second, options, exec), exec);
  double sum_of_weights = 0;
  for (std::size_t const first : {0U, 25U}) {
    auto const own = part(first, first == 0 ? 25 : 60);
    sum_of_weights += download(loss_weight(own.first, own.second, options, exec), exec)[0];
  }
  auto const total = upload(std::vector<double>{sum_of_weights}, exec);
  double sum = 0;
  std::vector<double> found;
  for (std::size_t const first : {0U, 25U}) {
    auto const own = part(first, first == 0 ? 25 : 60);
    auto shared = options;
    shared.normalizer(total.data());
    sum += number(cross_entropy(own.first, own.second, shared, exec), exec);
    auto const dx = test::on_host(cross_entropy_backward(one, own.first, own.second, shared, exec), exec);
    found.insert(found.end(), dx.begin(), dx.end());
  }
  CHECK(sum == doctest::Approx(number(loss, exec)).epsilon(1e-12));
  test::check_close(found, expected, 1e-13);
}

TEST_CASE_TEMPLATE("dice loss: processes that exchange their sums have the loss and gradient of all rows",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr std::size_t classes = 3;
  auto const logits = test::random_values(20 * classes, 3);
  auto const labels = some_labels(20, classes, ignored);
  auto const run = [&](std::size_t first, std::size_t last, test::PlayedExchange<Space>* exchange) {
    auto const at = [](auto const& all, std::size_t i) {
      return all.begin() + static_cast<std::ptrdiff_t>(i);
    };
    auto const x = upload_matrix(std::vector<double>(at(logits, first * classes), at(logits, last * classes)),
                                 classes, exec);
    auto const own = upload(Labels(at(labels, first), at(labels, last)), exec);
    auto options = DiceLossOptions<double>().ignore(ignored);
    if (exchange != nullptr) { options.exchange(static_cast<ops::RowExchange<Space>*>(exchange)); }
    auto const record = test::recorded(exec, [&](auto const& e) { return dice_loss(x, own, options, e); });
    auto const loss = exchange == nullptr ? number(dice_loss(x, own, options, exec), exec) : 0;
    return std::pair{test::input_gradients<double>(*record, one_number<double>(1, exec), exec).at(0), loss};
  };
  auto const expected = run(0, 20, nullptr).first;
  std::vector<std::vector<std::vector<double>>> sent(2);
  std::vector<double> found;
  for (std::size_t round = 0; round < 2; ++round) {
    auto const known = sent;
    found.clear();
    for (std::size_t rank = 0; rank < 2; ++rank) {
      test::PlayedExchange<Space> exchange{static_cast<int>(rank), 2};
      exchange.to_others = test::sent_by_others(known, rank, round);
      auto const own = run(rank == 0 ? 0 : 8, rank == 0 ? 8 : 20, &exchange).first;
      sent[rank] = exchange.sent;
      found.insert(found.end(), own.begin(), own.end());
    }
  }
  test::check_close(found, expected, 1e-13);
}

TEST_CASE("losses: what does not fit is refused by name")
{
  Execution<Host> const exec{1};
  auto const x = upload_matrix(std::vector<float>(12, 0.0F), 3, exec);
  Labels const three(3, 0);
  CHECK_THROWS_WITH_AS(static_cast<void>(cross_entropy(x, upload(three, exec), {}, exec)),
                       doctest::Contains("3 labels for 4 rows"), invalid_argument);
  auto const labels = upload(Labels(4, 0), exec);
  auto const share = CrossEntropyOptions<float>().label_smoothing(1.5);
  CHECK_THROWS_WITH_AS(static_cast<void>(cross_entropy(x, labels, share, exec)), doctest::Contains("1.5"),
                       invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(focal_loss(x, labels, FocalLossOptions<float>().gamma(-1), exec)),
                  invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(dice_loss(x, labels, DiceLossOptions<float>().smooth(-1), exec)),
                  invalid_argument);
  auto const two = upload_matrix(std::vector<float>{1, 1}, 2, exec);
  CHECK_THROWS_WITH_AS(static_cast<void>(cross_entropy_backward(two, x, labels, {}, exec)),
                       doctest::Contains("a loss is 1 x 1"), invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(lovasz_softmax(SparseTensor<3, float, Host>{}, labels, {}, exec)),
                       doctest::Contains("no coordinates"), invalid_argument);
}
