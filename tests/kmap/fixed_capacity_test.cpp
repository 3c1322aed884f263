// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/memory.hpp"
#include "../support/oracle.hpp"
#include "../support/small.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/kmap/tile_map.hpp>
#ifdef __CUDACC__
#include <tessera/kmap/detail/cut_tiles.cuh>
#endif

#include <algorithm>
#include <random>
#include <vector>

using namespace tessera;

namespace {

using Rows = std::vector<Coordinate<3>>;

Rows random_rows(std::mt19937& random, int count, int extent)
{
  Rows rows;
  while (static_cast<int>(rows.size()) < count) {
    Coordinate<3> c{static_cast<int>(random() % 2), {}};
    for (int i = 0; i < 3; ++i) {
      c.position[i] = static_cast<int>(random() % static_cast<unsigned>(extent));
    }
    if (std::find(rows.begin(), rows.end(), c) == rows.end()) { rows.push_back(c); }
  }
  return rows;
}

/// A set of `rows` with room for `capacity`, garbage behind the rows, whose number the host is not told.
template <class Space>
CoordinateSetPointer<3, Space> counted_set(Rows rows, std::int64_t capacity,
                                           CoordinateSetOptions<3> const& options,
                                           Execution<Space> const& exec)
{
  auto const count = upload(std::vector<std::int32_t>{static_cast<std::int32_t>(rows.size())}, exec);
  rows.resize(static_cast<std::size_t>(capacity), Coordinate<3>{-77, {1 << 30, -5, 12345678}});
  auto const memory = upload(rows, exec);
  auto const* const first = reinterpret_cast<std::int32_t const*>(memory.data());
  return make_coordinate_set<3>(first, RowCount{capacity, count.data()}, options, exec);
}

template <class Space>
Rows rows_of(CoordinateSet<3, Space> const& set, Execution<Space> const& exec)
{
  return download(set.data(), set.num_rows(), exec);
}

/// The map's rows that are in use; the rest must have no neighbours.
template <class Space>
std::vector<std::int32_t> entries_of(KernelMap<Space> const& map, std::int64_t num_out,
                                     Execution<Space> const& exec)
{
  auto entries = download(map.out_in(exec), map.num_out() * map.volume(), exec);
  auto const used = entries.begin() + num_out * map.volume();
  CHECK(std::all_of(used, entries.end(), [](std::int32_t in) { return in == -1; }));
  entries.erase(used, entries.end());
  return entries;
}

ConvolutionGeometry<3> geometry_of(int size, int stride, int padding)
{
  ConvolutionGeometry<3> g;
  g.kernel_size = size;
  g.stride = stride;
  g.padding = padding;
  return g;
}

}  // namespace

TEST_CASE_TEMPLATE("fixed capacity: sets and maps are those of exact sets, and nothing lies behind them",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (auto compat : {compat::none, compat::torchsparse}) {
    for (bool const with_range : {true, false}) {
      for (int const count : {0, 1, 300}) {
        unsigned const seed = 7U + static_cast<unsigned>(count);
        CAPTURE(seed);
        CAPTURE(with_range);
        CAPTURE(static_cast<int>(compat));
        std::mt19937 random{seed};
        auto const rows = random_rows(random, count, 13);
        CoordinateSetOptions<3> options;
        if (with_range) { options.spatial_range = SpatialRange<3>{2, {13, 13, 13}}; }
        auto const exact = make_coordinate_set(rows, options, exec);
        options.fixed_capacity = FixedCapacity{};
        auto const fixed = counted_set<Space>(rows, 400, options, exec);
        CHECK(fixed->capacity() == 400);
        CHECK(fixed->num_rows() == count);

        struct Step {
          ConvolutionKind kind;
          ConvolutionGeometry<3> geometry;
        };
        for (auto const& step : {Step{ConvolutionKind::submanifold, geometry_of(3, 1, 0)},
                                 Step{ConvolutionKind::strided, geometry_of(2, 2, 0)},
                                 Step{ConvolutionKind::strided, geometry_of(3, 2, 1)}}) {
          auto const expected = kernel_map(*exact, step.kind, step.geometry, compat, exec);
          auto const got = kernel_map(*fixed, step.kind, step.geometry, compat, exec);
          auto const num_out = expected.coordinates->num_rows();
          if (step.kind == ConvolutionKind::strided) {  // rows that are not in use are zeros
            auto const behind =
                download(got.coordinates->data() + num_out, got.coordinates->capacity() - num_out, exec);
            CHECK(std::count(behind.begin(), behind.end(), Coordinate<3>{}) ==
                  static_cast<std::ptrdiff_t>(behind.size()));
          }
          CHECK(rows_of(*got.coordinates, exec) == rows_of(*expected.coordinates, exec));
          CHECK(entries_of(*got.map, num_out, exec) == entries_of(*expected.map, num_out, exec));
          if (step.kind != ConvolutionKind::strided) { continue; }
          // a level further, and back
          auto const down = geometry_of(2, 2, 0);
          auto const deeper = kernel_map(*expected.coordinates, ConvolutionKind::strided, down, compat, exec);
          auto const deeper_fixed =
              kernel_map(*got.coordinates, ConvolutionKind::strided, down, compat, exec);
          CHECK(rows_of(*deeper_fixed.coordinates, exec) == rows_of(*deeper.coordinates, exec));
          auto const up = kernel_map(*deeper.coordinates, ConvolutionKind::transposed, down, compat, exec);
          auto const up_fixed =
              kernel_map(*deeper_fixed.coordinates, ConvolutionKind::transposed, down, compat, exec);
          CHECK(up_fixed.coordinates == got.coordinates);
          CHECK(entries_of(*up_fixed.map, num_out, exec) == entries_of(*up.map, num_out, exec));
        }
        fixed->check(exec);
      }
    }
  }
}

TEST_CASE_TEMPLATE("fixed capacity: outputs and maps that are there already ask for no memory", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(2);
  for (auto compat : {compat::none, compat::torchsparse}) {
    CAPTURE(static_cast<int>(compat));
    std::mt19937 random{3};
    CoordinateSetOptions<3> options;
    options.fixed_capacity = FixedCapacity{};
    auto const set = counted_set<Space>(random_rows(random, 50, 13), 60, options, exec);
    auto const geometry = geometry_of(3, 2, 1);
    auto const first = kernel_map(*set, ConvolutionKind::strided, geometry, compat, exec);
    auto const before = memory.allocations();
    auto const again = kernel_map(*set, ConvolutionKind::strided, geometry, compat, exec);
    CHECK(memory.allocations() == before);
    CHECK(again.coordinates == first.coordinates);
    CHECK(again.map == first.map);
    set->check(exec);
  }
}

TEST_CASE_TEMPLATE("fixed capacity: maps are released where it says so, and no others", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (bool const releases : {false, true}) {
    CAPTURE(releases);
    test::CountedMemory<Space> memory;
    auto const exec = memory.execution(1);
    std::mt19937 random{3};
    CoordinateSetOptions<3> options;
    options.fixed_capacity = FixedCapacity{};
    options.fixed_capacity->releases_maps = releases;
    auto const set = counted_set<Space>(random_rows(random, 250, 12), 300, options, exec);
    auto const coarse =
        kernel_map(*set, ConvolutionKind::strided, geometry_of(3, 2, 1), compat::none, exec).coordinates;
    for (auto const& of : {set, coarse}) {  // derived sets do as the first one
      auto const map =
          kernel_map(*of, ConvolutionKind::submanifold, geometry_of(3, 1, 0), compat::none, exec).map;
      CHECK(map->parts().is_releasable == releases);
      auto const before = memory.bytes_in_use();
      auto const tiles = tile_map(*map, false, 1, 16, exec);
      auto const bytes_of_tiles = 4 * (tiles->order.size() + tiles->map.size() + tiles->masks.size());
      auto const bytes_of_map = 4 * map->num_out() * map->volume();
      CHECK(memory.bytes_in_use() - before == bytes_of_tiles - (releases ? bytes_of_map : 0));
    }
  }
}

TEST_CASE_TEMPLATE("fixed capacity: a map that was released is rebuilt from its tiles, whatever they are",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{3};
  auto const rows = random_rows(random, 250, 12);
  CoordinateSetOptions<3> options;
  options.fixed_capacity = FixedCapacity{};
  options.fixed_capacity->releases_maps = true;
  auto const set = counted_set<Space>(rows, 300, options, exec);
  auto const same = kernel_map(*set, ConvolutionKind::submanifold, geometry_of(3, 1, 0), compat::none, exec);
  auto const down = kernel_map(*set, ConvolutionKind::strided, geometry_of(2, 2, 0), compat::none, exec);
  auto const wide = kernel_map(*set, ConvolutionKind::submanifold, geometry_of(4, 1, 0), compat::none, exec);
  std::vector<std::shared_ptr<KernelMap<Space>>> const maps{same.map, down.map, transpose(*down.map, exec),
                                                            wide.map};
  for (auto const& map : maps) {
    auto const size = map->num_out() * map->volume();
    auto const before = download(detail::access(*map).materialize(), size, exec);
    for (int const splits : {1, 3}) {
      for (int const tile_rows : {16, 64}) {
        auto const tiles = tile_map(*map, splits == 1, splits, tile_rows, exec);
        CHECK(download(detail::access(*map).materialize(), size, exec) == before);
      }
    }
    // and the next tiles are made from it
    static_cast<void>(tile_map(*map, true, 1, 24, exec));
    static_cast<void>(tile_map(*map, true, 1, 40, exec));
    CHECK(download(detail::access(*map).materialize(), size, exec) == before);
  }
}

TEST_CASE_TEMPLATE("fixed capacity: more outputs than there is room for are reported, and none lies outside",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{5};
  auto const rows = random_rows(random, 200, 40);
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{2, {40, 40, 40}};
  options.fixed_capacity = FixedCapacity{1000, {{4, 7}, {2, 100}}};
  auto const set = counted_set<Space>(rows, 200, options, exec);
  auto const strided = [&] {
    return kernel_map(*set, ConvolutionKind::strided, geometry_of(3, 2, 1), compat::none, exec);
  };
  if (std::is_same_v<Space, Host>) {  // where every call is a point at which the host would wait
    CHECK_THROWS_WITH_AS(strided(), "coordinates: more rows than the capacity given", invalid_argument);
    return;
  }
  auto const down = strided();
  CHECK(down.coordinates->capacity() == 100);
  CHECK(down.coordinates->num_rows() == 100);
  CHECK_THROWS_WITH_AS(set->check(exec), "coordinates: more rows than the capacity given", invalid_argument);
  // what there is of the set is still one: a map of it can be made
  auto const map =
      kernel_map(*down.coordinates, ConvolutionKind::submanifold, geometry_of(3, 1, 0), compat::none, exec);
  auto const entries = download(map.map->out_in(exec), map.map->num_out() * map.map->volume(), exec);
  CHECK(std::all_of(entries.begin(), entries.end(), [](std::int32_t in) { return in < 100; }));
}

TEST_CASE_TEMPLATE("fixed capacity: one output too many is reported, by tables and by parents, near and far",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (int const kernel : {2, 3}) {          // kernels of the stride's size tile the inputs: parents
    for (int const spread : {1, 1000000}) {  // so far apart that cells would be more work than a table
      CAPTURE(kernel);
      CAPTURE(spread);
      Rows rows;
      for (int i = 0; i < 500; ++i) { rows.push_back({0, {i * spread, (i * 7 % 501) * spread, i % 3}}); }
      auto const geometry = geometry_of(kernel, 2, kernel / 3);
      auto const strided = [&](CoordinateSet<3, Space>& set) {
        return kernel_map(set, ConvolutionKind::strided, geometry, compat::none, exec).coordinates;
      };
      auto const exact = rows_of(*strided(*make_coordinate_set(rows, CoordinateSetOptions<3>{}, exec)), exec);
      auto const most = static_cast<std::int64_t>(exact.size());
      for (auto const room : {most, most - 1, most / 3, std::int64_t{1}}) {
        CAPTURE(room);
        CoordinateSetOptions<3> options;
        options.fixed_capacity = FixedCapacity{100000, {{2, room}}};
        auto const set = make_coordinate_set(rows, options, exec);
        if (room == most) {
          auto const down = strided(*set);
          CHECK(rows_of(*down, exec) == exact);
          set->check(exec);
          continue;
        }
        CHECK_THROWS_WITH_AS(
            [&] {
              auto const down = strided(*set);  // on the device nobody has waited yet
              CHECK(down->capacity() == room);
              CHECK(down->num_rows() == room);
              set->check(exec);
            }(),
            "coordinates: more rows than the capacity given", invalid_argument);
      }
    }
  }
}

TEST_CASE_TEMPLATE("fixed capacity: far too many outputs end soon, however small the room", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Rows rows;
  int const count = test::small_sets() ? 2000 : 100000;
  for (int i = 0; i < count; ++i) { rows.push_back({0, {i * 50, (i * 7 % 100003) * 70, i % 300}}); }
  for (auto const kind : {ConvolutionKind::strided, ConvolutionKind::generative}) {
    for (std::int64_t const room : {1, 20, test::small_sets() ? 100 : 1000}) {
      CAPTURE(room);
      CoordinateSetOptions<3> options;
      options.tensor_stride = 2;
      options.fixed_capacity = FixedCapacity{room};
      auto const set = make_coordinate_set(rows, options, exec);
      CHECK_THROWS_WITH_AS(
          [&] {
            static_cast<void>(kernel_map(*set, kind, geometry_of(3, 2, 1), compat::none, exec));
            set->check(exec);
          }(),
          "coordinates: more rows than the capacity given", invalid_argument);
    }
  }
}

TEST_CASE_TEMPLATE("fixed capacity: exactly as many outputs as there is room for are no error", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Rows rows;
  for (int i = 0; i < 64; ++i) { rows.push_back({0, {2 * i, 0, 0}}); }
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, {128, 2, 2}};
  options.fixed_capacity = FixedCapacity{64};
  auto const set = counted_set<Space>(rows, 64, options, exec);
  auto const down = kernel_map(*set, ConvolutionKind::strided, geometry_of(2, 2, 0), compat::none, exec);
  CHECK(down.coordinates->num_rows() == 64);
  set->check(exec);
}

TEST_CASE_TEMPLATE("fixed capacity: an input of more rows than its capacity is reported", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const count = upload(std::vector<std::int32_t>{11}, exec);
  auto const memory = upload(std::vector<std::int32_t>(40, 0), exec);
  auto const set = make_coordinate_set<3>(memory.data(), RowCount{10, count.data()},
                                          {1, SpatialRange<3>{1, {4, 4, 4}}}, exec);
  CHECK(set->num_rows() == 10);
  CHECK_THROWS_WITH_AS(set->check(exec), "coordinates: more rows than the capacity given", invalid_argument);
}

TEST_CASE_TEMPLATE("fixed capacity: a negative number of rows is none, and is reported", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const count = upload(std::vector<std::int32_t>{-2}, exec);
  auto const memory = upload(std::vector<std::int32_t>(40, 0), exec);
  auto const set = make_coordinate_set<3>(memory.data(), RowCount{10, count.data()},
                                          {1, SpatialRange<3>{1, {4, 4, 4}}}, exec);
  CHECK(set->num_rows() == 0);
  CHECK_THROWS_WITH_AS(set->check(exec), "coordinates: a negative number of rows", invalid_argument);
}

TEST_CASE_TEMPLATE("fixed capacity: no room at all is refused", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<3> options;
  options.fixed_capacity = FixedCapacity{50, {{2, 0}}};
  CHECK_THROWS_WITH_AS((void)make_coordinate_set(Rows{}, options, exec),
                       "coordinates: room for 0 rows is too little for a derived set", invalid_argument);
}
