// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/memory.hpp"

#include <tessera/coords/combine_sets.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <utility>

using namespace tessera;

namespace {

template <int Dim>
using Rows = std::vector<Coordinate<Dim>>;

template <int Dim>
bool precedes(Coordinate<Dim> const& a, Coordinate<Dim> const& b)
{
  if (a.batch != b.batch) { return a.batch < b.batch; }
  return std::lexicographical_compare(a.position.begin(), a.position.end(), b.position.begin(),
                                      b.position.end());
}

template <int Dim>
Rows<Dim> random_rows(std::mt19937& random, int count, int extent, int batches)
{
  Rows<Dim> rows;
  for (int tries = 0; tries < 4 * count && static_cast<int>(rows.size()) < count; ++tries) {
    Coordinate<Dim> c{static_cast<int>(random() % static_cast<unsigned>(batches)), {}};
    for (int i = 0; i < Dim; ++i) {
      c.position[i] = static_cast<int>(random() % static_cast<unsigned>(extent)) - extent / 2;
    }
    if (std::find(rows.begin(), rows.end(), c) == rows.end()) { rows.push_back(c); }
  }
  return rows;
}

template <int Dim>
std::int32_t row_of(Rows<Dim> const& rows, Coordinate<Dim> const& c)
{
  auto const found = std::find(rows.begin(), rows.end(), c);
  return found == rows.end() ? -1 : static_cast<std::int32_t>(found - rows.begin());
}

/// The definition: every voxel of either set, or those of both, in order.
template <int Dim>
Rows<Dim> combined(Rows<Dim> const& a, Rows<Dim> const& b, bool both)
{
  Rows<Dim> result;
  for (auto const& c : a) {
    if (!both || row_of(b, c) >= 0) { result.push_back(c); }
  }
  for (auto const& c : b) {
    if (!both && row_of(a, c) < 0) { result.push_back(c); }
  }
  std::sort(result.begin(), result.end(), precedes<Dim>);
  return result;
}

template <int Dim, class Space>
void expect_combination(CombinedSets<Dim, Space> const& found, Rows<Dim> const& a, Rows<Dim> const& b,
                        bool both, Execution<Space> const& exec)
{
  auto const expected = combined(a, b, both);
  found.coordinates->check(exec);
  auto const num_rows = found.coordinates->num_rows();
  REQUIRE(num_rows == static_cast<std::int64_t>(expected.size()));
  auto const rows = download(found.coordinates->data(), found.coordinates->capacity(), exec);
  auto const of_first = download(found.rows->of_first, exec);
  auto const of_second = download(found.rows->of_second, exec);
  REQUIRE(of_first.size() == rows.size());
  REQUIRE(of_second.size() == rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    bool const used = i < expected.size();
    REQUIRE(rows[i] == (used ? expected[i] : Coordinate<Dim>{}));
    REQUIRE(of_first[i] == (used ? row_of(a, expected[i]) : -1));
    REQUIRE(of_second[i] == (used ? row_of(b, expected[i]) : -1));
    if (used) { REQUIRE(found.coordinates->box().contains(rows[i])); }
  }
}

/// A set of `rows` with room for `capacity`, garbage behind the rows, whose number the host is not told.
template <int Dim, class Space>
CoordinateSetPointer<Dim, Space> counted_set(Rows<Dim> rows, std::int64_t capacity,
                                             CoordinateSetOptions<Dim> const& options,
                                             Execution<Space> const& exec)
{
  auto const count = upload(std::vector<std::int32_t>{static_cast<std::int32_t>(rows.size())}, exec);
  Coordinate<Dim> garbage{-77, IntArray<Dim>(12345678)};
  rows.resize(static_cast<std::size_t>(capacity), garbage);
  auto const memory = upload(rows, exec);
  auto const* const first = reinterpret_cast<std::int32_t const*>(memory.data());
  return make_coordinate_set<Dim>(first, RowCount{capacity, count.data()}, options, exec);
}

template <int Dim, class Space>
void expect_definition(unsigned seed)
{
  CAPTURE(Dim);
  CAPTURE(seed);
  Execution<Space> const exec{};
  std::mt19937 random{seed};
  int const extent = Dim < 3 ? 24 : 7;
  std::vector<std::pair<int, int>> const sizes{{200, 150}, {0, 20}, {30, 0}, {0, 0}, {1, 1}};
  for (auto const& size : sizes) {
    int const a_rows = size.first;
    int const b_rows = size.second;
    CAPTURE(a_rows);
    auto const a = random_rows<Dim>(random, a_rows, extent, 3);
    auto const b = random_rows<Dim>(random, b_rows, extent, 2);
    auto const first = make_coordinate_set(a, CoordinateSetOptions<Dim>{}, exec);
    auto const second = make_coordinate_set(b, CoordinateSetOptions<Dim>{}, exec);
    expect_combination(unite_coordinates(first, second, exec), a, b, false, exec);
    expect_combination(intersect_coordinates(first, second, exec), a, b, true, exec);
    CHECK(same_voxels(first, second, exec) == (a.empty() && b.empty()));

    CoordinateSetOptions<Dim> options;
    options.fixed_capacity = FixedCapacity{};
    auto const counted = counted_set<Dim, Space>(a, a_rows + 9, options, exec);
    auto const united = unite_coordinates(counted, second, exec);
    CHECK(united.coordinates->has_device_count());
    expect_combination(united, a, b, false, exec);
    expect_combination(unite_coordinates(second, counted, exec), b, a, false, exec);
    auto const shared = intersect_coordinates(counted, second, exec);
    CHECK(shared.coordinates->capacity() <= static_cast<std::int64_t>(b.size()));
    expect_combination(shared, a, b, true, exec);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("combine sets: union and intersection are those of the definition, in 1 to 4 dimensions",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  expect_definition<1, Space>(1);
  expect_definition<2, Space>(2);
  expect_definition<3, Space>(3);
  expect_definition<4, Space>(4);
}

TEST_CASE_TEMPLATE("combine sets: keys of 64 bits, and positions far apart", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{8};
  auto a = random_rows<3>(random, 100, 400000, 2);
  auto b = random_rows<3>(random, 100, 900000, 4);
  b.insert(b.end(), a.begin(), a.begin() + 40);
  auto const first = make_coordinate_set(a, CoordinateSetOptions<3>{}, exec);
  auto const second = make_coordinate_set(b, CoordinateSetOptions<3>{}, exec);
  expect_combination(unite_coordinates(first, second, exec), a, b, false, exec);
  expect_combination(intersect_coordinates(first, second, exec), a, b, true, exec);
}

TEST_CASE_TEMPLATE("combine sets: the same voxels are found in whatever order, and one that differs too",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{5};
  auto const a = random_rows<3>(random, 300, 12, 2);
  auto b = a;
  std::shuffle(b.begin(), b.end(), random);
  CoordinateSetOptions<3> const range{1, SpatialRange<3>{5, {90, 90, 90}}};
  auto const first = make_coordinate_set(a, CoordinateSetOptions<3>{}, exec);
  auto const second = make_coordinate_set(b, CoordinateSetOptions<3>{}, exec);
  CHECK(same_voxels(first, first, exec));
  auto const match = match_rows(first, second, exec);
  REQUIRE(match.has_value());
  auto const rows = download(*match, exec);
  for (std::size_t i = 0; i < a.size(); ++i) { REQUIRE(b[static_cast<std::size_t>(rows[i])] == a[i]); }
  // counted in the space
  auto const counted = counted_set<3, Space>(b, 400, CoordinateSetOptions<3>{}, exec);
  CHECK(same_voxels(first, counted, exec));
  CHECK(same_voxels(counted, first, exec));
  // as many voxels, one of them another
  b[17].position[1] = 77;
  CHECK_FALSE(same_voxels(first, make_coordinate_set(b, CoordinateSetOptions<3>{}, exec), exec));
  // one fewer, and another stride
  b.pop_back();
  CHECK_FALSE(same_voxels(first, make_coordinate_set(b, CoordinateSetOptions<3>{}, exec), exec));
  CHECK_FALSE(same_voxels(first, make_coordinate_set(a, CoordinateSetOptions<3>{2, {}}, exec), exec));
  // a range is no voxel
  std::vector<Coordinate<3>> const near{{0, {1, 2, 3}}, {1, {4, 5, 6}}};
  CHECK(same_voxels(make_coordinate_set(near, range, exec),
                    make_coordinate_set(near, CoordinateSetOptions<3>{}, exec), exec));
}

TEST_CASE_TEMPLATE("combine sets: ranges, entries and strides of the result", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Rows<2> const a{{0, {1, 1}}, {2, {3, 0}}};
  Rows<2> const b{{0, {1, 1}}, {1, {8, 2}}};
  CoordinateSetOptions<2> const a_options{{4, 2}, SpatialRange<2>{3, {4, 9}}};
  CoordinateSetOptions<2> const b_options{{4, 2}, SpatialRange<2>{2, {9, 5}}};
  auto const first = make_coordinate_set(a, a_options, exec);
  auto const second = make_coordinate_set(b, b_options, exec);
  for (auto const& result :
       {unite_coordinates(first, second, exec), intersect_coordinates(first, second, exec)}) {
    REQUIRE(result.coordinates->spatial_range());
    CHECK(*result.coordinates->spatial_range() == SpatialRange<2>{3, {9, 9}});
    CHECK(result.coordinates->tensor_stride() == IntArray<2>{4, 2});
    CHECK(result.coordinates->num_batches() == 3);
    CHECK(result.coordinates->origin() == nullptr);
  }
  auto const without = make_coordinate_set(b, CoordinateSetOptions<2>{{4, 2}, {}}, exec);
  CHECK_FALSE(unite_coordinates(first, without, exec).coordinates->spatial_range());
}

TEST_CASE_TEMPLATE(
    "combine sets: sets of one coordinate manager give a set of that coordinate manager, which is found "
    "again",
    Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  {
    auto const exec = memory.execution(2);
    Rows<2> const a{{0, {1, 1}}, {0, {3, 0}}};
    Rows<2> const b{{0, {3, 0}}, {0, {8, 2}}};
    auto const input = make_coordinate_set(a, CoordinateSetOptions<2>{}, exec);
    auto const derived = input->derive(
        {upload(b, exec)},
        [&] {
          auto box = input->box();
          box.upper = IntArray<2>{8, 2};
          return box;
        }(),
        CoordinateSetOptions<2>{}, exec);
    auto const once = unite_coordinates(input, derived, exec);
    auto const before = memory.allocations();
    auto const again = unite_coordinates(input, derived, exec);
    CHECK(memory.allocations() == before);
    CHECK(again.coordinates == once.coordinates);
    CHECK(again.rows == once.rows);
    CHECK(detail::access(*once.coordinates).errors() == detail::access(*input).errors());
    expect_combination(once, a, b, false, exec);
    auto const other = intersect_coordinates(input, derived, exec);
    CHECK(other.coordinates != once.coordinates);
    expect_combination(other, a, b, true, exec);
  }
  CHECK(memory.bytes_in_use() == 0);
}

TEST_CASE_TEMPLATE("combine sets: more voxels than there is room for are reported, none lies outside", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{6};
  auto const a = random_rows<3>(random, 60, 50, 1);
  auto const b = random_rows<3>(random, 60, 50, 1);
  CoordinateSetOptions<3> options;
  options.fixed_capacity = FixedCapacity{static_cast<std::int64_t>(combined(a, b, false).size())};
  auto const roomy = counted_set<3, Space>(a, 70, options, exec);
  auto const second = make_coordinate_set(b, CoordinateSetOptions<3>{}, exec);
  expect_combination(unite_coordinates(roomy, second, exec), a, b, false, exec);
  options.fixed_capacity = FixedCapacity{options.fixed_capacity->max_rows - 1};
  auto const tight = counted_set<3, Space>(a, 70, options, exec);
  CHECK(test::error_of([&] { unite_coordinates(tight, second, exec).coordinates->check(exec); }) ==
        "coordinates: more rows than the capacity given");
}

TEST_CASE_TEMPLATE(
    "combine sets: what does not go together is refused, and faults of either set come through", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Rows<2> const row{{0, {1, 1}}};
  auto const good = make_coordinate_set(row, CoordinateSetOptions<2>{}, exec);
  auto const coarse = make_coordinate_set(row, CoordinateSetOptions<2>{2, {}}, exec);
  CoordinateSetPointer<2, Space> const none;
  auto const error = [&](auto const& a, auto const& b) {
    return test::error_of([&] { unite_coordinates(a, b, exec).coordinates->check(exec); });
  };
  CHECK(error(good, none) == "unite_coordinates: the second set is missing");
  CHECK(error(none, good) == "unite_coordinates: the first set is missing");
  CHECK(error(good, coarse) ==
        "unite_coordinates: tensor strides [1, 1] and [2, 2] differ; voxels of one size are needed");
  auto const twice = make_coordinate_set(Rows<2>{{0, {1, 1}}, {0, {1, 1}}}, CoordinateSetOptions<2>{}, exec);
  CHECK(test::has(error(good, twice), "two rows hold the same coordinate"));
  auto const outside =
      make_coordinate_set(Rows<2>{{0, {9, 1}}}, CoordinateSetOptions<2>{1, SpatialRange<2>{1, {4, 4}}}, exec);
  CHECK(test::has(error(good, outside), "outside the declared spatial range"));
  CHECK(test::has(test::error_of([&] { static_cast<void>(same_voxels(good, outside, exec)); }),
                  "outside the declared spatial range"));
  CoordinateSetOptions<2> fixed;
  fixed.fixed_capacity = FixedCapacity{};
  CHECK(test::has(error(make_coordinate_set(row, fixed, exec), twice), "two rows hold the same coordinate"));
}
