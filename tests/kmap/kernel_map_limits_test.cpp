// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/kmap/build.hpp>

#include <climits>
#include <vector>

using namespace tessera;

TEST_CASE_TEMPLATE(
    "kernel map: what cannot be meant is refused before anything runs, and the set stays usable", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, {4, 4, 4}};
  auto const set = make_coordinate_set(std::vector<Coordinate<3>>{{0, {1, 1, 1}}}, options, exec);
  auto const map = [&](ConvolutionKind kind, IntArray<3> size, IntArray<3> stride, IntArray<3> padding,
                       IntArray<3> dilation) {
    return kernel_map(*set, kind, ConvolutionGeometry<3>{size, stride, padding, dilation}, compat::none,
                      exec);
  };
  auto const strided = ConvolutionKind::strided;
  CHECK_THROWS_WITH_AS(map(strided, IntArray<3>{3, 0, 3}, 2, 0, 1),
                       "convolution: kernel size [3, 0, 3] must be at least 1 on every axis",
                       invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 3, IntArray<3>{1, 1, 0}, 0, 1),
                       "convolution: stride [1, 1, 0] must be at least 1 on every axis", invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 3, 2, 0, IntArray<3>{0, 1, 1}),
                       "convolution: dilation [0, 1, 1] must be at least 1 on every axis", invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 3, 2, IntArray<3>{0, -1, 0}, 1),
                       "convolution: padding [0, -1, 0] must not be negative", invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 2000, 2, 0, 1), doctest::Contains("more than 1048576 offsets"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 2, 2, INT_MAX, 1), doctest::Contains("reach too far"), invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 3, 2, 0, 1 << 30), doctest::Contains("reach too far"), invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 7, 2, 0, 1), doctest::Contains("leave no output in a grid of [4, 4, 4]"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS(map(ConvolutionKind::submanifold, 3, 2, 0, 1),
                       doctest::Contains("stride [2, 2, 2] must be 1"), invalid_argument);
  CHECK_THROWS_WITH_AS(
      map(ConvolutionKind::transposed, 2, 2, 0, 1),
      doctest::Contains("no set of tensor stride [1, 1, 1] / [2, 2, 2] leads to this tensor"),
      invalid_argument);
  CHECK_THROWS_WITH_AS(map(ConvolutionKind::generative, 2, 2, 0, 1), doctest::Contains("does not divide"),
                       invalid_argument);
  CHECK(map(strided, 2, 2, 0, 1).map->num_out() == 1);
}

TEST_CASE_TEMPLATE("kernel map: coordinates at the limits of 32 bits neither wrap nor crash", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  int const far = 1 << 30;
  std::vector<Coordinate<1>> const in{{0, {-far}}, {0, {-far + 1}}, {0, {far}}, {0, {far - 1}}};
  auto const set = make_coordinate_set(in, {}, exec);
  ConvolutionGeometry<1> g;
  CHECK(download(kernel_map(*set, ConvolutionKind::submanifold, g, compat::none, exec).map->out_in(exec), 12,
                 exec) == std::vector<std::int32_t>{-1, 0, 1, 0, 1, -1, 3, 2, -1, -1, 3, 2});
  g.stride = 2;
  g.kernel_size = 2;
  auto const down = kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec);
  CHECK(download(down.coordinates->data(), down.map->num_out(), exec) ==
        std::vector<Coordinate<1>>{{0, {-far / 2}}, {0, {far / 2 - 1}}, {0, {far / 2}}});
  CoordinateSetOptions<1> options;
  options.tensor_stride = 4;
  g.stride = 4;
  auto const coarse = make_coordinate_set(in, options, exec);
  CHECK_THROWS_WITH_AS((void)kernel_map(*coarse, ConvolutionKind::generative, g, compat::none, exec),
                       doctest::Contains("do not fit 32 bits"), invalid_argument);
}

TEST_CASE_TEMPLATE("kernel map: strides that only wrap to a set's stride lead to no set", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<2> options;
  options.tensor_stride = 1 << 16;
  auto const input = make_coordinate_set(std::vector<Coordinate<2>>{{0, {1, 1}}, {0, {5, 2}}}, options, exec);
  ConvolutionGeometry<2> same;
  same.padding = 1;
  auto const derived = kernel_map(*input, ConvolutionKind::strided, same, compat::none, exec).coordinates;
  ConvolutionGeometry<2> wraps = same;
  wraps.stride = (1 << 16) + 1;  // times 2^16 is 2^16 modulo 2^32
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(
                        kernel_map(*derived, ConvolutionKind::transposed, wraps, compat::none, exec));
                  }),
                  "no set of tensor stride [65536, 65536] / [65537, 65537] leads to this tensor"));
  // outputs so far out that what they would read does not fit
  options.tensor_stride = 1;
  auto const far = input->derive({upload(std::vector<Coordinate<2>>{{0, {1 << 30, 0}}}, exec)},
                                 CoordinateBox<2>{1, {1 << 30, 0}, {1 << 30, 0}},
                                 CoordinateSetOptions<2>{1 << 17, {}}, exec);
  ConvolutionGeometry<2> doubles = same;
  doubles.stride = 2;
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(
                        kernel_map(*far, ConvolutionKind::transposed, doubles, compat::none, exec));
                  }),
                  "read coordinates that do not fit 32 bits"));
}
