// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../nn/tensors.hpp"
#include "../support/device.hpp"
#include "gradient_check.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#include <tessera/kmap/build.cuh>
#endif
#include <tessera/conv/convolution_backward.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/ops/unpool.hpp>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

using namespace tessera;

namespace {

using Shape = KernelShape<3>;

constexpr int in_channels = 8;
constexpr int out_channels = 5;

/// The 27 offsets around a voxel in an order of their own, and the number of each in the box.
struct Shuffled {
  std::vector<IntArray<3>> offsets;
  std::vector<std::size_t> number;
};

Shuffled shuffled_box()
{
  Shuffled result;
  result.number.resize(27);
  std::iota(result.number.begin(), result.number.end(), 0U);
  std::shuffle(result.number.begin(), result.number.end(), std::mt19937{4});
  auto const digits = test::kernel_digits(IntArray<3>(3));
  for (auto const k : result.number) {
    result.offsets.push_back({digits[k][0] - 1, digits[k][1] - 1, digits[k][2] - 1});
  }
  return result;
}

/// Numbers of the cross's offsets in the box of 3^3.
std::vector<std::size_t> cross_in_box()
{
  std::vector<std::size_t> result;
  auto const digits = test::kernel_digits(IntArray<3>(3));
  for (std::size_t k = 0; k < 27; ++k) {
    int off = 0;
    for (int i = 0; i < 3; ++i) { off += digits[k][i] != 1 ? 1 : 0; }
    if (off <= 1) { result.push_back(k); }
  }
  return result;
}

/// `weight` of the offsets `number` in a box of 27, zeros elsewhere.
template <class Scalar>
std::vector<Scalar> in_box(std::vector<Scalar> const& weight, std::vector<std::size_t> const& number)
{
  auto const matrix = weight.size() / number.size();
  std::vector<Scalar> result(27 * matrix, test::from_double<Scalar>(0));
  for (std::size_t k = 0; k < number.size(); ++k) {
    std::copy_n(weight.begin() + static_cast<std::ptrdiff_t>(k * matrix), matrix,
                result.begin() + static_cast<std::ptrdiff_t>(number[k] * matrix));
  }
  return result;
}

template <class Scalar>
std::vector<double> widened(std::vector<Scalar> const& values)
{
  std::vector<double> result;
  for (auto const value : values) { result.push_back(test::wide(value)); }
  return result;
}

/// A convolution over `shape` is that over the box with the weight put into it.
template <class Scalar, class Space>
void check_convolution(ConvolutionGeometry<3> const& g, std::vector<std::size_t> const& number)
{
  Execution<Space> const exec{};
  auto const x = test::upload_tensor<Scalar>(test::random_tensor<Scalar>(300, in_channels, {0, 2}, 5), exec);
  auto const size = number.size() * in_channels * out_channels;
  auto const weight = test::rounded<Scalar>(test::random_values(size, 6));
  auto const own = upload(weight, exec);
  auto const boxed = upload(in_box(weight, number), exec);
  ConvolutionGeometry<3> box = g;
  box.shape = {};
  box.kernel_size = 3;
  for (int i = 0; i < 3; ++i) { box.padding[i] = g.dilation[i]; }
  auto const kind = all_equal(g.stride, 1) ? ConvolutionKind::submanifold : ConvolutionKind::strided;
  auto const run = [&](auto const& geometry, auto const& values) {
    return convolution(x, values.data(), nullptr, out_channels, kind, geometry, ConvConfig{}, exec);
  };
  auto const y = run(g, own);
  auto const expected = run(box, boxed);
  CHECK(y.coordinates_on_host(exec).size() <= expected.coordinates_on_host(exec).size());
  if (kind == ConvolutionKind::strided && number.size() < 27) { return; }  // a box has further outputs
  test::check_close(y.features_on_host(exec), widened(expected.features_on_host(exec)),
                    10 * test::rounding<Scalar>());

  auto const mapped = detail::kernel_map(ConvConfig{}, *x.coordinates(), kind, g, exec);
  auto const in = detail::kernel_map(ConvConfig{}, *x.coordinates(), kind, box, exec);
  auto const backward = [&](auto const& values, KernelMap<Space>& map) {
    auto const view = plain_weight(values.data(), map.volume(), in_channels, out_channels);
    auto const dx = convolution_backward_data<Scalar>(expected.features(), view, map, ConvConfig{}, exec);
    return download(dx.data(), dx.size(), exec);
  };
  test::check_close(backward(own, *mapped.map), widened(backward(boxed, *in.map)),
                    10 * test::rounding<Scalar>());

  using Sum = accumulator_t<Scalar>;
  auto const backward_weight = [&](KernelMap<Space>& map) {
    Buffer<Sum, Space> result{std::int64_t{map.volume()} * in_channels * out_channels, exec};
    convolution_backward_weight<>(x.features(), expected.features(), map, result.data(),
                                  GradientMode::overwrite, exec);
    return download(result, exec);
  };
  auto const of_box = backward_weight(*in.map);
  std::vector<double> of_shape;
  constexpr std::size_t matrix = in_channels * out_channels;
  for (auto const k : number) {
    for (std::size_t n = 0; n < matrix; ++n) { of_shape.push_back(of_box[k * matrix + n]); }
  }
  test::check_close(backward_weight(*mapped.map), of_shape, 10 * test::rounding<Scalar>());
}

}  // namespace

TEST_CASE_TEMPLATE("kernel shapes: a convolution is that of the box with zeros, forward and backward", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  auto const list = shuffled_box();
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    for (int const stride : {1, 2}) {
      CAPTURE(stride);
      ConvolutionGeometry<3> g;
      g.stride = stride;
      g.shape = Shape::cross();
      g.padding = 1;
      check_convolution<Scalar, Space>(g, cross_in_box());
      g.kernel_size = 1;
      g.padding = 0;
      g.dilation = 2;
      g.shape = Shape::offsets(list.offsets);
      check_convolution<Scalar, Space>(g, list.number);
    }
  });
}

TEST_CASE_TEMPLATE("kernel shapes: pools over a list are those over the box, and have their gradients", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  using Options = PoolOptions<3>;
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(300, 3, {0, 1}, 7), exec);
  auto const list = Options(1).shape(Shape::offsets(shuffled_box().offsets)).stride(2);
  auto const box = Options(3).stride(2).padding(1);
  auto const y = max_pool(x, list, exec);
  CHECK(y.coordinates_on_host(exec) == max_pool(x, box, exec).coordinates_on_host(exec));
  CHECK(test::same_bits(y.features_on_host(exec), max_pool(x, box, exec).features_on_host(exec)));
  auto const gradient = [&](Options const& options) {
    auto const dx = average_pool_backward<3, float, Space>(y.features(), x, options, exec);
    return download(dx.data(), dx.size(), exec);
  };
  test::check_close(gradient(list), widened(gradient(box)), 1e-6);
  auto const cross = sum_pool(x, Options(3).stride(1).shape(Shape::cross()), exec);
  CHECK(cross.num_rows() > 0);
}

TEST_CASE_TEMPLATE("Conv: a kernel shape is an option like any other", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  nn::Conv<3, float, Space> cross{ConvOptions<3>(in_channels, 4, 5).shape(Shape::cross()), exec};
  CHECK(cross.weight().shape() == std::vector<std::int64_t>{13, in_channels, 4});
  nn::Conv<3, float, Space> list{
      ConvOptions<3>(in_channels, 4, 1).shape(Shape::offsets({{0, 0, 0}, {0, 0, 3}})), exec};
  CHECK(list.weight().shape() == std::vector<std::int64_t>{2, in_channels, 4});
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(50, in_channels, {0}, 7), exec);
  CHECK(cross(x, exec).coordinates() == x.coordinates());
  CHECK(list(x, exec).coordinates() == x.coordinates());
}
