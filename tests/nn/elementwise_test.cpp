// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "tensors.hpp"

#include <tessera/nn/activation.hpp>
#include <tessera/nn/dropout.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/ops/combine.hpp>

#include <limits>

using namespace tessera;

namespace {

/// Applies `definition` to every value.
template <class Definition>
std::vector<double> each(std::vector<double> values, Definition const& definition)
{
  for (auto& value : values) { value = definition(value); }
  return values;
}

}  // namespace

TEST_CASE_TEMPLATE("activations: each follows its definition, of tensors and of matrices", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::size_t const rows : {0U, 1U, 7U, 301U}) {
    for (int const channels : {1, 3, 16}) {
      CAPTURE(rows);
      CAPTURE(channels);
      test::for_each_scalar([&](auto scalar) {
        using Scalar = decltype(scalar);
        auto const in = test::random_tensor<Scalar>(rows, channels, {0}, 1);
        auto const x = test::upload_tensor<Scalar>(in, exec);
        auto const features = x.features();
        Matrix<Scalar, Space> const matrix{copy(features.data, features.size(), exec), features.rows,
                                           features.columns};
        auto const check = [&](auto&& module, auto const& definition) {
          SparseTensor<3, Scalar, Space> const y = module(x, exec);
          CHECK(y.coordinates() == x.coordinates());
          auto const expected = each(in.features, definition);
          test::check_close(y.features_on_host(exec), expected, test::rounding<Scalar>());
          Matrix<Scalar, Space> const z = module(matrix, exec);
          CHECK(z.rows() == x.features().rows);
          CHECK(z.columns() == channels);
          CHECK(test::same_bits(download(z.data(), z.size(), exec), y.features_on_host(exec)));
        };
        check(nn::ReLU<3, Scalar, Space>{}, [](double v) { return std::max(v, 0.0); });
        check(nn::LeakyReLU<3, Scalar, Space>{}, [](double v) { return v > 0 ? v : 0.01 * v; });
        check(nn::LeakyReLU<3, Scalar, Space>{0.2}, [](double v) { return v > 0 ? v : 0.2 * v; });
        check(nn::SiLU<3, Scalar, Space>{}, [](double v) { return v / (1 + std::exp(-v)); });
        check(nn::Sigmoid<3, Scalar, Space>{}, [](double v) { return 1 / (1 + std::exp(-v)); });
        check(nn::Tanh<3, Scalar, Space>{}, [](double v) { return std::tanh(v); });
        check(nn::GELU<3, Scalar, Space>{},
              [](double v) { return v / 2 * (1 + std::erf(v / std::sqrt(2))); });
        check(nn::Identity<3, Scalar, Space>{}, [](double v) { return v; });
      });
    }
  }
}

TEST_CASE_TEMPLATE("activations: NaN stays NaN and infinity has its limit", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto in = test::random_tensor<float>(3, 1, {0}, 1);
  double const infinity = std::numeric_limits<double>::infinity();
  in.features = {std::numeric_limits<double>::quiet_NaN(), infinity, -infinity};
  auto const x = test::upload_tensor<float>(in, exec);
  auto const y = relu(x, exec).features_on_host(exec);
  CHECK(std::isnan(y[0]));
  CHECK(y[1] == std::numeric_limits<float>::infinity());
  CHECK(y[2] == 0);
  CHECK(std::isnan(leaky_relu(x, 0.1, exec).features_on_host(exec)[0]));
  CHECK(std::isnan(silu(x, exec).features_on_host(exec)[0]));
  CHECK(std::isnan(gelu(x, exec).features_on_host(exec)[0]));
  auto const s = sigmoid(x, exec).features_on_host(exec);
  CHECK(std::isnan(s[0]));
  CHECK(s[1] == 1);
  CHECK(s[2] == 0);
  auto const t = tanh(x, exec).features_on_host(exec);
  CHECK(std::isnan(t[0]));
  CHECK(t[1] == 1);
  CHECK(t[2] == -1);
}

TEST_CASE_TEMPLATE("activations: small results keep their digits where x is far below 0", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto in = test::random_tensor<float>(4, 1, {0}, 1);
  in.features = {-4, -8, -12, -30};
  auto const x = test::upload_tensor<float>(in, exec);
  auto const g = gelu(x, exec).features_on_host(exec);
  auto const s = sigmoid(x, exec).features_on_host(exec);
  for (std::size_t i = 0; i < 3; ++i) {  // the last underflows as a gelu
    double const v = in.features[i];
    CHECK(double{g[i]} == doctest::Approx(v / 2 * std::erfc(-v / std::sqrt(2.0))).epsilon(1e-4));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(double{s[i]} ==
          doctest::Approx(std::exp(in.features[i]) / (1 + std::exp(in.features[i]))).epsilon(1e-4).scale(0));
  }
}

TEST_CASE_TEMPLATE("multiply: products of two tensors on one coordinate set, NaN where one is", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    for (int const channels : {5, 16}) {
      auto const a = test::random_tensor<Scalar>(123, channels, {0, 1}, 1);
      auto b = test::random_tensor<Scalar>(123, channels, {0, 1}, 2);
      auto expected = a.features;
      for (std::size_t i = 0; i < expected.size(); ++i) { expected[i] *= b.features[i]; }
      auto const x = test::upload_tensor<Scalar>(a, exec);
      auto const with = [&] {
        return x.with_features(upload_matrix(test::rounded<Scalar>(b.features), channels, exec));
      };
      test::check_close(multiply(x, with(), exec).features_on_host(exec), expected, test::rounding<Scalar>());
      b.features[7] = std::numeric_limits<double>::quiet_NaN();
      CHECK(std::isnan(test::wide(multiply(x, with(), exec).features_on_host(exec)[7])));
    }
  });
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(9, 4, {0}, 1), exec);
  CHECK(test::has(test::error_of([&] {
                    (void)multiply(x, cat({x, x}, exec), exec);
                  }),
                  "multiply: 4 and 8 channels"));
  auto const none = test::upload_tensor<float>(test::random_tensor<float>(0, 4, {0}, 1), exec);
  CHECK(multiply(none, none, exec).num_rows() == 0);
}

TEST_CASE_TEMPLATE("add: sums of two tensors on one coordinate set", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    auto const a = test::random_tensor<Scalar>(123, 5, {0, 1}, 1);
    auto const b = test::random_tensor<Scalar>(123, 5, {0, 1}, 2);
    auto expected = a.features;
    for (std::size_t i = 0; i < expected.size(); ++i) { expected[i] += b.features[i]; }
    auto const x = test::upload_tensor<Scalar>(a, exec);
    auto const y = x.with_features(upload_matrix(test::rounded<Scalar>(b.features), 5, exec));
    test::check_close(add(x, y, exec).features_on_host(exec), expected, test::rounding<Scalar>());
  });
}

TEST_CASE_TEMPLATE("cat: channels of the tensors one after the other", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    for (auto const& widths : {std::vector{8, 16}, std::vector{3, 8, 1}, std::vector{5}}) {
      CAPTURE(widths.size());
      std::vector<test::HostTensor> parts;
      for (auto const width : widths) {
        parts.push_back(test::random_tensor<Scalar>(99, width, {0}, static_cast<std::uint32_t>(width)));
      }
      std::vector<double> expected;
      for (std::size_t row = 0; row < 99; ++row) {
        for (auto const& part : parts) {
          for (int c = 0; c < part.channels; ++c) { expected.push_back(part.at(row, c)); }
        }
      }
      std::vector tensors{test::upload_tensor<Scalar>(parts[0], exec)};
      for (std::size_t i = 1; i < parts.size(); ++i) {
        tensors.push_back(tensors[0].with_features(
            upload_matrix(test::rounded<Scalar>(parts[i].features), parts[i].channels, exec)));
      }
      auto const y = cat(tensors, exec);
      CHECK(y.coordinates() == tensors[0].coordinates());
      test::check_close(y.features_on_host(exec), expected, 0);
      if (tensors.size() == 2) {
        auto const same = cat({tensors[0], tensors[1]}, exec);
        CHECK(test::same_bits(same.features_on_host(exec), y.features_on_host(exec)));
      }
    }
  });
}

TEST_CASE_TEMPLATE("add and cat: what does not fit together is refused with its numbers", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const in = test::random_tensor<float>(10, 4, {0}, 1);
  auto const x = test::upload_tensor<float>(in, exec);
  auto const other = test::upload_tensor<float>(in, exec);  // equal voxels, but another set
  CHECK(test::has(test::error_of([&] { (void)add(x, other, exec); }), "different coordinate sets"));
  CHECK(test::has(test::error_of([&] { (void)cat({x, other}, exec); }), "different coordinate sets"));
  CHECK(test::has(test::error_of([&] { (void)add(x, cat({x, x}, exec), exec); }), "4 and 8 channels"));
  CHECK(test::has(test::error_of([&] { (void)cat(std::vector<SparseTensor<3, float, Space>>{}, exec); }),
                  "no tensors"));
}

TEST_CASE_TEMPLATE("add and cat: no rows", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(0, 4, {0}, 1), exec);
  CHECK(add(x, x, exec).num_rows() == 0);
  auto const y = cat({x, x}, exec);
  CHECK(y.num_rows() == 0);
  CHECK(y.channels() == 8);
}

TEST_CASE_TEMPLATE("dropout: drops the share asked for, scales the rest, and repeats for a seed", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const in = test::random_tensor<float>(4000, 10, {0}, 1);
  auto const x = test::upload_tensor<float>(in, exec);
  auto const y = dropout(x, 0.3, 7, exec).features_on_host(exec);
  double dropped = 0;
  std::vector<double> expected = in.features;
  for (std::size_t i = 0; i < y.size(); ++i) {
    dropped += y[i] == 0 ? 1 : 0;
    expected[i] = y[i] == 0 ? 0 : in.features[i] / 0.7;
  }
  test::check_close(y, expected, 1e-6);
  CHECK(std::abs(dropped / static_cast<double>(y.size()) - 0.3) < 0.01);
  CHECK(test::same_bits(y, dropout(x, 0.3, 7, exec).features_on_host(exec)));
  CHECK_FALSE(test::same_bits(y, dropout(x, 0.3, 8, exec).features_on_host(exec)));
  CHECK(test::same_bits(dropout(x, 0.0, 7, exec).features_on_host(exec), test::rounded<float>(in.features)));
  test::check_close(dropout(x, 1.0, 7, exec).features_on_host(exec), std::vector<double>(y.size(), 0.0), 0);

  Execution<Host> const host{};
  auto const on_host = dropout(test::upload_tensor<float>(in, host), 0.3, 7, host);
  CHECK(test::same_bits(y, on_host.features_on_host(host)));
}

TEST_CASE_TEMPLATE("dropout module: acts in training only, with other elements every time", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(100, 4, {0}, 1), exec);
  nn::Dropout<3, float, Space> dropout{0.5, 3};
  CHECK(test::same_bits(dropout(x, exec).features_on_host(exec), x.features_on_host(exec)));
  dropout.train();
  auto const first = dropout(x, exec).features_on_host(exec);
  auto const second = dropout(x, exec).features_on_host(exec);
  CHECK_FALSE(test::same_bits(first, second));
  nn::Dropout<3, float, Space> again{0.5, 3};
  again.train();
  CHECK(test::same_bits(first, again(x, exec).features_on_host(exec)));
  CHECK(test::has(test::error_of([] { nn::Dropout<3, float, Space>{1.5}; }), "probability 1.5"));
}

TEST_CASE_TEMPLATE(
    "dropout module: those of one network that have no seed drop other elements, the same on every run",
    Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  using Drop = nn::Dropout<3, float, Space>;
  Execution<Space> const exec{};
  auto const ones = upload_matrix(std::vector<float>(64, 1), 1, exec);
  auto const steps = upload(std::vector<std::uint64_t>{2}, exec);
  auto const kept_by = [&](Drop& layer) {
    layer.train();
    auto const y = layer.forward(ones, exec);
    return download(y.data(), y.size(), exec);
  };
  struct Net {
    Net()
        : first{&all.template add<Drop>()},
          seeded{&all.template add<Drop>(0.5, 9)},
          inner{&all.template add<nn::Sequential<3, float, Space>>()},
          second{&inner->template add<Drop>()},
          third{&all.template add<Drop>(0.5)}
    {}

    nn::Sequential<3, float, Space> all;
    Drop* first;
    Drop* seeded;
    nn::Sequential<3, float, Space>* inner;
    Drop* second;
    Drop* third;
  };
  for (bool const by_steps : {false, true}) {
    CAPTURE(by_steps);
    Net net;
    Net again;
    Drop alone;
    Drop seeded{0.5, 9};
    for (auto* const network : std::vector<nn::ModuleBase*>{&net.all, &again.all, &alone, &seeded}) {
      nn::seed_by_step<Space>(*network, by_steps ? steps.data() : nullptr);
    }
    auto const first = kept_by(*net.first);
    auto const second = kept_by(*net.second);
    auto const third = kept_by(*net.third);
    CHECK(first != second);
    CHECK(first != third);
    CHECK(second != third);
    CHECK(first == kept_by(alone));
    CHECK(kept_by(*net.seeded) == kept_by(seeded));
    CHECK(second == kept_by(*again.second));
    CHECK(third == kept_by(*again.third));
  }
}
