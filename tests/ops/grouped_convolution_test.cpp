// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "gradient_check.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/nn/grouped_conv.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace tessera;

namespace {

using Options = GroupedConvolutionOptions<3>;

/// grouped_convolution() as its formula says, over `map` [rows, volume].
std::vector<double> by_definition(std::vector<std::int32_t> const& map, std::size_t volume,
                                  std::vector<double> const& x, std::vector<double> const& weight,
                                  std::vector<double> const& bias, std::size_t groups, std::size_t ins)
{
  auto const outs = bias.size();
  auto const in = ins / groups;
  std::vector<double> y;
  for (std::size_t o = 0; o * volume < map.size(); ++o) {
    for (std::size_t c = 0; c < outs; ++c) {
      auto const group = c / (outs / groups);
      double sum = bias[c];
      for (std::size_t k = 0; k < volume; ++k) {
        auto const row = map[o * volume + k];
        if (row < 0) { continue; }
        for (std::size_t j = 0; j < in; ++j) {
          sum += x[static_cast<std::size_t>(row) * ins + group * in + j] * weight[(k * in + j) * outs + c];
        }
      }
      y.push_back(sum);
    }
  }
  return y;
}

template <class Scalar, class Space>
void check_forward(int size, int stride, int ins, int outs, int groups)
{
  CAPTURE(size);
  CAPTURE(ins);
  CAPTURE(outs);
  CAPTURE(groups);
  Execution<Space> const exec{};
  auto const host = test::random_tensor<Scalar>(200, ins, {0, 2}, 5);
  auto const x = test::upload_tensor<Scalar>(host, exec);
  Options options;
  options.groups = groups;
  options.out_channels = outs;
  options.kind = stride == 1 ? ConvolutionKind::submanifold : ConvolutionKind::strided;
  options.geometry.kernel_size = size;
  options.geometry.stride = stride;
  auto const volume = options.geometry.volume();
  auto const values = [](int count, unsigned seed) {
    auto result = test::random_values(static_cast<std::size_t>(count), seed);
    for (auto& value : result) { value = test::wide(test::from_double<Scalar>(value)); }
    return result;
  };
  auto const weight = values(volume * ins / groups * outs, 1);
  auto const bias = values(outs, 2);
  auto const own_weight = upload(test::rounded<Scalar>(weight), exec);
  auto const own_bias = upload(test::rounded<Scalar>(bias), exec);
  auto const y = grouped_convolution(x, own_weight.data(), own_bias.data(), options, exec);
  auto const map =
      detail::kernel_map(options.config, *x.coordinates(), options.kind, options.geometry, exec).map;
  auto const out_in = download(map->out_in(exec), map->num_out() * map->volume(), exec);
  CHECK(y.num_rows() == map->num_out());
  test::check_close(y.features_on_host(exec),
                    by_definition(out_in, static_cast<std::size_t>(volume), host.features, weight, bias,
                                  static_cast<std::size_t>(groups), static_cast<std::size_t>(ins)),
                    10 * test::rounding<Scalar>());
}

/// Values by the formula and gradients by finite differences, of `rows` voxels, of whose batch entries one has none.
template <int Dim, class Space>
void check_dimension(int rows, ConvolutionKind kind, int groups)
{
  CAPTURE(Dim);
  CAPTURE(rows);
  CAPTURE(groups);
  Execution<Space> const exec{};
  constexpr int ins = 4;
  constexpr int outs = 8;
  auto coordinates = test::small_grid<Dim>(rows);
  for (auto& row : coordinates) { row.batch *= 2; }
  auto const set = make_coordinate_set(coordinates, CoordinateSetOptions<Dim>{}, exec);
  GroupedConvolutionOptions<Dim> options;
  options.groups = groups;
  options.out_channels = outs;
  options.kind = kind;
  options.geometry.kernel_size = kind == ConvolutionKind::submanifold ? 3 : 2;
  options.geometry.stride = kind == ConvolutionKind::submanifold ? 1 : 2;
  auto const volume = static_cast<std::size_t>(options.geometry.volume());
  auto const features = test::random_values(coordinates.size() * ins, 1);
  auto const weight = test::random_values(volume * ins / static_cast<std::size_t>(groups) * outs, 2);
  std::vector<double> const bias(outs, 0.5);
  auto const x = upload_matrix(features, ins, exec);
  auto const own_weight = upload(weight, exec);
  auto const own_bias = upload(bias, exec);
  SparseTensor<Dim, double, Space> const tensor{set, upload_matrix(features, ins, exec)};
  auto const y = grouped_convolution(tensor, own_weight.data(), own_bias.data(), options, exec);
  auto const map = detail::kernel_map(options.config, *set, kind, options.geometry, exec).map;
  auto const out_in = download(map->out_in(exec), map->num_out() * map->volume(), exec);
  auto const by_formula = [&](std::vector<double> const& of, std::vector<double> const& by) {
    return by_definition(out_in, volume, of, by, bias, static_cast<std::size_t>(groups), ins);
  };
  test::check_close(y.features_on_host(exec), by_formula(features, weight), 1e-12);
  CHECK((y.num_rows() > 0) == (rows > 0));

  auto const cotangent = test::random_values(static_cast<std::size_t>(y.num_rows()) * outs, 3);
  auto const grad = upload_matrix(cotangent, outs, exec);
  auto const dx = grouped_convolution_backward_data<double>(grad, own_weight.data(), ins, groups, *map, exec);
  auto const of_features = [&](auto const& v) { return test::dot(by_formula(v, weight), cotangent); };
  test::check_close(test::on_host(dx, exec), test::finite_differences(features, of_features), 1e-8);
  Buffer<double, Space> dw{own_weight.size(), exec};
  grouped_convolution_backward_weight<double>(x, grad, groups, *map, dw.data(), GradientMode::overwrite,
                                              exec);
  auto const of_weight = [&](auto const& v) { return test::dot(by_formula(features, v), cotangent); };
  test::check_close(download(dw, exec), test::finite_differences(weight, of_weight), 1e-8);
}

}  // namespace

TEST_CASE_TEMPLATE("grouped_convolution: values and gradients in one to four dimensions", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (int const rows : std::vector<int>{0, 1, 11}) {
    for (int const groups : std::vector<int>{2, 4}) {
      auto const submanifold = ConvolutionKind::submanifold;
      check_dimension<1, Space>(rows, submanifold, groups);
      check_dimension<2, Space>(rows, ConvolutionKind::strided, groups);
      check_dimension<3, Space>(rows, ConvolutionKind::strided, groups);
      check_dimension<4, Space>(rows, submanifold, groups);
    }
  }
}

TEST_CASE_TEMPLATE("grouped_convolution: each group of channels by itself, depthwise and wider", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    check_forward<Scalar, Space>(3, 1, 16, 16, 16);  // depthwise, in packs
    check_forward<Scalar, Space>(5, 1, 6, 6, 6);     // and not
    check_forward<Scalar, Space>(7, 1, 8, 8, 8);
    check_forward<Scalar, Space>(2, 2, 8, 8, 8);
    check_forward<Scalar, Space>(3, 2, 4, 8, 4);  // two outputs a channel
    check_forward<Scalar, Space>(3, 1, 12, 8, 4);
    check_forward<Scalar, Space>(3, 1, 6, 4, 2);
    check_forward<Scalar, Space>(3, 1, 5, 7, 1);  // one group: a convolution
  });
}

TEST_CASE_TEMPLATE("grouped_convolution: nothing to read, one point, and groups that do not divide", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  nn::GroupedConv<3, float, Space> conv{ConvOptions<3>(4, 4, 5).bias(true), 4, exec};
  CHECK(conv.weight().shape() == std::vector<std::int64_t>{125, 1, 4});
  auto const nothing = test::upload_tensor<float>(test::random_tensor<float>(0, 4, {0}, 5), exec);
  CHECK(conv(nothing, exec).num_rows() == 0);
  auto const one = test::random_tensor<float>(1, 4, {0}, 5);
  auto const found = conv(test::upload_tensor<float>(one, exec), exec).features_on_host(exec);
  auto const weight = download(conv.weight().data(), 500, exec);
  auto const bias = download(conv.bias().data(), 4, exec);
  for (std::size_t c = 0; c < 4; ++c) {  // the centre alone has a neighbour
    CHECK(found[c] == doctest::Approx(one.features[c] * double{weight[62 * 4 + c]} + double{bias[c]}));
  }
  using Conv = nn::GroupedConv<3, float, Space>;
  CHECK_THROWS_WITH_AS(Conv(ConvOptions<3>(6, 4, 3), 4, exec),
                       "GroupedConv: 4 groups do not divide 6 -> 4 channels", invalid_argument);
  CHECK_THROWS_AS(Conv(ConvOptions<3>(4, 6, 3), 4, exec), invalid_argument);
  CHECK_THROWS_AS(Conv(ConvOptions<3>(4, 4, 3), 0, exec), invalid_argument);
  auto const wide = test::upload_tensor<float>(test::random_tensor<float>(3, 5, {0}, 5), exec);
  CHECK_THROWS_AS(static_cast<void>(conv(wide, exec)), invalid_argument);
}

TEST_CASE_TEMPLATE(
    "grouped_convolution: weight gradients of many rows sum them in slabs, the same bits twice", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const host = test::random_tensor<float>(3000, 4, {0, 1}, 9);
  auto const x = test::upload_tensor<float>(host, exec);
  ConvolutionGeometry<3> const geometry;
  auto const map =
      detail::kernel_map(ConvConfig{}, *x.coordinates(), ConvolutionKind::submanifold, geometry, exec).map;
  auto const gradient = [&](GradientMode mode, float begin) {
    auto result = upload(std::vector<float>(27 * 4, begin), exec);
    grouped_convolution_backward_weight<float>(x.features(), x.features(), 4, *map, result.data(), mode,
                                               exec);
    return download(result, exec);
  };
  auto const once = gradient(GradientMode::overwrite, 7);
  CHECK(test::same_bits(once, gradient(GradientMode::overwrite, -1)));
  auto const out_in = download(map->out_in(exec), map->num_out() * 27, exec);
  struct Sum {
    double value = 0;
    double magnitude = 0;  // of the products, whose rounding errors are relative to it
    double count = 0;
  };
  std::vector<Sum> expected(27 * 4);
  for (std::size_t n = 0; n < out_in.size(); ++n) {
    if (out_in[n] < 0) { continue; }
    for (std::size_t c = 0; c < 4; ++c) {
      auto const product = double{host.features[static_cast<std::size_t>(out_in[n]) * 4 + c]} *
                           double{host.features[n / 27 * 4 + c]};
      auto& sum = expected[n % 27 * 4 + c];
      sum.value += product;
      sum.magnitude += std::abs(product);
      ++sum.count;
    }
  }
  // Errors of a chain of sums add up at most; those of random values grow like the root of its length.
  auto const largest_error = [&](std::vector<float> const& found, double before) {
    double worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      auto const& sum = expected[i];
      auto const bound = (8 + std::sqrt(sum.count)) * std::ldexp(sum.magnitude + before, -24);
      auto const error = std::abs(double{found[i]} - sum.value - before);
      worst = std::max(worst, bound > 0 ? error / bound : error > 0 ? 1e9 : 0);
    }
    return worst;
  };
  CHECK(largest_error(once, 0) <= 1);
  CHECK(largest_error(gradient(GradientMode::accumulate, 5), 5) <= 1);
}
