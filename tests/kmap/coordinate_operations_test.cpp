// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/oracle.hpp"

#include <tessera/kmap/coordinate_operations.hpp>

#include <vector>

using namespace tessera;

namespace {

template <int Dim, class Space>
test::Coordinates<Dim> rows_of(CoordinateSetPointer<Dim, Space> const& set, Execution<Space> const& exec)
{
  return download(set->data(), set->num_rows(), exec);
}

template <int Dim>
test::Coordinates<Dim> grown(test::Coordinates<Dim> const& rows, std::vector<IntArray<Dim>> const& offsets)
{
  test::Coordinates<Dim> result;
  for (auto row : rows) {
    for (auto const& offset : offsets) {
      auto moved = row;
      for (int i = 0; i < Dim; ++i) { moved.position[i] += offset[i]; }
      result.push_back(moved);
    }
  }
  return test::sorted_unique(result);
}

template <int Dim, class Space>
void check(unsigned seed)
{
  CAPTURE(Dim);
  Execution<Space> const exec{};
  auto rows = test::random_coordinates<Dim>(50, 3, IntArray<Dim>(-4), IntArray<Dim>(6), seed);
  for (auto& row : rows) { row.batch *= 2; }  // entries without voxels
  CoordinateSetOptions<Dim> options;
  options.tensor_stride = 2;
  auto const set = make_coordinate_set(rows, options, exec);

  IntArray<Dim> stride(3);
  stride[0] = 2;
  auto const coarse = downsample_coordinates(*set, stride, exec);
  CHECK(rows_of(coarse, exec) == test::minkowski_outputs_by_definition(rows, stride));
  CHECK(coarse->tensor_stride()[0] == 4);
  CHECK(downsample_coordinates(*set, stride, exec) == coarse);  // made once
  ConvolutionGeometry<Dim> strided;
  strided.stride = stride;
  CHECK(kernel_map<Hashmap, MinkowskiDownsample>(*set, ConvolutionKind::strided, strided, compat::none, exec)
            .coordinates == coarse);
  CHECK(downsample_coordinates(*set, IntArray<Dim>(1), exec) == set);

  ConvolutionGeometry<Dim> g;
  g.dilation = 2;
  std::vector<IntArray<Dim>> box;
  std::vector<IntArray<Dim>> cross;
  for (auto digits : test::kernel_digits(IntArray<Dim>(3))) {
    int off = 0;
    for (int i = 0; i < Dim; ++i) {
      off += digits[i] != 1 ? 1 : 0;
      digits[i] = 2 * (digits[i] - 1);
    }
    box.push_back(digits);
    if (off <= 1) { cross.push_back(digits); }
  }
  auto const dilated = dilate_coordinates(*set, g, exec);
  CHECK(rows_of(dilated, exec) == grown(rows, box));
  CHECK(dilated->tensor_stride() == IntArray<Dim>(2));
  CHECK(dilate_coordinates(*set, g, exec) == dilated);
  g.shape = KernelShape<Dim>::cross();
  CHECK(rows_of(dilate_coordinates(*set, g, exec), exec) == grown(rows, cross));
  std::vector<IntArray<Dim>> list{IntArray<Dim>(1), IntArray<Dim>(-2)};
  list[0][0] = 5;
  g.dilation = 1;
  g.kernel_size = 1;
  g.shape = KernelShape<Dim>::offsets(list);
  CHECK(rows_of(dilate_coordinates(*set, g, exec), exec) == grown(rows, list));
}

}  // namespace

TEST_CASE_TEMPLATE("coordinates alone: a set at a stride, and one grown by a kernel", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  check<1, Space>(1);
  check<2, Space>(2);
  check<3, Space>(3);
  check<4, Space>(4);
}

TEST_CASE_TEMPLATE("coordinates alone: nothing, one voxel, a range, fixed room, and what cannot be meant",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  ConvolutionGeometry<2> const g;
  auto const none = make_coordinate_set(test::Coordinates<2>{}, CoordinateSetOptions<2>{}, exec);
  CHECK(dilate_coordinates(*none, g, exec)->num_rows() == 0);
  CHECK(downsample_coordinates(*none, IntArray<2>(2), exec)->num_rows() == 0);

  CoordinateSetOptions<2> options;
  options.spatial_range = SpatialRange<2>{1, {4, 5}};
  options.fixed_capacity = FixedCapacity{6};
  auto const corner = make_coordinate_set(test::Coordinates<2>{{0, {3, 0}}}, options, exec);
  auto const dilated = dilate_coordinates(*corner, g, exec);
  CHECK(dilated->has_device_count());
  CHECK(rows_of(dilated, exec) == test::Coordinates<2>{{0, {2, 0}}, {0, {2, 1}}, {0, {3, 0}}, {0, {3, 1}}});
  CHECK(dilated->spatial_range() == options.spatial_range);
  CHECK(downsample_coordinates(*corner, {2, 1}, exec)->spatial_range() == SpatialRange<2>{1, {2, 5}});

  options.fixed_capacity = FixedCapacity{3};
  auto const narrow = make_coordinate_set(test::Coordinates<2>{{0, {3, 0}}}, options, exec);
  static_cast<void>(dilate_coordinates(*narrow, g, exec));
  CHECK_THROWS_AS(narrow->check(exec), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(downsample_coordinates(*corner, IntArray<2>(0), exec)), invalid_argument);
  auto even = g;
  even.kernel_size = 2;
  even.shape = KernelShape<2>::cross();
  CHECK_THROWS_AS(static_cast<void>(dilate_coordinates(*corner, even, exec)), invalid_argument);
}
