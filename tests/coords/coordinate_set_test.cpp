// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/key_packing.hpp>

#include <random>

using namespace tessera;

TEST_CASE_TEMPLATE("CoordinateSet: knows the bounds of its rows, negative ones too", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<Coordinate<2>> const rows{{0, {3, -7}}, {2, {-1, 5}}, {0, {0, 0}}};
  auto const set = make_coordinate_set(rows, {}, exec);
  CHECK(set->num_rows() == 3);
  CHECK(set->num_batches() == 3);
  CHECK(set->box().lower == IntArray<2>{-1, -7});
  CHECK(set->box().upper == IntArray<2>{3, 5});
  CHECK(download(set->data(), 3, exec) == rows);
  set->check(exec);
}

TEST_CASE_TEMPLATE("CoordinateSet: bounds of many rows are those of a loop over them", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (unsigned seed : {1U, 2U}) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    std::vector<Coordinate<3>> rows(50000);
    IntArray<3> lower = 1 << 30;
    IntArray<3> upper = -(1 << 30);
    for (auto& row : rows) {
      row.batch = static_cast<int>(random() % 5);
      for (int i = 0; i < 3; ++i) {
        row.position[i] = static_cast<int>(random() % 2000001) - 1000000;
        lower[i] = std::min(lower[i], row.position[i]);
        upper[i] = std::max(upper[i], row.position[i]);
      }
    }
    auto const set = make_coordinate_set(rows, {}, exec);
    CHECK(set->num_batches() == 5);
    CHECK(set->box().lower == lower);
    CHECK(set->box().upper == upper);
  }
}

TEST_CASE_TEMPLATE("CoordinateSet: no rows and one row are sets like any other", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const none = make_coordinate_set(std::vector<Coordinate<3>>{}, {}, exec);
  CHECK(none->num_rows() == 0);
  CHECK(none->box().empty());
  CHECK(none->num_batches() == 0);
  none->check(exec);
  auto const one = make_coordinate_set(std::vector<Coordinate<3>>{{0, {5, 6, 7}}}, {}, exec);
  CHECK(one->box().lower == one->box().upper);
}

TEST_CASE_TEMPLATE("CoordinateSet: what is invalid is refused in a sentence with the numbers", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  using Rows = std::vector<Coordinate<3>>;
  auto const make = [&](Rows const& rows, CoordinateSetOptions<3> const& options) {
    return make_coordinate_set(rows, options, exec);
  };
  CHECK_THROWS_WITH_AS(make(Rows{{-2, {0, 0, 0}}}, {}),
                       "coordinates: batch entry -2 is negative; columns are (batch, x, y, ...)",
                       invalid_argument);
  CHECK_THROWS_WITH_AS(make(Rows{{INT_MAX, {0, 0, 0}}}, {}), doctest::Contains("batch entry 2147483647 is"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS(make(Rows{{0, {0, (1 << 30) + 1, 0}}}, {}), doctest::Contains("1073741825 on axis 1"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS(make(Rows{{0, {INT_MIN, 0, 0}}}, {}), doctest::Contains("-2147483648 to"),
                       invalid_argument);
  CoordinateSetOptions<3> options;
  options.tensor_stride = IntArray<3>{1, 0, 1};
  CHECK_THROWS_WITH_AS(make(Rows{}, options),
                       "coordinates: tensor stride [1, 0, 1] must be at least 1 on every axis",
                       invalid_argument);
  options.tensor_stride = 1;
  options.spatial_range = SpatialRange<3>{1, {4, 0, 4}};
  CHECK_THROWS_WITH_AS(make(Rows{}, options), doctest::Contains("spatial range 1 x [4, 0, 4]"),
                       invalid_argument);
  std::int32_t const row[4] = {};
  std::int64_t volatile negative = -1;  // so that no compiler warns of what is refused
  CHECK_THROWS_AS((void)make_coordinate_set<3>(row, negative, {}, exec), invalid_argument);
}

TEST_CASE(
    "KeyPacking: keys order as coordinates do and unpack to them, in the narrowest width that holds the box")
{
  struct Case {
    CoordinateBox<3> box;
    int bits;
  };
  for (auto const& entry :
       {Case{{1, {0, 0, 0}, {0, 0, 0}}, 0}, Case{{2, {-5, 0, 3}, {4, 1, 10}}, 1 + 4 + 1 + 3},
        Case{{1, {0, 0, 0}, {2047, 1023, 1023}}, 31}, Case{{2, {0, 0, 0}, {2047, 1023, 1023}}, 32},
        Case{{8, {-(1 << 19), -(1 << 19), -(1 << 19)}, {(1 << 19) - 1, (1 << 19) - 1, (1 << 19) - 1}}, 63}}) {
    auto const box = entry.box;
    auto const bits = entry.bits;
    CAPTURE(bits);
    CHECK(detail::key_bits(box) == bits);
    detail::with_packing(box, [&](auto const& packing) {
      using Key = typename std::decay_t<decltype(packing)>::KeyType;
      CHECK(sizeof(Key) == (bits <= 31 ? 4 : 8));
      std::mt19937 random{3};
      std::vector<Coordinate<3>> rows(200);
      for (auto& row : rows) {
        row.batch = static_cast<int>(random() % static_cast<unsigned>(box.batches));
        for (int i = 0; i < 3; ++i) {
          auto const pick = random() % 4;  // borders often
          row.position[i] =
              pick == 0 ? box.lower[i]
              : pick == 1
                  ? box.upper[i]
                  : box.lower[i] + static_cast<int>(random() % static_cast<std::uint64_t>(box.extent(i)));
        }
      }
      auto const less = [](Coordinate<3> const& a, Coordinate<3> const& b) {
        if (a.batch != b.batch) { return a.batch < b.batch; }
        return std::lexicographical_compare(a.position.begin(), a.position.end(), b.position.begin(),
                                            b.position.end());
      };
      for (std::size_t i = 0; i + 1 < rows.size(); ++i) {
        CHECK(packing.unpack(packing.pack(rows[i])) == rows[i]);
        CHECK((packing.pack(rows[i]) < packing.pack(rows[i + 1])) == less(rows[i], rows[i + 1]));
        CHECK(packing.pack(rows[i]) != static_cast<Key>(-1));  // the mark of an empty slot
      }
    });
  }
}

TEST_CASE("KeyPacking: a box of 64 bits or more is refused with the bits of every axis")
{
  CoordinateBox<4> const box{2, {0, 0, 0, -70000}, {65535, 65535, 65535, 0}};
  CHECK_THROWS_WITH_AS(
      detail::with_packing(box, [](auto const&) {}),
      "coordinates: a key of 66 bits is needed but 63 is the most: 1 for the batch, 16 for axis 0 (0 "
      "to 65535), 16 for axis 1 (0 to 65535), 16 for axis 2 (0 to 65535), 17 for axis 3 (-70000 to 0)",
      invalid_argument);
}
