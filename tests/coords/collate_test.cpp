// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/coords/collate.hpp>

#include <climits>

using namespace tessera;

namespace {

template <class Space>
using Set = CoordinateSetPointer<2, Space>;

template <class Space>
Set<Space> make(std::vector<Coordinate<2>> const& rows, CoordinateSetOptions<2> const& options = {})
{
  return make_coordinate_set(rows, options, Execution<Space>{});
}

template <class Space>
std::string collate_error(std::vector<Set<Space>> const& sets)
{
  return test::error_of([&] {
    Execution<Space> const exec{};
    collate_coordinates<2, Space>(sets, exec)->check(exec);
  });
}

}  // namespace

TEST_CASE_TEMPLATE("collate: single clouds become entries 0, 1, 2, an empty one included", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const all = collate_coordinates<2, Space>({make<Space>({{0, {3, 4}}, {0, {-1, 9}}}), make<Space>({}),
                                                  make<Space>({{0, {5, 5}}}), make<Space>({})},
                                                 exec);
  CHECK(download(all->data(), all->num_rows(), exec) ==
        std::vector<Coordinate<2>>{{0, {3, 4}}, {0, {-1, 9}}, {2, {5, 5}}});
  CHECK(all->num_batches() == 4);
  CHECK(all->box().lower == IntArray<2>{-1, 4});
  CHECK(all->box().upper == IntArray<2>{5, 9});
  CHECK_FALSE(all->spatial_range());
  all->check(exec);
}

TEST_CASE_TEMPLATE("collate: sets of several entries keep them apart; ranges take the largest extent", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const a = make<Space>({{1, {0, 0}}}, {2, SpatialRange<2>{3, {4, 9}}});
  auto const b = make<Space>({{0, {7, 1}}, {1, {0, 0}}}, {2, SpatialRange<2>{2, {8, 2}}});
  auto const all = collate_coordinates<2, Space>({a, b, a}, exec);
  CHECK(download(all->data(), 4, exec) ==
        std::vector<Coordinate<2>>{{1, {0, 0}}, {3, {7, 1}}, {4, {0, 0}}, {6, {0, 0}}});
  CHECK(all->num_batches() == 8);
  CHECK(*all->spatial_range() == SpatialRange<2>{8, {8, 9}});
  CHECK(all->tensor_stride() == IntArray<2>(2));
  all->check(exec);
}

TEST_CASE_TEMPLATE("collate: what does not go together is refused", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  std::vector<Coordinate<2>> const row{{0, {1, 1}}};
  CHECK(collate_error<Space>({}) == "collate: nothing to put together");
  CHECK(collate_error<Space>({make<Space>(row), nullptr}) == "collate: number 1 has no coordinates");
  CHECK(collate_error<Space>({make<Space>(row), make<Space>(row, {{2, 1}, {}})}) ==
        "collate: tensor strides differ: [1, 1] of the first, [2, 1] of number 1");
  CHECK(collate_error<Space>({make<Space>(row), make<Space>(row, {1, SpatialRange<2>{1, {9, 9}}})}) ==
        "collate: of the first and number 1 only one has a spatial range");
}

TEST_CASE_TEMPLATE("collate: a row outside its own range does not slip into another cloud", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  CoordinateSetOptions<2> const options{1, SpatialRange<2>{1, {9, 9}}};
  auto const wrong = make<Space>({{1, {1, 1}}}, options);
  auto const good = make<Space>({{0, {2, 2}}}, options);
  CHECK(test::has(collate_error<Space>({wrong, good}), "outside the declared spatial range"));
  auto const farthest = make<Space>({{INT_MAX, {1, 1}}}, options);
  CHECK(test::has(collate_error<Space>({good, farthest}), "outside the declared spatial range"));
  CHECK(collate_error<Space>({good, good}).empty());
}

TEST_CASE_TEMPLATE("collate: sets that are one scan keep their entry unless another set claims it", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const scan = [](int entry) {
    CoordinateSetOptions<2> options;
    options.only_entry = entry;
    return make<Space>({{entry, {entry, 1}}, {entry, {entry, 2}}}, options);
  };
  auto const entries = [&](std::vector<Set<Space>> const& sets) {
    auto const all = collate_coordinates<2, Space>(sets, exec);
    all->check(exec);
    std::vector<int> result{all->num_batches()};
    for (auto const& row : download(all->data(), all->num_rows(), exec)) { result.push_back(row.batch); }
    return result;
  };
  using Entries = std::vector<int>;  // their number, then that of each row
  CHECK(entries({scan(0), scan(1), scan(2)}) == Entries{3, 0, 0, 1, 1, 2, 2});
  CHECK(entries({scan(3), scan(1)}) == Entries{4, 3, 3, 1, 1});
  CHECK(entries({scan(3), scan(3)}) == Entries{2, 0, 0, 1, 1});
  CHECK(entries({scan(2), scan(0), scan(2)}) == Entries{3, 0, 0, 1, 1, 2, 2});
  auto const batch = make<Space>({{0, {0, 0}}, {1, {0, 0}}});
  CHECK(entries({batch, scan(2)}) == Entries{3, 0, 1, 2, 2});
  CHECK(entries({scan(2), batch}) == Entries{3, 2, 2, 0, 1});
  CHECK(entries({batch, scan(1)}) == Entries{3, 0, 1, 2, 2});
  CHECK(entries({batch, scan(5), batch}) == Entries{5, 0, 1, 2, 2, 3, 4});
  CHECK(entries({make<Space>({}), scan(1)}) == Entries{2, 1, 1});
  CHECK(entries({make<Space>({}), scan(0)}) == Entries{2, 1, 1});
  // rows of one entry are one scan where nothing else is declared
  auto const by_hand = [](int entry) { return make<Space>({{entry, {7, entry}}}); };
  CHECK(entries({by_hand(0), by_hand(1), by_hand(2)}) == Entries{3, 0, 1, 2});
  CHECK(entries({by_hand(2), by_hand(0)}) == Entries{3, 2, 0});
  CHECK(entries({by_hand(4), by_hand(4), by_hand(0)}) == Entries{3, 0, 1, 2});
  auto const of_five = make<Space>({{1, {1, 1}}}, {1, SpatialRange<2>{5, {9, 9}}});
  CHECK(entries({of_five, of_five}) == Entries{10, 1, 6});  // declared as five
  CoordinateSetOptions<2> declared{1, SpatialRange<2>{5, {9, 9}}};
  declared.only_entry = 1;
  CHECK(entries({make<Space>({{1, {1, 1}}}, declared)}) == Entries{5, 1});

  CoordinateSetOptions<2> wrong;
  wrong.only_entry = 1;
  CHECK(test::error_of([&] {
          make<Space>({{0, {1, 1}}, {1, {1, 2}}}, wrong);
        }) == "coordinates: rows of batch entries 0 to 1 in a set of entry 1 alone");
  CHECK(test::has(test::error_of([&] { make<Space>({{0, {1, 1}}}, wrong); }), "in a set of entry 1 alone"));
  wrong.spatial_range = SpatialRange<2>{2, {9, 9}};
  CHECK(test::has(collate_error<Space>({make<Space>({{0, {1, 1}}, {1, {1, 2}}}, wrong), of_five}),
                  "has a negative batch entry"));
  wrong.spatial_range = SpatialRange<2>{1, {9, 9}};
  CHECK(test::error_of([&] { make<Space>({}, wrong); }) == "coordinates: the only batch entry 1 of only 1");
  wrong.only_entry = -1;
  CHECK(test::error_of([&] { make<Space>({}, wrong); }) == "coordinates: the only batch entry -1");
}
