// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Kernel maps put together from parts that were kept elsewhere, and maps between two sets that are there.

#include "../support/device.hpp"
#include "../support/oracle.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/kmap/restore.hpp>
#ifdef __CUDACC__
#include <tessera/kmap/detail/cut_tiles.cuh>
#endif

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <vector>

using namespace tessera;

namespace {

template <class Space>
struct Kept {
  CoordinateSetPointer<3, Space> set;
  MappedCoordinates<3, Space> mapped;
};

/// The map of a layer of kernel size 3 on some voxels, and the set that keeps it.
template <class Space>
Kept<Space> make_map(int stride, Execution<Space> const& exec)
{
  auto const rows = test::random_coordinates<3>(400, 2, IntArray<3>(0), IntArray<3>(11), 7);
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{2, IntArray<3>(12)};
  auto const set = make_coordinate_set(rows, options, exec);
  ConvolutionGeometry<3> g;
  g.stride = stride;
  auto const kind = stride == 1 ? ConvolutionKind::submanifold : ConvolutionKind::strided;
  return {set, kernel_map(*set, kind, g, compat::none, exec)};
}

/// A map with the entries of another, in memory that it does not own.
template <class Space>
std::shared_ptr<KernelMap<Space>> restored(KernelMap<Space> const& map, OffsetOrder const& order,
                                           Execution<Space> const& exec)
{
  KernelMapParts<Space> parts;
  parts.offset_order = order;
  auto* const entries = const_cast<std::int32_t*>(map.out_in(exec));
  auto borrowed = Buffer<std::int32_t, Space>::adopt(entries, map.num_out() * map.volume(), nullptr, exec);
  return std::make_shared<KernelMap<Space>>(std::move(borrowed), map.num_in(), map.num_out(), map.volume(),
                                            map.centre(), std::move(parts));
}

}  // namespace

TEST_CASE_TEMPLATE("restored map: the order of a kernel's offsets is the one its map was made with", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (int const stride : {1, 2}) {
    auto const kept = make_map(stride, exec);
    auto const& map = *kept.mapped.map;
    auto const order = offset_order(IntArray<3>(3), map.centre());
    for (int k = 0; k < map.volume(); ++k) {
      CHECK(order.offset_at[k] == map.parts().offset_order.offset_at[k]);
    }
  }
  CHECK_THROWS_AS(static_cast<void>(offset_order(IntArray<3>(3), 27)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(offset_order(IntArray<3>(0), -1)), invalid_argument);
}

TEST_CASE_TEMPLATE("restored map: its transposed map and tiles are those it was given, and made by none",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const kept = make_map(2, exec);
  auto& made = *kept.mapped.map;
  auto const map = restored(made, offset_order(IntArray<3>(3), made.centre()), exec);

  auto const in_out = transpose(made, exec);
  auto const size = in_out->num_out() * in_out->volume();
  auto entries = copy(in_out->out_in(exec), size, exec);
  auto const* const at = entries.data();
  auto const given = restore_transposed(*map, std::move(entries));
  CHECK(transpose(*map, exec) == given);
  CHECK(transpose(*given, exec) == map);
  CHECK(given->out_in(exec) == at);

  auto const tiles = tile_map(made, true, 2, 16, exec);
  TileMap<Space> cut;
  cut.splits = tiles->splits;
  cut.split_length = tiles->split_length;
  cut.tile_rows = tiles->tile_rows;
  cut.words = tiles->words;
  cut.num_tiles = tiles->num_tiles;
  cut.order = copy(tiles->order.data(), tiles->order.size(), exec);
  cut.map = copy(tiles->map.data(), tiles->map.size(), exec);
  cut.masks = copy(tiles->masks.data(), tiles->masks.size(), exec);
  auto const* const order = cut.order.data();
  restore_tiles(*map, true, std::move(cut));
  CHECK(tile_map(*map, true, 2, 16, exec)->order.data() == order);
  // What it was not given it makes itself, alike.
  auto const other = tile_map(*map, true, 1, 32, exec);
  CHECK(download(other->map, exec) == download(tile_map(made, true, 1, 32, exec)->map, exec));
}

TEST_CASE_TEMPLATE("restored map: its pair lists are those it was given", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const kept = make_map(2, exec);
  auto const map = restored(*kept.mapped.map, {}, exec);
  auto const made = pair_list(*kept.mapped.map, exec);
  auto in = copy(made->in.data(), made->in.size(), exec);
  auto const* const at = in.data();
  restore_pair_list(*map, std::move(in), copy(made->out.data(), made->out.size(), exec),
                    copy(made->begin.data(), made->begin.size(), exec));
  CHECK(pair_list(*map, exec)->in.data() == at);
  CHECK(pair_list(*map, exec)->num_pairs(exec) == made->num_pairs(exec));
}

TEST_CASE_TEMPLATE("restored map: parts of another map are refused", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const kept = make_map(2, exec);
  auto const map = restored(*kept.mapped.map, {}, exec);
  CHECK_THROWS_WITH_AS(restore_transposed(*map, Buffer<std::int32_t, Space>{27, exec}),
                       doctest::Contains("restore_transposed: 27 entries for 400 rows"), invalid_argument);
  CHECK_THROWS_WITH_AS(restore_tiles(*map, true, TileMap<Space>{}),
                       doctest::Contains("are not those of a map of"), invalid_argument);
  auto const most = map->num_out() * 27;
  std::vector<std::array<std::int64_t, 3>> const wrong{
      {most, most - 1, 28}, {most + 1, most + 1, 28}, {most, most, 27}};
  for (auto const& sizes : wrong) {
    CHECK_THROWS_WITH_AS(restore_pair_list(*map, Buffer<std::int32_t, Space>{sizes[0], exec},
                                           Buffer<std::int32_t, Space>{sizes[1], exec},
                                           Buffer<std::int64_t, Space>{sizes[2], exec}),
                         doctest::Contains("are not those of a map of"), invalid_argument);
  }
}

TEST_CASE_TEMPLATE("map between two sets: it has the pairs of a strided convolution, of one manager or two",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const kept = make_map(2, exec);
  auto const& out = *kept.mapped.coordinates;
  ConvolutionGeometry<3> g;
  g.stride = 2;
  auto const expected = download(kept.mapped.map->out_in(exec), out.capacity() * 27, exec);
  auto const same = map_between(*kept.set, out, g, compat::none, exec);
  CHECK(same == kept.mapped.map);  // found again

  auto const other =
      make_coordinate_set<3>(reinterpret_cast<std::int32_t const*>(out.data()), out.capacity(),
                             CoordinateSetOptions<3>{IntArray<3>(2), out.spatial_range()}, exec);
  auto const between = map_between(*kept.set, *other, g, compat::none, exec);
  CHECK(download(between->out_in(exec), out.capacity() * 27, exec) == expected);
  CHECK(between->num_in() == 400);

  g.padding = -1;
  CHECK_THROWS_WITH_AS(static_cast<void>(map_between(*kept.set, *other, g, compat::none, exec)),
                       doctest::Contains("map_between: padding"), invalid_argument);
}
