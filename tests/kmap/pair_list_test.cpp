// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/oracle.hpp"
#include "../support/small.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/kmap/pair_list.hpp>

#ifdef __CUDACC__
#include <tessera/kmap/detail/list_pairs.cuh>

#include <cuda_runtime_api.h>
#endif

#include <atomic>
#include <chrono>
#include <cstddef>
#include <random>
#include <thread>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

template <class Space>
MappedCoordinates<3, Space> mapped(ConvolutionKind kind, ConvolutionGeometry<3> const& g,
                                   Execution<Space> const& exec)
{
  auto const set =
      make_coordinate_set(test::random_coordinates<3>(400, 2, IntArray<3>(-4), IntArray<3>(5), 7), {}, exec);
  return kernel_map(*set, kind, g, compat::none, exec);
}

ConvolutionGeometry<3> strided(int size)
{
  ConvolutionGeometry<3> g;
  g.kernel_size = size;
  g.stride = 2;
  return g;
}

/// The lists of `map` against its entries, offset after offset.
template <class Space>
void check_lists(KernelMap<Space>& map, Execution<Space> const& exec)
{
  auto const entries = download(map.out_in(exec), map.num_out() * map.volume(), exec);
  auto const lists = pair_list(map, exec);
  CHECK(pair_list(map, exec) == lists);
  auto const& begins = lists->begin_on_host(exec);
  CHECK(&lists->begin_on_host(exec) == &begins);
  CHECK(download(lists->begin, exec) == begins);
  auto const pairs = lists->num_pairs(exec);
  REQUIRE(lists->in.size() >= pairs);
  REQUIRE(lists->out.size() == lists->in.size());
  auto const in = download(lists->in.data(), pairs, exec);
  auto const out = download(lists->out.data(), pairs, exec);
  std::size_t p = 0;
  std::size_t wrong = 0;
  for (int k = 0; k < map.volume(); ++k) {
    wrong += begins[static_cast<std::size_t>(k)] != static_cast<std::int64_t>(p) ? 1 : 0;
    for (std::int64_t o = 0; o < map.num_out(); ++o) {
      auto const row = entries[static_cast<std::size_t>(o * map.volume() + k)];
      if (row < 0) { continue; }
      REQUIRE(p < in.size());
      wrong += in[p] != row || out[p] != o ? 1 : 0;
      ++p;
    }
  }
  CHECK(wrong == 0);
  CHECK(lists->num_pairs(exec) == static_cast<std::int64_t>(p));
}

}  // namespace

TEST_CASE_TEMPLATE("pair list: has the pairs of a map and of its transposed, by offset and then by row",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  ConvolutionGeometry<3> const same;
  for (auto const& m :
       {mapped<Space>(ConvolutionKind::submanifold, same, exec),
        mapped<Space>(ConvolutionKind::strided, strided(2), exec),  // of which an input has one pair
        mapped<Space>(ConvolutionKind::strided, strided(3), exec)}) {
    check_lists(*m.map, exec);
    check_lists(*transpose(*m.map, exec), exec);
  }
}

TEST_CASE_TEMPLATE("pair list: rows that read one input under one offset all have their pairs", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  KernelMap<Space> map{upload(std::vector<std::int32_t>{0, 0, 0, 0, -1, 0}, exec), 1, 3, 2, -1};
  check_lists(map, exec);
  KernelMap<Space> none{upload(std::vector<std::int32_t>{}, exec), 5, 0, 2, -1};
  check_lists(none, exec);
}

TEST_CASE_TEMPLATE("pair list: many rows and offsets, and rows without pairs, have theirs in order", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  unsigned seed = 17;
  for (auto const& size : {std::pair{1000, 27}, {257, 70}, {256, 32}, {33, 343}, {5000, 1}}) {
    auto const rows = size.first;
    auto const volume = size.second;
    CAPTURE(rows);
    CAPTURE(volume);
    std::mt19937 random{++seed};
    std::vector<std::int32_t> entries(static_cast<std::size_t>(rows * volume), -1);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      auto const offset = i % static_cast<std::size_t>(volume);
      bool const exists = i < entries.size() / 2 && (offset % 5 == 1 || random() % 4 == 0);
      if (exists) { entries[i] = static_cast<std::int32_t>(random() % 77); }
    }
    KernelMap<Space> map{upload(entries, exec), 77, rows, volume, -1};
    check_lists(map, exec);
  }
}

TEST_CASE("pair list: threads that ask for its counts at once get the same ones <Host>")
{
  Execution<Host> const exec{2};
  auto const m = mapped<Host>(ConvolutionKind::submanifold, {}, exec);
  std::vector<std::vector<std::int64_t> const*> found(4);
  std::vector<std::thread> threads;
  for (auto& begins : found) {
    threads.emplace_back([&] { begins = &pair_list(*m.map, exec)->begin_on_host(exec); });
  }
  for (auto& thread : threads) { thread.join(); }
  for (auto const* const begins : found) { CHECK(begins == found[0]); }
}

#ifdef __CUDACC__
TEST_CASE("pair list: the device's is enqueued, with its transposed map, and nothing waits for it")
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{};
  ConvolutionGeometry<3> const g = strided(3);
  auto const make = [&](KernelMap<Device>& map) {
    static_cast<void>(pair_list(map, exec));
    static_cast<void>(pair_list(*transpose(map, exec), exec));
  };
  make(
      *mapped<Device>(ConvolutionKind::strided, g, exec).map);  // loads the kernels, and memory into the pool
  auto const m = mapped<Device>(ConvolutionKind::strided, g, exec);
  using namespace std::chrono_literals;
  struct Gate {
    std::atomic<bool> is_open{false};
    std::atomic<bool> is_late{false};
  } gate;
  detail::cuda_check(cudaLaunchHostFunc(
      exec.stream(),
      [](void* opaque) {  // the stream stands still until the host comes back, or seems never to
        auto& closed = *static_cast<Gate*>(opaque);
        auto const end = std::chrono::steady_clock::now() + (test::small_sets() ? 2min : 10s);
        while (!closed.is_open && !closed.is_late) {
          std::this_thread::yield();
          if (std::chrono::steady_clock::now() > end) { closed.is_late = true; }
        }
      },
      &gate));
  make(*m.map);
  gate.is_open = true;
  exec.wait();
  CHECK(!gate.is_late);
  check_lists(*m.map, exec);
}
#endif
