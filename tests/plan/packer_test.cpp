// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/plan/detail/packer.hpp>

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <vector>

using namespace tessera;

TEST_CASE("Packer: blocks that live at the same time do not overlap, and lie within the bytes it names")
{
  for (unsigned seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    detail::Packer packer;
    std::map<std::size_t, std::size_t> live;
    std::size_t most_at_once = 0;
    std::size_t now = 0;
    for (int step = 0; step < 2000; ++step) {
      if (live.size() < 3 || random() % 2 == 0) {
        std::size_t const bytes = 1 + random() % 5000;
        auto const place = packer.take(bytes);
        CHECK(place % detail::Packer::alignment == 0);
        for (auto const& block : live) {
          bool const apart = place + bytes <= block.first || block.first + block.second <= place;
          REQUIRE(apart);
        }
        live[place] = bytes;
        now += bytes;
        most_at_once = std::max(most_at_once, now);
        CHECK(place + bytes <= packer.bytes());
      } else {
        auto const victim = std::next(live.begin(), static_cast<std::ptrdiff_t>(random() % live.size()));
        packer.give_back(victim->first);
        now -= victim->second;
        live.erase(victim);
      }
    }
    CHECK(packer.num_blocks() == live.size());
    CHECK(packer.bytes() >= most_at_once);
    CHECK(packer.bytes() < 2 * most_at_once);
  }
}

TEST_CASE("Packer: memory that was given back is used again")
{
  detail::Packer packer;
  auto const first = packer.take(1000);
  auto const second = packer.take(1000);
  CHECK(first == 0);
  CHECK(second == 1024);
  packer.give_back(first);
  CHECK(packer.take(500) == 0);
  CHECK(packer.take(600) == 2048);
  CHECK(packer.take(512) == 512);
  CHECK(packer.bytes() == 2048 + 768);
}
