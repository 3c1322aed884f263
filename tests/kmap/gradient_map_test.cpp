// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Maps read in both directions: which are symmetric, and what a data gradient reads.

#include "../support/device.hpp"
#include "../support/oracle.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/kmap/tile_map.hpp>
#ifdef __CUDACC__
#include <tessera/kmap/detail/cut_tiles.cuh>
#endif

#include <algorithm>
#include <cstddef>
#include <random>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

template <class Space>
std::vector<std::int32_t> entries_of(KernelMap<Space> const& map, Execution<Space> const& exec)
{
  return download(map.out_in(exec), map.num_out() * map.volume(), exec);
}

/// Whether every pair of `map` [num_out, volume] is one read backwards too, under whatever offset.
bool reverses(std::vector<std::int32_t> const& map, int volume)
{
  std::vector<std::pair<std::int32_t, std::int32_t>> pairs;
  for (std::size_t i = 0; i < map.size(); ++i) {
    if (map[i] >= 0) {
      pairs.emplace_back(map[i], static_cast<std::int32_t>(i / static_cast<std::size_t>(volume)));
    }
  }
  std::sort(pairs.begin(), pairs.end());
  return std::all_of(pairs.begin(), pairs.end(), [&](auto const& pair) {
    return std::binary_search(pairs.begin(), pairs.end(), std::make_pair(pair.second, pair.first));
  });
}

/// What gradient_map() says of `map`, held against the pairs read backwards.
template <class Space>
void check_gradient(KernelMap<Space>& map, Execution<Space> const& exec)
{
  auto const volume = map.volume();
  auto const entries = entries_of(map, exec);
  auto const gradient = gradient_map(map, exec);
  CHECK(gradient.is_mirrored == map.is_symmetric());
  CHECK((gradient.map.get() == &map) == map.is_symmetric());
  REQUIRE(gradient.map->num_in() == map.num_out());
  REQUIRE(gradient.map->num_out() == map.num_in());
  auto const backwards = entries_of(*gradient.map, exec);
  auto const expected = test::transposed_map_by_definition(entries, static_cast<std::size_t>(map.num_in()),
                                                           static_cast<std::size_t>(volume));
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < map.num_in(); ++i) {
    for (int k = 0; k < volume; ++k) {
      auto const there = static_cast<std::size_t>(i * volume + gradient.weight_offset(k));
      wrong += backwards[static_cast<std::size_t>(i * volume + k)] != expected[there] ? 1 : 0;
    }
  }
  CHECK(wrong == 0);
  auto const again = gradient_map(*gradient.map, exec);  // and back: the map itself
  CHECK(again.map.get() == &map);
}

/// Every voxel of a box of `extent`, in random order, so that every offset of a small kernel has a pair.
template <int Dim>
test::Coordinates<Dim> full_box(IntArray<Dim> const& extent, unsigned seed)
{
  test::Coordinates<Dim> rows;
  for (auto const& digits : test::kernel_digits(extent)) {
    Coordinate<Dim> row;
    for (int i = 0; i < Dim; ++i) { row.position[i] = digits[i] - 2; }
    rows.push_back(row);
  }
  std::mt19937 random{seed};
  std::shuffle(rows.begin(), rows.end(), random);
  return rows;
}

/// Maps of a full box to itself under drawn regions: symmetric exactly where all pairs reverse.
template <int Dim, class Space>
void check_regions(int count, Execution<Space> const& exec)
{
  CAPTURE(Dim);
  int symmetric = 0;
  for (int number = 0; number < count; ++number) {
    CAPTURE(number);
    std::mt19937 random{static_cast<unsigned>(number) + 100 * Dim};
    auto const draw = [&](int lowest, int highest) {
      return std::uniform_int_distribution<int>{lowest, highest}(random);
    };
    KernelRegion<Dim> region;
    IntArray<Dim> extent;
    for (int i = 0; i < Dim; ++i) {
      region.size[i] = draw(1, 4);
      region.dilation[i] = draw(1, Dim < 4 ? 3 : 1);
      int const reach = (region.size[i] - 1) * region.dilation[i];
      region.anchor[i] = reach % 2 == 0 && draw(0, 4) > 0 ? reach / 2 : draw(0, reach);
      extent[i] = reach + 1 + draw(0, 1);
    }
    CAPTURE(detail::list(region.size));
    CAPTURE(detail::list(region.dilation));
    CAPTURE(detail::list(region.anchor));
    auto const rows = full_box(extent, static_cast<unsigned>(number));
    auto const set = make_coordinate_set(rows, {}, exec);
    auto const map = detail::cached_map(*set, *set, region, false, exec);
    auto const entries = entries_of(*map, exec);
    REQUIRE(entries == test::kernel_map_by_definition(rows, rows, region));
    CHECK(map->is_symmetric() == reverses(entries, map->volume()));
    symmetric += map->is_symmetric() ? 1 : 0;
    check_gradient(*map, exec);
    auto const other = make_coordinate_set(rows, {}, exec);  // equal rows, but not the same set
    auto const across = detail::cached_map(*set, *other, region, false, exec);
    CHECK(!across->is_symmetric());
    check_gradient(*across, exec);
  }
  CHECK(symmetric > 0);
  CHECK(symmetric < count);
}

ConvolutionGeometry<3> geometry(IntArray<3> const& size, int stride, int padding, IntArray<3> const& dilation)
{
  return {size, stride, padding, dilation, 0};
}

}  // namespace

TEST_CASE_TEMPLATE("gradient map: a map of a set to itself is symmetric exactly where all its pairs reverse",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  check_regions<1>(40, exec);
  check_regions<2>(40, exec);
  check_regions<3>(25, exec);
  check_regions<4>(10, exec);
}

TEST_CASE_TEMPLATE(
    "gradient map: pairs of every kind of convolution are read backwards, on partly filled sets", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (unsigned seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    auto const in = test::random_coordinates<3>(200, 2, IntArray<3>(-5), IntArray<3>{6, 4, 5}, seed);
    CoordinateSetOptions<3> options;
    options.tensor_stride = 2;
    auto const set = make_coordinate_set(in, options, exec);
    auto const map_of = [&](CoordinateSet<3, Space>& from, ConvolutionKind kind,
                            ConvolutionGeometry<3> const& g) {
      return kernel_map(from, kind, g, compat::none, exec);
    };
    for (auto const& size : {IntArray<3>(3), IntArray<3>(2), IntArray<3>{1, 3, 5}, IntArray<3>{3, 3, 4},
                             IntArray<3>(1), IntArray<3>(4)}) {
      CAPTURE(detail::list(size));
      for (int const dilation : {1, 2}) {
        auto const same = map_of(*set, ConvolutionKind::submanifold, geometry(size, 1, 0, dilation)).map;
        bool const is_odd = size[0] % 2 == 1 && size[1] % 2 == 1 && size[2] % 2 == 1;
        CHECK(same->is_symmetric() == is_odd);
        check_gradient(*same, exec);
        check_gradient(*map_of(*set, ConvolutionKind::transposed, geometry(size, 1, 0, dilation)).map, exec);
        auto const strided = geometry(size, 2, 1, dilation);
        auto const down = map_of(*set, ConvolutionKind::strided, strided);
        CHECK(!down.map->is_symmetric());
        check_gradient(*down.map, exec);
        check_gradient(*map_of(*down.coordinates, ConvolutionKind::transposed, strided).map, exec);
        check_gradient(*map_of(*set, ConvolutionKind::generative, strided).map, exec);
        check_gradient(*map_of(*set, ConvolutionKind::expanding, strided).map, exec);
      }
    }
    set->check(exec);
  }
}

TEST_CASE_TEMPLATE("gradient map: a kernel of any offsets has the permutation that it was given", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<IntArray<2>> const plus{{1, 0}, {0, 0}, {0, 2}, {-1, 0}, {0, -2}};
  auto const rows = test::random_coordinates<2>(60, 2, IntArray<2>(0), IntArray<2>(8), 3);
  std::vector<std::int32_t> entries;
  for (auto const& out : rows) {
    for (auto const& offset : plus) {
      Coordinate<2> const in{out.batch, {out.position[0] + offset[0], out.position[1] + offset[1]}};
      auto const found = std::find(rows.begin(), rows.end(), in);
      entries.push_back(found == rows.end() ? -1 : static_cast<std::int32_t>(found - rows.begin()));
    }
  }
  KernelMapParts<Space> parts;
  parts.mirror = mirror_of(plus);
  auto const num_rows = static_cast<std::int64_t>(rows.size());
  KernelMap<Space> map{upload(entries, exec), num_rows, num_rows, 5, 1, std::move(parts)};
  REQUIRE(map.is_symmetric());
  CHECK(!map.mirror().is_reversal());
  CHECK(map.mirrored_offset(0) == 3);
  CHECK(map.mirrored_offset(2) == 4);
  check_gradient(map, exec);
}

TEST_CASE_TEMPLATE("gradient map: a symmetric map is its own, with its tile maps, and nothing is made", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set =
      make_coordinate_set(test::random_coordinates<3>(300, 1, IntArray<3>(0), IntArray<3>(9), 4), {}, exec);
  auto const map =
      kernel_map(*set, ConvolutionKind::submanifold, ConvolutionGeometry<3>{}, compat::none, exec).map;
  auto const tiles = tile_map(*map, true, 1, 16, exec);
  auto const gradient = gradient_map(*map, exec);
  CHECK(gradient.map == map);
  CHECK(gradient.is_mirrored);
  CHECK(tile_map(*gradient.map, true, 1, 16, exec) == tiles);
  CHECK(detail::access(*map).cache().find(detail::TransposedMapKey<Space>{}) == nullptr);
}

TEST_CASE_TEMPLATE("transposed map: is made once, leads back to its map, and knows the masks of its rows",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set =
      make_coordinate_set(test::random_coordinates<3>(500, 2, IntArray<3>(-4), IntArray<3>(6), 5), {}, exec);
  for (auto const& size : {IntArray<3>(2), IntArray<3>(3), IntArray<3>{4, 2, 4}, IntArray<3>(4)}) {
    CAPTURE(detail::list(size));
    auto const down =
        kernel_map(*set, ConvolutionKind::strided, geometry(size, 2, 0, 1), compat::none, exec).map;
    auto const up = transpose(*down, exec);
    CHECK(transpose(*down, exec) == up);
    CHECK(transpose(*up, exec) == down);
    auto const volume = static_cast<std::size_t>(up->volume());
    auto const entries = entries_of(*up, exec);
    auto const keys = download(up->parts().mask_keys, exec);
    REQUIRE(keys.size() == (volume <= 32 ? static_cast<std::size_t>(up->num_out()) : 0));
    std::size_t wrong = 0;
    for (std::size_t row = 0; row < keys.size(); ++row) {
      std::uint32_t expected = ~0U;
      for (std::size_t bit = 0; bit < volume; ++bit) {
        auto const k = up->parts().offset_order.offset_at[bit];
        if (entries[row * volume + k] >= 0) { expected &= ~(std::uint32_t{1} << bit); }
      }
      wrong += keys[row] != expected ? 1 : 0;
    }
    CHECK(wrong == 0);
  }
}
