// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/oracle.hpp"

#include <tessera/kmap/build.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <random>
#include <vector>

using namespace tessera;

namespace {

template <int Dim>
CoordinateBox<Dim> box_with(int batches, IntArray<Dim> const& lower, IntArray<Dim> const& extent)
{
  CoordinateBox<Dim> box;
  box.batches = batches;
  for (int i = 0; i < Dim; ++i) {
    box.lower[i] = lower[i];
    box.upper[i] = lower[i] + (extent[i] - 1);
  }
  return box;
}

/// The cells of `box` in lexicographic order, held against their numbers.
template <int Dim>
void check_every_cell(int batches, IntArray<Dim> const& lower, IntArray<Dim> const& extent)
{
  CAPTURE(Dim);
  auto const box = box_with(batches, lower, extent);
  auto const indexer = detail::make_grid_indexer(box);
  std::uint32_t number = 0;
  for (int batch = 0; batch < batches; ++batch) {
    for (auto const& offset : test::kernel_digits(extent)) {
      Coordinate<Dim> c;
      c.batch = batch;
      for (int i = 0; i < Dim; ++i) { c.position[i] = lower[i] + offset[i]; }
      CHECK(indexer.pack(c) == number);
      CHECK(indexer.unpack(number) == c);
      ++number;
    }
  }
  CHECK(detail::num_cells(box, INT_MAX) == number);
}

/// A kernel whose windows overlap: no output is found by dividing alone.
template <int Dim>
ConvolutionGeometry<Dim> overlapping()
{
  ConvolutionGeometry<Dim> g;
  g.kernel_size = 3;
  g.stride = 2;
  g.padding = 1;
  return g;
}

template <int Dim>
Coordinate<Dim> at(int batch, int everywhere)
{
  Coordinate<Dim> c;
  c.batch = batch;
  c.position = everywhere;
  return c;
}

template <int Dim, class Space>
CoordinateSetPointer<Dim, Space> outputs_of(test::Coordinates<Dim> const& rows,
                                            CoordinateSetOptions<Dim> const& options,
                                            Execution<Space> const& exec)
{
  auto const set = make_coordinate_set(rows, options, exec);
  auto const down =
      kernel_map(*set, ConvolutionKind::strided, overlapping<Dim>(), compat::none, exec).coordinates;
  set->check(exec);
  return down;
}

template <int Dim>
[[nodiscard]] CoordinateSetOptions<Dim> with_fixed_capacity(CoordinateSetOptions<Dim> options)
{
  options.fixed_capacity.emplace();
  return options;
}

/// The outputs of `rows` are those of the definition, and their bounds are tight unless the capacity is
/// fixed.
template <int Dim, class Space>
void check_outputs(test::Coordinates<Dim> const& rows, CoordinateSetOptions<Dim> const& options,
                   Execution<Space> const& exec)
{
  CAPTURE(Dim);
  CAPTURE(options.fixed_capacity.has_value());
  auto const g = overlapping<Dim>();
  KernelRegion<Dim> const region{g.kernel_size, g.stride, 1, g.padding};
  auto const expected = test::spconv_outputs_by_definition(rows, region, options.spatial_range);
  auto const down = outputs_of(rows, options, exec);
  REQUIRE(down->num_rows() == static_cast<std::int64_t>(expected.size()));
  CHECK(download(down->data(), down->num_rows(), exec) == expected);
  if (options.fixed_capacity) { return; }
  for (int i = 0; i < Dim; ++i) {
    int lower = INT_MAX;
    int upper = INT_MIN;
    for (auto const& row : expected) {
      lower = std::min(lower, row.position[i]);
      upper = std::max(upper, row.position[i]);
    }
    CHECK(down->box().lower[i] == lower);
    CHECK(down->box().upper[i] == upper);
  }
}

/// Rows of a grid so long on axis 0 that its outputs' cells are just few enough, and of one just too long.
template <int Dim, class Space>
void check_both_sides(int batches, IntArray<Dim> const& extent_of_others, unsigned seed,
                      Execution<Space> const& exec)
{
  CAPTURE(Dim);
  CAPTURE(seed);
  auto const near = test::random_coordinates<Dim>(60, batches, 0, extent_of_others, seed);
  auto const num_rows = static_cast<std::int64_t>(near.size()) + 1;
  auto const most = num_rows << Dim;  // of three neighbours at stride 2 two are on its lattice
  CoordinateSetOptions<Dim> options;
  options.spatial_range = SpatialRange<Dim>{batches, 1};
  auto const outputs_at = [&](int far) {  // the box that all outputs lie in
    auto& extent = options.spatial_range->extent;
    for (int i = 0; i < Dim; ++i) { extent[i] = extent_of_others[i] + 1; }
    extent[0] = far + 1;
    return box_of(SpatialRange<Dim>{batches, SpconvDownsample::output_extent(overlapping<Dim>(), extent)});
  };
  int fits = extent_of_others[0] + 1;
  int too_far = 1 << 28;
  REQUIRE(detail::fits_cells<Space>(outputs_at(fits), most));
  REQUIRE(!detail::fits_cells<Space>(outputs_at(too_far), most));
  while (too_far - fits > 1) {
    int const middle = fits + (too_far - fits) / 2;
    (detail::fits_cells<Space>(outputs_at(middle), most) ? fits : too_far) = middle;
  }
  for (int const far : {fits, too_far}) {
    CAPTURE(far);
    auto const box = outputs_at(far);
    auto rows = near;
    rows.push_back(at<Dim>(batches - 1, 0));
    for (int i = 1; i < Dim; ++i) { rows.back().position[i] = extent_of_others[i]; }
    rows.back().position[0] = far;
    check_outputs(rows, options, exec);
    auto const fixed = with_fixed_capacity(options);
    auto const down = outputs_of(rows, fixed, exec);  // whose bounds are those that it was derived in
    CHECK(detail::fits_cells<Space>(down->box(), most) == (far == fits));
    CHECK(down->box().upper == box.upper);
    check_outputs(rows, fixed, exec);
  }
}

}  // namespace

TEST_CASE("output cells: a divisor's quotients are those of division for all numbers of 31 bits")
{
  std::mt19937 random{7};
  auto const below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  std::vector<std::uint32_t> values;
  for (std::uint32_t value = 1; value < 300; ++value) { values.push_back(value); }
  for (int bit = 9; bit < 31; ++bit) {
    auto const power = std::uint32_t{1} << bit;
    values.insert(values.end(), {power - 1, power, power + 1, power + below(power)});
  }
  values.push_back(INT_MAX);
  for (auto const value : values) {
    CAPTURE(value);
    detail::FastDivisor const divisor{value};
    std::vector<std::uint32_t> numbers{0, 1, INT_MAX - 1, INT_MAX};
    for (int i = 0; i < 100; ++i) {  // quotients change at multiples
      auto const multiple = below(INT_MAX / value + 1) * value;
      numbers.push_back(multiple);
      if (multiple > 0) { numbers.push_back(multiple - 1); }
    }
    numbers.push_back(INT_MAX / value * value);
    numbers.push_back(INT_MAX / value * value - 1);
    auto const wrong = std::find_if(numbers.begin(), numbers.end(), [&](std::uint32_t number) {
      return divisor.divide(number) != number / value;
    });
    CHECK(wrong == numbers.end());
  }
}

TEST_CASE("output cells: numbers have no gaps, follow lexicographic order and lead back to their cells")
{
  check_every_cell<1>(2, -3, 7);
  check_every_cell<2>(3, {-1000, 7}, {5, 3});
  check_every_cell<3>(2, {-3, 5, -7}, {5, 1, 6});
  check_every_cell<4>(3, {0, -1, 2, -5}, {3, 5, 2, 7});
  check_every_cell<6>(1, {0, -1, 2, -5, 9, 9}, {3, 1, 2, 3, 1, 5});
}

TEST_CASE("output cells: numbers reach the ends of the largest boxes, on either side of zero")
{
  struct Case {
    int batches;
    IntArray<3> extent;
  };
  for (auto const& entry :
       {Case{1, {1290, 1290, 1290}}, Case{INT_MAX, {1, 1, 1}}, Case{1, {INT_MAX, 1, 1}},
        Case{1, {1, 1, INT_MAX}}, Case{7, {1, 306783378, 1}}, Case{3, {1300, 1357, 405}}}) {
    auto const batches = entry.batches;
    auto const extent = entry.extent;
    CAPTURE(batches);
    CAPTURE(detail::list(extent));
    for (int const lower : {0, -(1 << 30)}) {
      auto const box = box_with<3>(batches, lower, extent);
      auto const count = detail::num_cells(box, INT64_MAX);
      REQUIRE(count <= INT_MAX);
      REQUIRE(count > INT_MAX - (1 << 23));
      auto const indexer = detail::make_grid_indexer(box);
      Coordinate<3> const first{0, box.lower};
      Coordinate<3> const last{batches - 1, box.upper};
      CHECK(indexer.pack(first) == 0);
      CHECK(indexer.pack(last) == static_cast<std::uint32_t>(count - 1));
      CHECK(indexer.unpack(0) == first);
      CHECK(indexer.unpack(static_cast<std::uint32_t>(count - 1)) == last);
      std::mt19937 random{5};
      for (int i = 0; i < 100; ++i) {
        auto const number = static_cast<std::uint32_t>(random() % static_cast<std::uint64_t>(count));
        auto const c = indexer.unpack(number);
        CHECK(box.contains(c));
        CHECK(indexer.pack(c) == number);
      }
    }
  }
}

TEST_CASE_TEMPLATE("output cells: as many fit as outputs may ask for, and never more than 31 bits number",
                   Space, Host, Device)  // nothing runs there
{
  auto const line = [](int lower, int upper) {
    CoordinateBox<1> box;
    box.batches = 1;
    box.lower = lower;
    box.upper = upper;
    return box;
  };
  CHECK(detail::fits_cells<Space>(line(1, INT_MAX), INT64_MAX));
  CHECK(!detail::fits_cells<Space>(line(0, INT_MAX), INT64_MAX));
  CHECK(!detail::fits_cells<Space>(line(INT_MIN, INT_MAX), INT64_MAX));
  auto const wrapping = box_with<3>(1 << 30, 0, 1 << 30);  // 2^120 cells
  CHECK(!detail::fits_cells<Space>(wrapping, INT64_MAX));
  for (std::int64_t const most : {0, 1, 1000}) {
    auto const limit = static_cast<int>((1 << 17) + detail::cells_per_output<Space> * most);
    CHECK(detail::fits_cells<Space>(line(1, limit), most));
    CHECK(!detail::fits_cells<Space>(line(0, limit), most));
  }
  CHECK(detail::num_cells(box_with<3>(5, 0, {3, 7, 11}), 1155) == 1155);
  CHECK(detail::num_cells(box_with<3>(5, 0, {3, 7, 11}), 1154) == 1154);
  CHECK(detail::num_cells(box_with<3>(5, 0, {3, 7, 11}), 1156) == 1155);
  CHECK(detail::num_cells(box_with<3>(5, 0, {3, 7, 11}), 4) == 4);
}

TEST_CASE_TEMPLATE(
    "output cells: a set has the outputs of the definition where its cells just fit and where they do not",
    Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  check_both_sides<1>(3, 50, 1, exec);
  check_both_sides<2>(2, {37, 21}, 2, exec);
  check_both_sides<3>(1, {29, 41, 10}, 3, exec);
  check_both_sides<3>(300, {4, 2, 6}, 4, exec);
  check_both_sides<4>(2, {5, 9, 4, 12}, 5, exec);
}

TEST_CASE_TEMPLATE("output cells: outputs of a grid come out where it has any voxels, a few, and all", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  // outputs of [8, 8, 16] fill one group exactly, others end within one
  for (auto const& extent : {IntArray<3>{15, 15, 31}, IntArray<3>{13, 5, 26}, IntArray<3>{1, 1, 2},
                             IntArray<3>{3, 37, 11}, IntArray<3>{15, 15, 32}}) {
    for (int const batches : {1, 3}) {
      CAPTURE(detail::list(extent));
      CAPTURE(batches);
      CoordinateSetOptions<3> options;
      options.spatial_range = SpatialRange<3>{batches, extent};
      test::Coordinates<3> all;
      for (int batch = 0; batch < batches; ++batch) {
        for (auto const& position : test::kernel_digits(extent)) { all.push_back({batch, position}); }
      }
      test::Coordinates<3> few;
      for (std::size_t i = 0; i < all.size(); i += 191) { few.push_back(all[i]); }
      for (auto const& rows : {all, few, {all.front()}, {all.back()}, {all.front(), all.back()}}) {
        CAPTURE(rows.size());
        check_outputs(rows, options, exec);
        check_outputs(rows, with_fixed_capacity(options), exec);
      }
    }
  }
}
