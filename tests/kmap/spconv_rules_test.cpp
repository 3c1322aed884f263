// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Inverse and expanding convolutions, and what spconv's rules change. tests/nn/sparse_layers_test.cpp holds
// the values of such layers against dense grids.

#include "../support/device.hpp"
#include "../support/oracle.hpp"
#include "../support/spaces.hpp"

#include <tessera/kmap/build.hpp>

using namespace tessera;

namespace {

template <int Dim, class Space>
std::vector<Coordinate<Dim>> rows_of(CoordinateSet<Dim, Space> const& set, Execution<Space> const& exec)
{
  return download(set.data(), set.num_rows(), exec);
}

template <class Space>
std::vector<std::int32_t> values_of(KernelMap<Space> const& map, Execution<Space> const& exec)
{
  return download(map.out_in(exec), map.num_out() * map.volume(), exec);
}

ConvolutionGeometry<2> geometry(int size, int stride, int padding = 0, int dilation = 1)
{
  ConvolutionGeometry<2> g;
  g.kernel_size = size;
  g.stride = stride;
  g.padding = padding;
  g.dilation = dilation;
  return g;
}

template <class Space>
CoordinateSetPointer<2, Space> random_set(Execution<Space> const& exec, bool with_range = false)
{
  CoordinateSetOptions<2> options;
  if (with_range) { options.spatial_range = SpatialRange<2>{2, {9, 12}}; }
  return make_coordinate_set(test::random_coordinates<2>(40, 2, 0, {8, 11}, 5), options, exec);
}

}  // namespace

TEST_CASE_TEMPLATE("inverse convolution: the kernel size alone finds the layer to undo", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set = random_set(exec);
  for (int const stride : {1, 2, 3}) {
    CAPTURE(stride);
    auto const down = kernel_map(*set, ConvolutionKind::strided, geometry(3, stride, 1), compat::none, exec);
    REQUIRE(down.coordinates != set);
    auto const up =
        kernel_map(*down.coordinates, ConvolutionKind::inverse, geometry(3, 1), compat::none, exec);
    CHECK(up.coordinates == set);
    auto const volume = static_cast<std::size_t>(down.map->volume());
    CHECK(values_of(*up.map, exec) ==
          test::transposed_map_by_definition(values_of(*down.map, exec),
                                             static_cast<std::size_t>(set->num_rows()), volume));
    // each way keeps its own: what undoes this one is not what undoes the next level
    auto const deeper =
        kernel_map(*down.coordinates, ConvolutionKind::strided, geometry(3, 2, 1), compat::none, exec);
    auto const back =
        kernel_map(*deeper.coordinates, ConvolutionKind::inverse, geometry(3, 1), compat::none, exec);
    CHECK(back.coordinates == down.coordinates);
  }
  auto const wide = kernel_map(*set, ConvolutionKind::expanding, geometry(4, 2, 1), compat::none, exec);
  CHECK(kernel_map(*wide.coordinates, ConvolutionKind::inverse, geometry(4, 1), compat::none, exec)
            .coordinates == set);
}

TEST_CASE_TEMPLATE("inverse convolution: several layers to one set are told apart or refused", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set = random_set(exec);
  auto const down = [&](ConvolutionGeometry<2> const& g) {
    return kernel_map<HashmapOnTheFly, MinkowskiDownsample>(*set, ConvolutionKind::strided, g, compat::none,
                                                            exec);
  };
  auto const small = down(geometry(2, 2));
  auto const large = down(geometry(3, 2, 1));
  auto const dilated = down(geometry(3, 2, 1, 2));
  REQUIRE(small.coordinates == large.coordinates);
  REQUIRE(large.coordinates == dilated.coordinates);
  static_cast<void>(down(geometry(3, 2, 1)));  // a second layer of the same geometry is the same layer here
  auto const up = [&](ConvolutionGeometry<2> const& g) {
    return kernel_map(*large.coordinates, ConvolutionKind::inverse, g, compat::none, exec).map;
  };
  CHECK(up(geometry(2, 1)) == transpose(*small.map, exec));
  CHECK(up(geometry(3, 2, 1)) == transpose(*large.map, exec));
  CHECK(up(geometry(3, 2, 1, 2)) == transpose(*dilated.map, exec));
  CHECK_THROWS_WITH_AS(
      (void)up(geometry(3, 1)),
      doctest::Contains("2 layers of kernel size [3, 3] led to this tensor, none of them with stride [1, 1]"),
      invalid_argument);
  CHECK_THROWS_WITH_AS((void)up(geometry(5, 1)),
                       doctest::Contains("no layer of kernel size [5, 5] led to this tensor; those that did "
                                         "have kernel sizes: [2, 2], [3, 3], [3, 3]"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS((void)kernel_map(*set, ConvolutionKind::inverse, geometry(3, 1), compat::none, exec),
                       doctest::Contains("kernel sizes: none"), invalid_argument);
}

TEST_CASE_TEMPLATE("kernel of one voxel: stride 1 keeps the voxels, and its inverse does", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set = random_set(exec, true);
  for (auto const kind : {ConvolutionKind::strided, ConvolutionKind::expanding, ConvolutionKind::inverse}) {
    CHECK(kernel_map(*set, kind, geometry(1, 1), compat::none, exec).coordinates == set);
  }
  for (auto const kind : {ConvolutionKind::strided, ConvolutionKind::expanding}) {
    // a dense one with padding shifts or cuts the grid; spconv multiplies the rows whatever the padding
    CHECK(kernel_map(*set, kind, geometry(1, 1, 1), compat::none, exec).coordinates != set);
    CHECK(kernel_map(*set, kind, geometry(1, 1, 1), compat::spconv, exec).coordinates == set);
  }
  auto const halved = kernel_map(*set, ConvolutionKind::strided, geometry(1, 2), compat::none, exec);
  auto const up = [&](Compatibility compat) {
    return kernel_map(*halved.coordinates, ConvolutionKind::inverse, geometry(1, 1), compat, exec)
        .coordinates;
  };
  CHECK(up(compat::none) == set);
  CHECK(up(compat::spconv) == halved.coordinates);
}

TEST_CASE_TEMPLATE(
    "expanding convolution: without a range nothing is lost, with one its grid is the dense one", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto g = geometry(3, 2, 2, 2);
  g.output_padding = 1;
  auto const set = random_set(exec);
  auto const wide = kernel_map(*set, ConvolutionKind::expanding, g, compat::none, exec).coordinates;
  test::Coordinates<2> expected;
  for (auto const& row : rows_of(*set, exec)) {
    for (auto const& digits : test::kernel_digits(g.kernel_size)) {
      auto to = row;
      for (int i = 0; i < 2; ++i) { to.position[i] = 2 * row.position[i] - 2 + 2 * digits[i]; }
      expected.push_back(to);
    }
  }
  CHECK(rows_of(*wide, exec) == test::sorted_unique(expected));

  auto const ranged = random_set(exec, true);
  auto const extent = [&](Compatibility compat) {
    return kernel_map(*ranged, ConvolutionKind::expanding, g, compat, exec)
        .coordinates->spatial_range()
        ->extent;
  };
  CHECK(extent(compat::none) == IntArray<2>{8 * 2 - 4 + 2 * 2 + 1 + 1, 11 * 2 - 4 + 2 * 2 + 1 + 1});
  CHECK(extent(compat::spconv) == IntArray<2>{8 * 2 - 4 + 3 + 1, 11 * 2 - 4 + 3 + 1});

  auto const coarse =
      kernel_map(*set, ConvolutionKind::strided, geometry(2, 2), compat::none, exec).coordinates;
  auto const finer = kernel_map(*coarse, ConvolutionKind::expanding, geometry(2, 2), compat::none, exec);
  CHECK(finer.coordinates->tensor_stride() == IntArray<2>(1));
  CHECK(wide->tensor_stride() == IntArray<2>(1));  // there is nothing finer than the finest grid
  g.output_padding = -1;
  CHECK_THROWS_WITH_AS((void)kernel_map(*set, ConvolutionKind::expanding, g, compat::none, exec),
                       doctest::Contains("output padding [-1, -1]"), invalid_argument);
}

TEST_CASE_TEMPLATE("submanifold convolution: spconv 1 leaves the dilation out of the padding", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set = random_set(exec);
  auto const rows = rows_of(*set, exec);
  auto g = geometry(3, 1, 7, 2);
  g.kernel_size = {5, 3};
  for (auto const compat : {compat::none, compat::spconv, compat::spconv1}) {
    int const step = compat == Compatibility::spconv1 ? 1 : 2;
    KernelRegion<2> const region{g.kernel_size, 1, g.dilation, {2 * step, step}};
    auto const found = kernel_map(*set, ConvolutionKind::submanifold, g, compat, exec);
    CHECK(found.coordinates == set);
    CHECK(values_of(*found.map, exec) == test::kernel_map_by_definition(rows, rows, region));
  }
}
