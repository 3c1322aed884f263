// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "oracle.hpp"

#include <doctest/doctest.h>

#include <map>
#include <vector>

namespace ts = tessera;

namespace {

using Row = std::map<int, int>;  // offset -> input row

ts::Coordinate<3> at(int x, int y, int z, int batch = 0)
{
  return {batch, {x, y, z}};
}

ts::KernelRegion<3> region(ts::IntArray<3> size, int stride, int anchor, int dilation = 1)
{
  return {size, stride, dilation, anchor};
}

/// Row `o` of a map without its empty places.
Row row_of(std::vector<std::int32_t> const& map, int volume, std::size_t o)
{
  Row row;
  for (int k = 0; k < volume; ++k) {
    auto const in = map[o * static_cast<std::size_t>(volume) + static_cast<std::size_t>(k)];
    if (in >= 0) { row[k] = in; }
  }
  return row;
}

/// Number of an offset of a 3 x 3 x 3 kernel when the first axis runs fastest, as TorchSparse counts them.
int first_axis_fastest(int k)
{
  return k % 3 * 9 + k / 3 % 3 * 3 + k / 9;
}

Row renumbered(Row const& row)
{
  Row result;
  for (auto const& [k, in] : row) { result[first_axis_fastest(k)] = in; }
  return result;
}

// Five voxels and what TorchSparse 2.1 makes of them, worked out by hand from its source.
test::Coordinates<3> const voxels{at(1, 1, 1), at(2, 1, 1), at(1, 1, 2), at(4, 3, 0), at(4, 4, 4)};
ts::SpatialRange<3> const grid{1, 5};

}  // namespace

TEST_CASE("oracle: offsets are counted with the last axis fastest")
{
  auto const digits = test::kernel_digits(ts::IntArray<3>{1, 2, 3});
  REQUIRE(digits.size() == 6);
  CHECK(digits[0] == ts::IntArray<3>{0, 0, 0});
  CHECK(digits[2] == ts::IntArray<3>{0, 0, 2});
  CHECK(digits[3] == ts::IntArray<3>{0, 1, 0});
  CHECK(digits[5] == ts::IntArray<3>{0, 1, 2});
}

TEST_CASE("oracle: a submanifold kernel of 3 is centred")
{
  auto const map = test::kernel_map_by_definition(voxels, voxels, region(3, 1, 1));
  CHECK(row_of(map, 27, 0) == renumbered({{13, 0}, {14, 1}, {22, 2}}));
  CHECK(row_of(map, 27, 1) == renumbered({{12, 0}, {13, 1}, {21, 2}}));
  CHECK(row_of(map, 27, 2) == renumbered({{4, 0}, {5, 1}, {13, 2}}));
  CHECK(row_of(map, 27, 3) == Row{{13, 3}});
  CHECK(row_of(map, 27, 4) == Row{{13, 4}});
}

TEST_CASE("oracle: a submanifold kernel of 2 begins at the voxel")
{
  auto const map = test::kernel_map_by_definition(voxels, voxels, region(2, 1, 0));
  CHECK(row_of(map, 8, 0) == Row{{0, 0}, {1, 2}, {4, 1}});
  for (std::size_t o = 1; o < 5; ++o) { CHECK(row_of(map, 8, o) == Row{{0, static_cast<int>(o)}}); }
}

TEST_CASE("oracle: batch entries do not meet")
{
  test::Coordinates<3> const two{at(0, 0, 0, 0), at(0, 0, 1, 1)};
  auto const map = test::kernel_map_by_definition(two, two, region(3, 1, 1));
  CHECK(row_of(map, 27, 0) == Row{{13, 0}});
  CHECK(row_of(map, 27, 1) == Row{{13, 1}});
}

TEST_CASE("oracle: a dilated kernel reads every second voxel")
{
  test::Coordinates<1> const line{{0, {0}}, {0, {1}}, {0, {2}}, {0, {4}}};
  auto const map = test::kernel_map_by_definition(line, line, ts::KernelRegion<1>{3, 1, 2, 2});
  CHECK(map == std::vector<std::int32_t>{-1, 0, 2, -1, 1, -1, 0, 2, 3, 2, 3, -1});
}

TEST_CASE("oracle: strided outputs in a range are those of a dense convolution")
{
  SUBCASE("kernel 2")
  {
    auto const r = region(2, 2, 0);
    auto const out = test::spconv_outputs_by_definition(voxels, r, {grid});
    CHECK(out == test::Coordinates<3>{at(0, 0, 0), at(0, 0, 1), at(1, 0, 0)});
    auto const map = test::kernel_map_by_definition(voxels, out, r);
    CHECK(row_of(map, 8, 0) == Row{{7, 0}});
    CHECK(row_of(map, 8, 1) == Row{{6, 2}});
    CHECK(row_of(map, 8, 2) == Row{{3, 1}});
  }
  SUBCASE("kernel 3, padding 1")
  {
    auto const r = region(3, 2, 1);
    auto const out = test::spconv_outputs_by_definition(voxels, r, {grid});
    REQUIRE(out.size() == 11);
    CHECK(out[0] == at(0, 0, 0));
    CHECK(out[1] == at(0, 0, 1));
    CHECK(out[2] == at(0, 1, 0));
    CHECK(out[8] == at(2, 1, 0));
    CHECK(out[9] == at(2, 2, 0));
    CHECK(out[10] == at(2, 2, 2));
    auto const map = test::kernel_map_by_definition(voxels, out, r);
    CHECK(row_of(map, 27, 0) == renumbered({{26, 0}}));
    CHECK(row_of(map, 27, 1) == renumbered({{8, 0}, {17, 2}}));
    CHECK(row_of(map, 27, 2) == renumbered({{20, 0}}));
    CHECK(row_of(map, 27, 8) == renumbered({{16, 3}}));
    CHECK(row_of(map, 27, 9) == renumbered({{10, 3}}));
    CHECK(row_of(map, 27, 10) == renumbered({{13, 4}}));
  }
  SUBCASE("kernel 3, no padding")
  {
    auto const r = region(3, 2, 0);
    auto const out = test::spconv_outputs_by_definition(voxels, r, {grid});
    CHECK(out == test::Coordinates<3>{at(0, 0, 0), at(0, 0, 1), at(1, 0, 0), at(1, 1, 0), at(1, 1, 1)});
    auto const map = test::kernel_map_by_definition(voxels, out, r);
    CHECK(row_of(map, 27, 0) == renumbered({{13, 0}, {14, 1}, {22, 2}}));
    CHECK(row_of(map, 27, 1) == renumbered({{4, 2}}));
    CHECK(row_of(map, 27, 2) == renumbered({{12, 1}}));
    CHECK(row_of(map, 27, 3) == renumbered({{5, 3}}));
    CHECK(row_of(map, 27, 4) == renumbered({{26, 4}}));
  }
  SUBCASE("kernel 1")
  {
    auto const out = test::spconv_outputs_by_definition(voxels, region(1, 2, 0), {grid});
    CHECK(out == test::Coordinates<3>{at(2, 2, 2)});
  }
}

TEST_CASE("oracle: strided outputs without a range lose no voxel")
{
  auto const r = region(2, 2, 0);
  auto const out = test::spconv_outputs_by_definition(voxels, r);
  CHECK(out == test::Coordinates<3>{at(0, 0, 0), at(0, 0, 1), at(1, 0, 0), at(2, 1, 0), at(2, 2, 2)});
  auto const map = test::kernel_map_by_definition(voxels, out, r);
  CHECK(row_of(map, 8, 3) == Row{{2, 3}});
  CHECK(row_of(map, 8, 4) == Row{{0, 4}});
}

TEST_CASE("oracle: division rounds down below zero")
{
  test::Coordinates<1> const line{{0, {-5}}, {0, {-4}}, {0, {-1}}, {0, {0}}, {0, {3}}};
  test::Coordinates<1> const halves{{0, {-3}}, {0, {-2}}, {0, {-1}}, {0, {0}}, {0, {1}}};
  CHECK(test::minkowski_outputs_by_definition(line, ts::IntArray<1>{2}) == halves);
  CHECK(test::spconv_outputs_by_definition(line, ts::KernelRegion<1>{2, 2, 1, 0}) == halves);
  // a range cuts what lies below it, and 5 cells make 3
  test::Coordinates<1> const kept{{0, {0}}, {0, {1}}};
  CHECK(test::minkowski_outputs_by_definition(line, ts::IntArray<1>{2}, {ts::SpatialRange<1>{1, 5}}) == kept);
}

TEST_CASE("oracle: a generative convolution of kernel and stride 2 gives every parent children of its own")
{
  test::Coordinates<1> const parents{{0, {0}}, {0, {3}}};
  ts::ConvolutionGeometry<1> geometry;
  geometry.kernel_size = 2;
  geometry.stride = 2;
  auto const children = test::generative_outputs_by_definition(parents, geometry);
  CHECK(children == test::Coordinates<1>{{0, {0}}, {0, {1}}, {0, {6}}, {0, {7}}});
  CHECK(test::generative_map_by_definition(parents, children, geometry) ==
        std::vector<std::int32_t>{-1, 0, 0, -1, -1, 1, 1, -1});
  CHECK(test::generative_outputs_by_definition(parents, geometry, {ts::SpatialRange<1>{1, 3}}) ==
        test::Coordinates<1>{{0, {0}}, {0, {1}}});
}

TEST_CASE("oracle: a generative convolution of kernel 3 and stride 2 shares children between neighbours")
{
  test::Coordinates<1> const parents{{0, {0}}, {0, {1}}};
  ts::ConvolutionGeometry<1> geometry;
  geometry.stride = 2;
  auto const children = test::generative_outputs_by_definition(parents, geometry);
  CHECK(children == test::Coordinates<1>{{0, {-1}}, {0, {0}}, {0, {1}}, {0, {2}}, {0, {3}}});
  CHECK(test::generative_map_by_definition(parents, children, geometry) ==
        std::vector<std::int32_t>{-1, -1, 0, -1, 0, -1, 0, -1, 1, -1, 1, -1, 1, -1, -1});
}

TEST_CASE("oracle: a transposed map swaps the pairs and keeps their offsets")
{
  std::vector<std::int32_t> const map{2, -1, 0, 2};  // two outputs, volume 2
  CHECK(test::transposed_map_by_definition(map, 3, 2) == std::vector<std::int32_t>{1, -1, -1, -1, 0, 1});
}

TEST_CASE("oracle: a convolution sums over its pairs and channels")
{
  // two inputs of two channels, volume 2, one output channel
  std::vector<double> const features{1, 2, 3, 4};
  std::vector<double> const weight{10, 100, 1000, -10000};
  std::vector<std::int32_t> const map{0, 1, -1, 0, -1, -1};
  auto const sums = test::convolution_by_definition(map, features, weight, {0.5}, 2, 2, 1);
  CHECK(sums.value == std::vector<double>{210 + 3000 - 40000 + 0.5, 1000 - 20000 + 0.5, 0.5});
  CHECK(sums.magnitude == std::vector<double>{210 + 3000 + 40000 + 0.5, 1000 + 20000 + 0.5, 0.5});
}

TEST_CASE("oracle: random coordinates differ, stay in their box and occupy its corners")
{
  ts::IntArray<2> const lower{-3, 4};
  ts::IntArray<2> const upper{2, 9};
  auto const rows = test::random_coordinates<2>(50, 3, lower, upper, 1);
  CHECK(rows.size() == 50);
  CHECK(test::sorted_unique(rows).size() == 50);
  CHECK(rows == test::random_coordinates<2>(50, 3, lower, upper, 1));
  CHECK_FALSE(rows == test::random_coordinates<2>(50, 3, lower, upper, 2));
  bool inside = true;
  int corners = 0;
  for (auto const& row : rows) {
    inside = inside && row.batch >= 0 && row.batch < 3;
    bool corner = row.batch != 1;
    for (int i = 0; i < 2; ++i) {
      inside = inside && row.position[i] >= lower[i] && row.position[i] <= upper[i];
      corner = corner && (row.position[i] == lower[i] || row.position[i] == upper[i]);
    }
    corners += corner ? 1 : 0;
  }
  CHECK(inside);
  CHECK(corners == 8);
  CHECK(test::random_coordinates<2>(1000, 3, lower, upper, 1).size() == 3 * 6 * 6);
  CHECK(test::random_coordinates<2>(0, 3, lower, upper, 1).empty());
}
