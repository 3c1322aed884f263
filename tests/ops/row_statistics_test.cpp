// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "norm_cases.hpp"

#include <cmath>
#include <cstddef>
#include <vector>

using namespace norm_cases;

namespace {

/// Mean and squared distances of a column, in long double.
struct Definition {
  long double mean = 0;
  long double m2 = 0;

  Definition(std::vector<double> const& values, std::size_t column, std::size_t columns)
  {
    auto const rows = values.size() / columns;
    for (auto i = column; i < values.size(); i += columns) { mean += values[i]; }
    mean /= static_cast<long double>(rows);
    for (auto i = column; i < values.size(); i += columns) { m2 += (values[i] - mean) * (values[i] - mean); }
  }
};

/// Values that a scalar can hold, `offset` away from those of random_values().
template <class Scalar>
std::vector<double> held_values(std::size_t count, double offset, unsigned seed)
{
  auto values = test::random_values(count, seed);
  for (auto& value : values) { value = test::wide(test::from_double<Scalar>(value + offset)); }
  return values;
}

/// Elements of a matrix from the second of its buffer on, where 16 bytes do not begin.
template <class Scalar, class Space>
struct Unaligned {
  Unaligned(std::vector<double> const& values, Execution<Space> const& exec)
  {
    auto shifted = values;
    shifted.insert(shifted.begin(), 0);
    buffer = upload(test::rounded<Scalar>(shifted), exec);
  }
  [[nodiscard]] MatrixView<Scalar const> view(std::int64_t rows, std::int64_t columns) const
  {
    return {buffer.data() + 1, rows, columns};
  }
  Buffer<Scalar, Space> buffer;
};

}  // namespace

TEST_CASE_TEMPLATE("batch_statistics: those of the definition, whatever the number of rows and channels",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<int> const numbers_of_rows{2,  3,  5,    31,   32,
                                         33, 71, 2048, 2051, 4613};  // parts are of 16 rows, slabs of 256
  std::vector<int> const numbers_of_channels{1, 4, 8, 12, 16, 19};
  for (int const rows : numbers_of_rows) {
    for (int const channels : numbers_of_channels) {
      CAPTURE(rows);
      CAPTURE(channels);
      test::for_each_scalar([&](auto scalar) {
        using Scalar = decltype(scalar);
        using Sum = accumulator_t<Scalar>;
        auto const columns = static_cast<std::size_t>(channels);
        auto const values = held_values<Scalar>(static_cast<std::size_t>(rows) * columns, 20, 1);
        auto const x = tensor_of<3, Scalar>(values, channels, exec);
        auto const found = batch_statistics(x, nullptr, exec);
        auto const mean = download(found.mean, exec);
        auto const variance = download(found.variance, exec);
        auto const count = download(found.count, exec);
        auto const rounding = test::rounding<Sum>();
        for (std::size_t c = 0; c < columns; ++c) {
          Definition const expected{values, c, columns};
          REQUIRE(count[c] == static_cast<Sum>(rows));
          REQUIRE(std::abs(mean[c] - expected.mean) <= 40 * rounding);
          REQUIRE(std::abs(variance[c] - expected.m2 / rows) <= 200 * rounding);
        }
      });
    }
  }
}

TEST_CASE_TEMPLATE("batch_statistics: of more rows than one kernel joins the parts of", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int rows = 1024 * 256 + 777;  // slabs are of 256 rows, and 1,024 of them are joined at once
  std::vector<double> values(rows);
  for (std::size_t i = 0; i < values.size(); ++i) { values[i] = static_cast<double>(i / 1000); }
  auto const x = upload_matrix(test::rounded<float>(values), 1, exec);
  auto const found = batch_statistics(x, nullptr, exec);
  Definition const expected{values, 0, 1};
  CHECK(download(found.count, exec)[0] == rows);
  CHECK(download(found.mean, exec)[0] == doctest::Approx(static_cast<double>(expected.mean)).epsilon(1e-6));
  CHECK(download(found.variance, exec)[0] ==
        doctest::Approx(static_cast<double>(expected.m2 / rows)).epsilon(1e-6));
}

TEST_CASE_TEMPLATE("norms: gradients of rows that do not begin at 16 bytes have the bits of rows that do",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  constexpr int rows = 77;
  constexpr int channels = 16;
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    using Sum = accumulator_t<Scalar>;
    auto const values = held_values<Scalar>(rows * channels, 0, 1);
    auto const cotangent = held_values<Scalar>(rows * channels, 0, 2);
    auto const x = tensor_of<3, Scalar>(values, channels, exec);
    auto const statistics = batch_statistics(x, nullptr, exec);
    auto const aligned = upload_matrix(test::rounded<Scalar>(cotangent), channels, exec);
    Unaligned<Scalar, Space> const unaligned{cotangent, exec};
    auto const gradients = [&](MatrixView<Scalar const> const& grad) {
      Affine<Sum, Space> affine{channels, exec};
      ops::AffineGradients<Sum> const to{affine.weight_grad.data(), affine.bias_grad.data(),
                                         GradientMode::overwrite};
      auto const dx =
          batch_norm_training_backward(grad, x, statistics, affine.weight.data(), eps, to, nullptr, exec);
      return Found<Scalar>{download(dx.data(), dx.size(), exec), download(affine.weight_grad, exec),
                           download(affine.bias_grad, exec)};
    };
    auto const expected = gradients({aligned.data(), rows, channels});
    auto const found = gradients(unaligned.view(rows, channels));
    CHECK(test::same_bits(found.x, expected.x));
    CHECK(test::same_bits(found.weight, expected.weight));
    CHECK(test::same_bits(found.bias, expected.bias));
  });
}
