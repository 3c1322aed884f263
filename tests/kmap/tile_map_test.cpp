// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/device.hpp"
#include "../support/oracle.hpp"
#include "../support/small.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/kmap/tile_map.hpp>
#ifdef __CUDACC__
#include <tessera/kmap/detail/cut_tiles.cuh>
#endif

#include <doctest/doctest.h>

#include <random>
#include <vector>

namespace ts = tessera;

namespace {

/// [num_out, volume]: a share of neighbours that differs by offset.
std::vector<std::int32_t> random_map(std::int64_t num_out, int volume, unsigned seed)
{
  std::mt19937 random{seed};
  std::vector<std::uint32_t> share(static_cast<std::size_t>(volume));
  for (auto& s : share) { s = static_cast<std::uint32_t>(random() % 100); }
  std::vector<std::int32_t> map(static_cast<std::size_t>(num_out * volume));
  for (std::size_t i = 0; i < map.size(); ++i) {
    bool const present = random() % 100 < share[i % share.size()];
    map[i] = present ? static_cast<std::int32_t>(random() % 1000) : -1;
  }
  return map;
}

template <class Space>
ts::KernelMap<Space> upload_map(std::vector<std::int32_t> const& map, int volume,
                                ts::Execution<Space> const& exec)
{
  auto const num_out = static_cast<std::int64_t>(map.size()) / volume;
  return {ts::upload(map, exec), 1000, num_out, volume, -1};
}

struct HostTiles {
  std::vector<std::int32_t> order, map;
  std::vector<std::uint32_t> masks;
};

template <class Space>
HostTiles download_tiles(ts::TileMap<Space> const& tiles, ts::Execution<Space> const& exec)
{
  return {ts::download(tiles.order, exec), ts::download(tiles.map, exec), ts::download(tiles.masks, exec)};
}

/// What rows are sorted by: the neighbours of a row in the split [begin, end), that of the rarest offset
/// first, as a place in the Gray code. There the second half of all numbers is the first one backwards, so
/// a bit counts the other way round after each 1.
std::vector<bool> key_of(std::vector<std::int32_t> const& map, int volume, std::int64_t row, int begin,
                         int end, ts::OffsetOrder const& order)
{
  std::vector<bool> key;
  bool backwards = false;
  auto const add = [&](int k) {
    if (k >= begin && k < end && key.size() < 64) {
      bool const present = map[static_cast<std::size_t>(row * volume + k)] >= 0;
      key.push_back(present != backwards);
      backwards = backwards != present;
    }
  };
  for (int place = volume - 1; place >= 0; --place) { add(volume <= 32 ? order.offset_at[place] : place); }
  return key;
}

/// Whether the rows of each split follow one another as tile_map() says.
template <class Space>
bool is_sorted(ts::KernelMap<Space>& kernel_map, ts::TileMap<Space> const& tiles,
               ts::Execution<Space> const& exec)
{
  int const volume = kernel_map.volume();
  auto const map = ts::download(kernel_map.out_in(exec), kernel_map.num_out() * volume, exec);
  auto const order = ts::download(tiles.order, exec);
  auto const places = tiles.num_tiles * tiles.tile_rows;
  for (int z = 0; z < tiles.splits; ++z) {
    int const begin = z * tiles.split_length;
    int const end = std::min(volume, begin + tiles.split_length);
    for (std::int64_t i = 1; i < kernel_map.num_out(); ++i) {
      auto const before = order[static_cast<std::size_t>(z * places + i - 1)];
      auto const after = order[static_cast<std::size_t>(z * places + i)];
      auto const& offset_order = kernel_map.parts().offset_order;
      auto const key_before = key_of(map, volume, before, begin, end, offset_order);
      auto const key_after = key_of(map, volume, after, begin, end, offset_order);
      if (!(key_before > key_after || (key_before == key_after && before < after))) { return false; }
    }
  }
  return true;
}

}  // namespace

TEST_CASE_TEMPLATE("tile map: holds the kernel map, in its order and with exact masks", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec;
  unsigned seed = 0;
  for (int const volume : {1, 3, 5, 27, 64, 125, 2000}) {
    if ((volume > 125 && test::small_sets()) || (volume != 27 && test::few_cases())) { continue; }
    for (std::int64_t const num_out : {1, 63, 64, 200}) {
      auto const map = random_map(num_out, volume, ++seed);
      auto kernel_map = upload_map<Space>(map, volume, exec);
      for (int const splits : {1, 2, 3, 4, 7}) {
        for (bool const sort : {false, true}) {
          for (int const rows : {8, 16, 32, 40, 64}) {
            CAPTURE(seed);
            CAPTURE(volume);
            CAPTURE(num_out);
            CAPTURE(splits);
            CAPTURE(sort);
            CAPTURE(rows);
            {  // memory that is given to the tiles next: what they leave out is no row, and not -1
              auto const entries =
                  splits * ((num_out + rows - 1) / rows) * rows * ((volume + splits - 1) / splits);
              ts::Buffer<std::int32_t, Space> other{entries, exec};
              ts::fill_bytes(other, 0x7f, exec);
            }
            auto const tiles = ts::tile_map(kernel_map, sort, splits, rows, exec);
            auto const host = download_tiles(*tiles, exec);
            int const length = (volume + splits - 1) / splits;
            auto const num_tiles = (num_out + rows - 1) / rows;
            auto const places = num_tiles * rows;
            REQUIRE(tiles->split_length == length);
            REQUIRE(tiles->num_tiles == num_tiles);
            REQUIRE(host.order.size() == static_cast<std::size_t>(splits * places));
            REQUIRE(host.map.size() == static_cast<std::size_t>(splits * places * length));
            std::size_t wrong = 0;
            for (int z = 0; z < splits; ++z) {
              std::vector<int> seen(static_cast<std::size_t>(num_out));
              std::vector<std::uint32_t> masks(static_cast<std::size_t>(num_tiles * tiles->words));
              for (std::int64_t place = 0; place < places; ++place) {
                auto const row = host.order[static_cast<std::size_t>(z * places + place)];
                wrong += (row >= 0) != (place < num_out) ? 1 : 0;
                if (!sort && row >= 0) { wrong += row != place ? 1 : 0; }
                if (row >= 0) { ++seen[static_cast<std::size_t>(row)]; }
                for (int i = 0; i < length; ++i) {
                  int const k = z * length + i;
                  bool const exists = row >= 0 && k < volume;
                  auto const expected =
                      exists ? map[static_cast<std::size_t>(std::int64_t{row} * volume + k)] : -1;
                  auto const tile = place / rows;
                  auto const at = ((z * num_tiles + tile) * length + i) * rows + place % rows;
                  wrong += host.map[static_cast<std::size_t>(at)] != expected ? 1 : 0;
                  if (expected >= 0) {
                    masks[static_cast<std::size_t>(tile * tiles->words + i / 32)] |= std::uint32_t{1}
                                                                                     << (i % 32);
                  }
                }
              }
              for (int const n : seen) { wrong += n != 1 ? 1 : 0; }
              for (std::size_t w = 0; w < masks.size(); ++w) {
                wrong += host.masks[static_cast<std::size_t>(z) * masks.size() + w] != masks[w] ? 1 : 0;
              }
            }
            CHECK(wrong == 0);
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("tile map: sorts by mask in Gray code, rarest offset on top, and keeps equal rows' order",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec;
  for (int const volume : {4, 27, 40, 90}) {
    for (int const splits : {1, 3}) {
      for (std::int64_t const num_out : {150, 3000}) {
        CAPTURE(volume);
        CAPTURE(splits);
        CAPTURE(num_out);
        auto map = upload_map<Space>(random_map(num_out, volume, 5), volume, exec);
        CHECK(is_sorted(map, *ts::tile_map(map, true, splits, 64, exec), exec));
        CHECK(is_sorted(map, *ts::tile_map(map, true, splits, 16, exec), exec));
      }
    }
  }
}

TEST_CASE_TEMPLATE("tile map: maps that know their masks are sorted by them, the farthest offset on top",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec;
  auto const in = test::random_coordinates<3>(2000, 2, ts::IntArray<3>(-7), ts::IntArray<3>(7), 11);
  auto const set = ts::make_coordinate_set(in, {}, exec);
  auto const check = [&](ts::KernelMap<Space>& map) {
    REQUIRE(map.parts().mask_keys.size() == map.num_out());
    CHECK(is_sorted(map, *ts::tile_map(map, true, 1, 16, exec), exec));
    CHECK(is_sorted(map, *ts::tile_map(map, true, 3, 16, exec), exec));
  };
  ts::ConvolutionGeometry<3> g;
  auto const same = ts::kernel_map(*set, ts::ConvolutionKind::submanifold, g, ts::compat::none, exec).map;
  check(*same);
  auto const& order = same->parts().offset_order;
  CHECK(order.offset_at[0] == 13);
  std::vector<int> corners(order.offset_at + 19, order.offset_at + 27);
  CHECK(corners == std::vector<int>{0, 2, 6, 8, 18, 20, 24, 26});
  g.stride = 2;
  g.padding = 1;
  check(*ts::kernel_map(*set, ts::ConvolutionKind::strided, g, ts::compat::none, exec).map);
  g.padding = 0;
  g.kernel_size = 2;
  auto const down = ts::kernel_map(*set, ts::ConvolutionKind::strided, g, ts::compat::none, exec).map;
  check(*down);
  check(*ts::transpose(*down, exec));
}

TEST_CASE_TEMPLATE("tile map: is made once for each choice, and refuses what is invalid", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec;
  auto map = upload_map<Space>(random_map(100, 27, 9), 27, exec);
  auto const first = ts::tile_map(map, true, 1, 64, exec);
  CHECK(ts::tile_map(map, true, 1, 64, exec) == first);
  CHECK(ts::tile_map(map, false, 1, 64, exec) != first);
  CHECK(ts::tile_map(map, true, 3, 64, exec) != first);
  CHECK(ts::tile_map(map, true, 1, 32, exec) != first);
  CHECK(ts::detail::row_order(map, 1, exec) == ts::detail::row_order(map, 1, exec));
  CHECK_THROWS_AS(static_cast<void>(ts::tile_map(map, true, 0, 64, exec)), ts::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(ts::tile_map(map, true, 1, 0, exec)), ts::invalid_argument);

  auto none = upload_map<Space>({}, 27, exec);
  auto const empty = ts::tile_map(none, true, 3, 64, exec);
  CHECK(empty->num_tiles == 0);
  CHECK(empty->order.empty());
}
