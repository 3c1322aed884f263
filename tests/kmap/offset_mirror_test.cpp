// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/oracle.hpp"

#include <tessera/kmap/kernel_map.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <random>
#include <type_traits>
#include <vector>

using namespace tessera;

namespace {

template <int Dim>
using Offsets = std::vector<IntArray<Dim>>;

/// The offsets of a region, counted up with the last axis fastest.
template <int Dim>
Offsets<Dim> offsets_of(KernelRegion<Dim> const& region)
{
  Offsets<Dim> offsets;
  for (auto const& digits : test::kernel_digits(region.size)) {
    IntArray<Dim> offset;
    for (int i = 0; i < Dim; ++i) { offset[i] = digits[i] * region.dilation[i] - region.anchor[i]; }
    offsets.push_back(offset);
  }
  return offsets;
}

/// The number of the offset that is the negative of offset k, or -1.
template <int Dim>
int negative_of(Offsets<Dim> const& offsets, std::size_t k)
{
  for (std::size_t other = 0; other < offsets.size(); ++other) {
    bool negates = true;
    for (int i = 0; i < Dim; ++i) { negates = negates && offsets[other][i] == -offsets[k][i]; }
    if (negates) { return static_cast<int>(other); }
  }
  return -1;
}

/// Holds a mirror against the definition: there is one where every offset has a negative, which it names.
template <int Dim>
void check_mirror(OffsetMirror const& mirror, Offsets<Dim> const& offsets, bool may_exist)
{
  bool is_closed = may_exist;
  for (std::size_t k = 0; k < offsets.size(); ++k) { is_closed = is_closed && negative_of(offsets, k) >= 0; }
  REQUIRE(mirror.exists() == is_closed);
  if (!is_closed) { return; }
  CHECK(mirror.volume() == static_cast<int>(offsets.size()));
  for (std::size_t k = 0; k < offsets.size(); ++k) {
    CHECK(mirror(static_cast<int>(k)) == negative_of(offsets, k));
  }
}

template <int Dim>
void check_region(KernelRegion<Dim> const& region)
{
  CAPTURE(Dim);
  CAPTURE(detail::list(region.size));
  CAPTURE(detail::list(region.stride));
  CAPTURE(detail::list(region.dilation));
  CAPTURE(detail::list(region.anchor));
  auto const offsets = offsets_of(region);
  // at another stride inputs and outputs are no pairs of rows of one grid
  bool const is_dense = all_equal(region.stride, 1);
  check_mirror(mirror_of(region), offsets, is_dense);
  check_mirror(mirror_of(offsets), offsets, true);
  if (is_dense && mirror_of(region).exists()) { CHECK(mirror_of(region).is_reversal()); }
}

/// Calls `body(size, dilation, anchor, stride)` for every axis of the table.
template <class Body>
void for_each_axis(Body const& body)
{
  for (int size = 1; size <= 4; ++size) {
    for (int dilation = 1; dilation <= 3; ++dilation) {
      for (int anchor = -1; anchor <= (size - 1) * dilation + 1; ++anchor) {
        for (int stride = 1; stride <= 2; ++stride) { body(size, dilation, anchor, stride); }
      }
    }
  }
}

}  // namespace

TEST_CASE("offset mirror: a region has one exactly where its offsets are closed under negation")
{
  for_each_axis([](int size, int dilation, int anchor, int stride) {
    check_region<1>({size, stride, dilation, anchor});
    for_each_axis([&](int other_size, int other_dilation, int other_anchor, int other_stride) {
      check_region<2>(
          {{size, other_size}, {stride, other_stride}, {dilation, other_dilation}, {anchor, other_anchor}});
    });
  });
  for (unsigned seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    auto const draw = [&](int lowest, int highest) {
      return std::uniform_int_distribution<int>{lowest, highest}(random);
    };
    auto const draw_region = [&](auto dim) {
      KernelRegion<decltype(dim)::value> region;
      for (int i = 0; i < decltype(dim)::value; ++i) {
        region.size[i] = draw(1, 4);
        region.dilation[i] = draw(1, 3);
        int const reach = (region.size[i] - 1) * region.dilation[i];
        bool const centres = reach % 2 == 0 && draw(0, 5) > 0;
        region.anchor[i] = centres ? reach / 2 : draw(-1, reach + 1);
      }
      return region;
    };
    check_region(draw_region(std::integral_constant<int, 3>{}));
    check_region(draw_region(std::integral_constant<int, 4>{}));
  }
}

TEST_CASE("offset mirror: a list of offsets in any order has one exactly where it is closed under negation")
{
  Offsets<2> const plus{{0, 0}, {1, 0}, {0, 1}, {-1, 0}, {0, -1}};
  auto const mirror = mirror_of(plus);
  check_mirror(mirror, plus, true);
  CHECK(!mirror.is_reversal());
  for (std::size_t absent = 0; absent < plus.size(); ++absent) {
    auto offsets = plus;
    offsets.erase(offsets.begin() + static_cast<std::ptrdiff_t>(absent));
    CHECK(mirror_of(offsets).exists() == (absent == 0));  // without the centre it still is
  }
  CHECK(!mirror_of(Offsets<2>{{0, 0}, {1, 0}, {-1, 0}, {1, 0}}).exists());  // of which it is not known whose
  CHECK(!mirror_of(Offsets<1>{{INT_MIN}, {0}}).exists());
  CHECK(!mirror_of(Offsets<1>{}).exists());
  for (unsigned seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    Offsets<3> offsets;
    while (offsets.size() < 9) {
      IntArray<3> offset;
      for (int i = 0; i < 3; ++i) { offset[i] = static_cast<int>(random() % 9) - 4; }
      if (std::find(offsets.begin(), offsets.end(), offset) != offsets.end()) { continue; }
      offsets.push_back(offset);
      for (int i = 0; i < 3; ++i) { offset[i] = -offset[i]; }
      bool const is_centre = all_equal(offset, 0);
      bool const drops = random() % 16 == 0;
      if (!is_centre && !drops) { offsets.push_back(offset); }
    }
    std::shuffle(offsets.begin(), offsets.end(), random);
    check_mirror(mirror_of(offsets), offsets, true);
  }
}

TEST_CASE("offset mirror: a list of partners that are not each other's is refused")
{
  CHECK(OffsetMirror{{2, 1, 0}}.is_reversal());
  CHECK(!OffsetMirror{{0, 2, 1}}.is_reversal());
  CHECK_THROWS_WITH_AS((OffsetMirror{{1, 2, 0}}), doctest::Contains("offset 0 has partner 1"),
                       invalid_argument);
  CHECK_THROWS_AS((OffsetMirror{{3, 1, 0}}), invalid_argument);
  CHECK_THROWS_AS((OffsetMirror{{-1, 0}}), invalid_argument);
}

TEST_CASE("offset mirror: a map takes none of another number of offsets, or between sets of other sizes")
{
  Execution<Host> const exec;
  auto const make = [&](std::int64_t num_in, int volume) {
    KernelMapParts<Host> parts;
    parts.mirror = OffsetMirror::reversal(volume);
    return KernelMap<Host>{
        upload(std::vector<std::int32_t>(6, -1), exec), num_in, 2, 3, -1, std::move(parts)};
  };
  CHECK(make(2, 3).is_symmetric());
  CHECK_THROWS_AS(static_cast<void>(make(2, 2)), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(make(3, 3)), invalid_argument);
}
