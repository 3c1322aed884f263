// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/small.hpp"
#include "../support/spaces.hpp"

#include <tessera/kmap/tile_map.hpp>
#ifdef __CUDACC__
#include <tessera/core/launch.cuh>
#include <tessera/core/sort.cuh>
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

/// The neighbours of a row in a split of `length` offsets, with the rarest offset first, or, where they are
/// few, the last: what rows are sorted by.
std::vector<bool> key_of(std::vector<std::int32_t> const& map, int volume, std::int64_t row, int begin,
                         int end, int length)
{
  auto const count = [&](int k) {
    std::int64_t n = 0;
    for (std::size_t i = static_cast<std::size_t>(k); i < map.size(); i += static_cast<std::size_t>(volume)) {
      n += map[i] >= 0 ? 1 : 0;
    }
    return n;
  };
  std::vector<std::pair<std::int64_t, int>> offsets;
  for (int k = begin; k < end; ++k) { offsets.emplace_back(length > 8 ? count(k) : -k, k); }
  std::sort(offsets.begin(), offsets.end());
  std::vector<bool> key;
  for (auto const& offset : offsets) {
    if (key.size() < 64) { key.push_back(map[static_cast<std::size_t>(row * volume + offset.second)] >= 0); }
  }
  return key;
}

}  // namespace

TEST_CASE_TEMPLATE("tile map: holds the kernel map, in its order and with exact masks", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec;
  unsigned seed = 0;
  for (int const volume : {1, 3, 5, 27, 64, 125, 2000}) {
    if (volume > 125 && test::small_sets()) { continue; }
    for (std::int64_t const num_out : {1, 63, 64, 200}) {
      auto const map = random_map(num_out, volume, ++seed);
      auto kernel_map = upload_map<Space>(map, volume, exec);
      for (int const splits : {1, 2, 3, 4, 7}) {
        for (bool const sort : {false, true}) {
          for (int const rows : {32, 64}) {
            CAPTURE(seed);
            CAPTURE(volume);
            CAPTURE(num_out);
            CAPTURE(splits);
            CAPTURE(sort);
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

TEST_CASE_TEMPLATE("tile map: sorts by descending mask, rarest offset on top, and keeps equal rows' order",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<Space> const exec;
  for (int const volume : {4, 27, 40, 90}) {
    for (int const splits : {1, 3}) {
      CAPTURE(volume);
      CAPTURE(splits);
      auto const map = random_map(150, volume, 5);
      auto kernel_map = upload_map<Space>(map, volume, exec);
      auto const tiles = ts::tile_map(kernel_map, true, splits, 64, exec);
      auto const order = ts::download(tiles->order, exec);
      for (int z = 0; z < splits; ++z) {
        int const begin = z * tiles->split_length;
        int const end = std::min(volume, begin + tiles->split_length);
        for (std::size_t i = 1; i < 150; ++i) {
          auto const before = order[static_cast<std::size_t>(z) * 192 + i - 1];
          auto const after = order[static_cast<std::size_t>(z) * 192 + i];
          auto const key_before = key_of(map, volume, before, begin, end, tiles->split_length);
          auto const key_after = key_of(map, volume, after, begin, end, tiles->split_length);
          REQUIRE((key_before > key_after || (key_before == key_after && before < after)));
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("tile map: is made once for each choice, and refuses what cannot be meant", Space,
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
  CHECK_THROWS_AS(static_cast<void>(ts::tile_map(map, true, 0, 64, exec)), ts::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(ts::tile_map(map, true, 1, 0, exec)), ts::invalid_argument);

  auto none = upload_map<Space>({}, 27, exec);
  auto const empty = ts::tile_map(none, true, 3, 64, exec);
  CHECK(empty->num_tiles == 0);
  CHECK(empty->order.empty());
}
