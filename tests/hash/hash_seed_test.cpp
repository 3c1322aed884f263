// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/small.hpp"

#include <tessera/coords/voxelize.hpp>
#include <tessera/hash/detail/hash_table.hpp>
#include <tessera/kmap/build.hpp>
#ifdef __CUDACC__
#include <tessera/coords/detail/hard_voxels_device.cuh>
#endif

#include <algorithm>
#include <random>
#include <set>
#include <vector>

using namespace tessera;

namespace {

/// Sets the seed of this process for a test, and puts it back.
class Seed {
 public:
  explicit Seed(HashSeed const& seed) : before_{detail::hash_seed()} { detail::set_hash_seed(seed); }
  Seed(Seed const&) = delete;
  Seed& operator=(Seed const&) = delete;
  ~Seed() { detail::set_hash_seed(before_); }

 private:
  HashSeed before_;
};

HashSeed const seeds[] = {{0x243f6a88U, 0x85a308d3U}, {1, 2}, {0xffffffffU, 0x13198a2eU}, {7, 0x80000000U}};

template <class Key>
struct InsertKeys {
  detail::HashTableRef<Key> table;
  Key const* keys;
  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    table.insert(keys[i], static_cast<std::int32_t>(i));
  }
};

/// probes[i] = slots from where key i begins to where it is.
template <class Key>
struct CountProbes {
  detail::HashTableRef<Key> table;
  Key const* keys;
  std::int32_t* probes;
  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto at = table.begin(keys[i]);
    while (key_at(at.slot()) != keys[i]) { at.advance(table.mask); }
    probes[i] = static_cast<std::int32_t>(at.probes) + 1;
  }
  TESSERA_HOST_DEVICE Key key_at(std::uint64_t slot) const
  {
    return sizeof(Key) == 8 ? static_cast<Key>(table.slots[2 * slot])
                            : static_cast<Key>(table.slots[slot] >> 32);
  }
};

/// entered[i] = what became of another key.
struct TryInsert {
  detail::HashTableRef<std::uint64_t> table;
  std::int32_t* entered;
  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    entered[i] = static_cast<std::int32_t>(table.try_insert(static_cast<std::uint64_t>(i) + 1000));
  }
};

struct Probes {
  double mean;
  int most;
};

template <class Space, class Key>
Probes probes_of(std::vector<Key> const& keys)
{
  Execution<Space> const exec{};
  auto const there = upload(keys, exec);
  detail::HashTable<Key, Space> table{there.size(), exec};
  Buffer<std::int32_t, Space> probes{there.size(), exec};
  for_each(there.size(), InsertKeys<Key>{table.ref(), there.data()}, exec);
  for_each(there.size(), CountProbes<Key>{table.ref(), there.data(), probes.data()}, exec);
  auto const counts = download(probes, exec);
  std::int64_t sum = 0;
  for (auto const count : counts) { sum += count; }
  return {static_cast<double>(sum) / static_cast<double>(counts.size()),
          *std::max_element(counts.begin(), counts.end())};
}

template <class Key>
std::vector<Key> random_keys(std::size_t count, int bits)
{
  std::mt19937_64 random{11};
  std::set<Key> keys;
  while (keys.size() < count) { keys.insert(static_cast<Key>(random() & ((std::uint64_t{1} << bits) - 1))); }
  return {keys.begin(), keys.end()};
}

/// Keys that begin in few buckets of the table that holds them, under a known seed.
template <class Key>
std::vector<Key> chosen_keys(std::size_t count, int bits, HashSeed const& seed)
{
  std::uint64_t slots = 16;
  while (slots < 2 * count) { slots *= 2; }
  auto const buckets = slots / detail::HashTableRef<Key>::bucket;
  std::vector<Key> keys;
  if (bits <= 32) {
    auto const cells = std::uint64_t{1} << bits;
    auto const width = count * buckets / cells + 1;
    for (std::uint64_t key = 0; key < cells && keys.size() < count; ++key) {
      if ((MurmurHash{}(static_cast<Key>(key), seed) & (buckets - 1)) < width) {
        keys.push_back(static_cast<Key>(key));
      }
    }
    return keys;
  }
  // what is added to the high half is known, so a high half that takes it back
  for (std::uint32_t low = 1; keys.size() < count; ++low) {
    auto mixed = low ^ seed.second;
    mixed = (mixed ^ (mixed >> 15)) * 0x2c1b3c6dU;
    mixed = (mixed ^ (mixed >> 12)) * 0x297a2d39U;
    auto const high = 0x12345678U ^ mixed ^ (mixed >> 15);
    if (std::uint64_t{high} >> (bits - 32) == 0) { keys.push_back(std::uint64_t{high} << 32 | low); }
  }
  return keys;
}

/// Keys that differ in the bits of `mask` alone.
template <class Key>
std::vector<Key> subcube(std::uint64_t mask)
{
  std::vector<Key> keys;
  std::uint64_t bits = 0;
  do {
    keys.push_back(
        static_cast<Key>(bits ^ (0x5a5a5a5a5a5a5aULL & ~mask & (sizeof(Key) == 8 ? ~0ULL : 0x7fffffffULL))));
    bits = (bits - mask) & mask;
  } while (bits != 0);
  return keys;
}

}  // namespace

TEST_CASE_TEMPLATE("hash seed: keys chosen to collide probe no longer than random ones", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  std::size_t const count = 4000;
  HashSeed const known{};
  auto const chosen32 = chosen_keys<std::uint32_t>(count, 25, known);
  auto const chosen64 = chosen_keys<std::uint64_t>(count, 60, known);
  REQUIRE(chosen32.size() == count);
  {  // who knows the seed can choose them: these keys are what they are said to be
    Seed const seed{known};
    CHECK(probes_of<Space>(chosen32).mean > 100);
    CHECK(probes_of<Space>(chosen64).mean > 1000);
  }
  // and keys that the hash without a seed gave one bucket to
  std::vector<std::uint64_t> unseeded;
  for (std::uint32_t high = 1; unseeded.size() < count; ++high) {
    unseeded.push_back(std::uint64_t{high} << 32 | (0x12345678U ^ high * 0x9e3779b1U));
  }
  for (auto const& value : seeds) {
    CAPTURE(value.first);
    Seed const seed{value};
    auto const random32 = probes_of<Space>(random_keys<std::uint32_t>(count, 25));
    auto const random64 = probes_of<Space>(random_keys<std::uint64_t>(count, 60));
    for (auto const& found : {probes_of<Space>(chosen32)}) {
      CHECK(found.mean < 1.5 * random32.mean);
      CHECK(found.most < 4 * random32.most);
    }
    for (auto const& found : {probes_of<Space>(chosen64), probes_of<Space>(unseeded)}) {
      CHECK(found.mean < 1.5 * random64.mean);
      CHECK(found.most < 4 * random64.most);
    }
  }
}

TEST_CASE_TEMPLATE(
    "hash seed: keys that differ in any run of bits, or in two, probe no longer than random ones", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  constexpr int free_bits = 12;
  for (auto const& value : seeds) {
    if (test::small_sets() && value.first != seeds[0].first) { continue; }
    Seed const seed{value};
    auto const most32 = 2 * probes_of<Space>(random_keys<std::uint32_t>(1U << free_bits, 31)).mean;
    auto const most64 = 2 * probes_of<Space>(random_keys<std::uint64_t>(1U << free_bits, 63)).mean;
    CAPTURE(value.first);
    for (int first = 0; first + free_bits <= 63; first += 3) {
      CAPTURE(first);
      auto const run = ((std::uint64_t{1} << free_bits) - 1) << first;
      CHECK(probes_of<Space>(subcube<std::uint64_t>(run)).mean < most64);
      if (first + free_bits <= 31) { CHECK(probes_of<Space>(subcube<std::uint32_t>(run)).mean < most32); }
      // the top of one half and somewhere else
      auto const part = (std::uint64_t{1} << free_bits / 2) - 1;
      for (int const other : {0, 13, 26}) {
        auto const split = part << first | part << (26 + other);
        if (first + free_bits / 2 > 26 + other && first < 26 + other + free_bits / 2) { continue; }
        CHECK(probes_of<Space>(subcube<std::uint64_t>(split)).mean < most64);
      }
    }
  }
}

TEST_CASE_TEMPLATE("hash seed: maps, derived sets and hard voxels have the same bits whatever it is", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::mt19937 random{3};
  for (int const extent : {40, 400000}) {  // by cells and by a table, keys of 32 and of 64 bits
    CAPTURE(extent);
    std::vector<Coordinate<3>> rows;
    std::set<std::array<int, 3>> known;
    while (rows.size() < 500) {
      std::array<int, 3> p{};
      for (auto& axis : p) { axis = static_cast<int>(random() % static_cast<unsigned>(extent)); }
      if (known.insert(p).second) { rows.push_back({0, p}); }
    }
    std::vector<float> points;
    for (int i = 0; i < 4 * 3000; ++i) { points.push_back(static_cast<float>(random() % 1000) / 100); }
    auto const cloud = upload_matrix(points, 4, exec);
    std::vector<std::int32_t> first_map;
    std::vector<Coordinate<3>> first_rows;
    std::vector<float> first_mean;
    for (auto const& value : seeds) {
      CAPTURE(value.first);
      Seed const seed{value};
      auto const set = make_coordinate_set(rows, CoordinateSetOptions<3>{}, exec);
      ConvolutionGeometry<3> geometry;
      geometry.stride = 2;
      auto const down = kernel_map(*set, ConvolutionKind::strided, geometry, Compatibility::none, exec);
      auto const map = download(down.map->out_in(exec), down.map->num_out() * down.map->volume(), exec);
      auto const out = download(down.coordinates->data(), down.coordinates->num_rows(), exec);
      auto const voxels = hard_voxelize(
          cloud.view(), VoxelizeOptions({0.3F, 0.3F, 0.3F}, {0, 0, 0}, {9, 9, 9}).points_per_voxel(2), exec);
      auto const mean = download(voxels.mean.data(), voxels.mean.size(), exec);
      if (first_map.empty()) {
        first_map = map;
        first_rows = out;
        first_mean = mean;
      }
      CHECK(map == first_map);
      CHECK(out == first_rows);
      CHECK(mean == first_mean);
    }
  }
}

TEST_CASE("hash seed: is drawn once, and not the same in every process")
{
  auto const one = detail::hash_seed();
  auto const again = detail::hash_seed();
  CHECK(one.first == again.first);
  CHECK(one.second == again.second);
  std::set<std::uint64_t> drawn;
  for (int i = 0; i < 8; ++i) { drawn.insert(detail::draw_hash_seed()); }
  CHECK(drawn.size() == 8);
}

TEST_CASE("hash seed: differs from call to call without a random device")
{
  std::set<std::uint64_t> drawn;
  for (int i = 0; i < 8; ++i) { drawn.insert(detail::seed_of_time_and_place()); }
  CHECK(drawn.size() == 8);
}

TEST_CASE_TEMPLATE("hash table: a key too many is refused after some hundred probes, however large the table",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::int64_t const room = 1 << 16;
  detail::HashTable<std::uint64_t, Space> table{room, exec};
  auto const ref = table.ref();
  auto const slots = static_cast<std::int64_t>(ref.mask) + 1;
  for_each(2 * slots, detail::FillValue<unsigned long long>{ref.slots, 5}, exec);  // full of one key
  Buffer<std::int32_t, Space> entered{200000, exec};
  for_each(entered.size(), TryInsert{ref, entered.data()},
           exec);  // 2.6e10 probes if all slots were visited
  auto const found = download(entered, exec);
  CHECK(std::all_of(found.begin(), found.end(), [](std::int32_t what) {
    return what == static_cast<std::int32_t>(detail::Entered::never);
  }));
}
