// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"

#include <tessera/hash/coordinate_table.hpp>

#include <map>
#include <random>
#include <tuple>

using namespace tessera;

namespace {

template <int Dim, class Key>
struct FindEach {
  CoordinateTableRef<Dim, Key> table;
  Coordinate<Dim> const* queries;
  std::int32_t* rows;
  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { rows[i] = table.find(queries[i]); }
};

template <int Dim, class Space>
std::vector<std::int32_t> find_all(CoordinateTable<Dim, Space>& table,
                                   std::vector<Coordinate<Dim>> const& queries, Execution<Space> const& exec)
{
  auto const on_space = upload(queries, exec);
  Buffer<std::int32_t, Space> rows{on_space.size(), exec};
  table.visit([&](auto const& ref) {
    using Key = typename decltype(ref.packing)::KeyType;
    for_each(on_space.size(), FindEach<Dim, Key>{ref, on_space.data(), rows.data()}, exec);
  });
  return download(rows, exec);
}

template <int Dim, class Space>
void check_against_a_map(int extent, unsigned seed)
{
  CAPTURE(Dim);
  CAPTURE(extent);
  CAPTURE(seed);
  Execution<Space> const exec{};
  std::mt19937 random{seed};
  auto const draw = [&] {
    Coordinate<Dim> c;
    c.batch = static_cast<int>(random() % 3);
    for (int i = 0; i < Dim; ++i) {
      c.position[i] = static_cast<int>(random() % static_cast<unsigned>(extent)) - extent / 3;
    }
    return c;
  };
  auto const text = [](Coordinate<Dim> const& c) {
    return detail::concat(c.batch, detail::list(c.position));
  };
  std::map<std::string, std::int32_t> rows_of;
  std::vector<Coordinate<Dim>> rows;
  for (int tries = 0; tries < 3000; ++tries) {
    auto const c = draw();
    if (rows_of.emplace(text(c), static_cast<std::int32_t>(rows.size())).second) { rows.push_back(c); }
  }
  auto const set = make_coordinate_set(rows, {}, exec);
  auto const table = coordinate_table(*set, exec);
  auto queries = rows;
  for (int i = 0; i < 3000; ++i) { queries.push_back(draw()); }
  queries.push_back({-1, rows[0].position});
  queries.push_back({1 << 20, rows[0].position});
  auto far = rows[0];
  far.position[0] = INT_MAX;
  queries.push_back(far);
  auto const found = find_all(*table, queries, exec);
  int wrong = 0;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    auto const expected = rows_of.find(text(queries[i]));
    if (found[i] != (expected == rows_of.end() ? -1 : expected->second)) { ++wrong; }
  }
  CHECK(wrong == 0);
  CHECK(coordinate_table(*set, exec) == table);  // made once
  set->check(exec);
}

}  // namespace

TEST_CASE_TEMPLATE(
    "coordinate table: finds every row and nothing else, in 1 to 6 dimensions and both key widths", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (unsigned seed : {1U, 2U}) {
    check_against_a_map<1, Space>(5000, seed);
    check_against_a_map<2, Space>(60, seed);
    check_against_a_map<3, Space>(14, seed);       // 32-bit keys
    check_against_a_map<3, Space>(1 << 20, seed);  // 64-bit keys
    check_against_a_map<4, Space>(20000, seed);
    check_against_a_map<6, Space>(4, seed);
  }
}

TEST_CASE_TEMPLATE("coordinate table: duplicates and rows outside a declared range are reported", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const build = [&](std::vector<Coordinate<3>> const& rows, CoordinateSetOptions<3> const& options) {
    auto const set = make_coordinate_set(rows, options, exec);
    auto const table = coordinate_table(*set, exec);
    set->check(exec);
  };
  CHECK_THROWS_WITH_AS(build({{0, {1, 2, 3}}, {0, {4, 4, 4}}, {0, {1, 2, 3}}}, {}),
                       doctest::Contains("two rows hold the same coordinate"), invalid_argument);
  // the same with 64-bit keys
  CHECK_THROWS_WITH_AS(build({{0, {1, 2, 3}}, {0, {1 << 20, 1 << 20, 4}}, {0, {1, 2, 3}}}, {}),
                       doctest::Contains("two rows hold the same coordinate"), invalid_argument);
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, {4, 4, 4}};
  build({{0, {0, 0, 0}}, {0, {3, 3, 3}}}, options);
  for (auto const& outside : {Coordinate<3>{0, {4, 0, 0}}, Coordinate<3>{0, {0, -1, 0}},
                              Coordinate<3>{1, {0, 0, 0}}, Coordinate<3>{-1, {0, 0, 0}}}) {
    CHECK_THROWS_WITH_AS(build({{0, {0, 0, 0}}, outside}, options),
                         doctest::Contains("outside the declared spatial range"), invalid_argument);
  }
}

TEST_CASE_TEMPLATE("coordinate table: a set without rows finds nothing", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const set = make_coordinate_set(std::vector<Coordinate<2>>{}, {}, exec);
  CHECK(find_all(*coordinate_table(*set, exec), std::vector<Coordinate<2>>{{0, {0, 0}}}, exec) ==
        std::vector<std::int32_t>{-1});
}

TEST_CASE_TEMPLATE("coordinate table: of rows with one key the smallest is found, whichever comes first", Key,
                   std::uint32_t, std::uint64_t)
{
  Execution<Host> const exec{1};
  detail::HashTable<Key, Host> table{8, exec};
  auto const ref = table.ref();
  CHECK_FALSE(ref.insert(Key{5}, 9));
  CHECK(ref.insert(Key{5}, 3));
  CHECK(ref.insert(Key{5}, 7));
  CHECK(ref.find(Key{5}) == 3);
}
