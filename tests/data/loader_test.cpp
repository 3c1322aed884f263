// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/files.hpp"

#include <tessera/data/loader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace tessera;

namespace {

/// Takes its time, another one for each sample, so that threads finish out of order.
SampleIndex slow(SampleIndex const& at)
{
  std::this_thread::sleep_for(std::chrono::microseconds{(at.seed >> 40) % 800});
  return at;
}

std::vector<std::int64_t> indices_of(DataLoader<SampleIndex>& loader, int count)
{
  std::vector<std::int64_t> result;
  for (int i = 0; i < count; ++i) {
    if (auto const sample = loader.next()) { result.push_back(sample->index); }
  }
  return result;
}

LoaderOptions with_threads(int threads, int prefetch = 8, std::int64_t epochs = -1)
{
  return {threads, prefetch, epochs};
}

}  // namespace

TEST_CASE("scan order: an epoch has every scan once; each epoch and each seed have an order of their own")
{
  auto const order = ScanOrder(100).shuffle().seed(3);
  std::set<std::vector<std::int64_t>> orders;
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    auto const permutation = order.permutation(epoch);
    orders.insert(permutation);
    std::set<std::int64_t> seen;
    std::set<std::uint64_t> seeds;
    for (std::int64_t k = 0; k < 100; ++k) {
      auto const at = order.at(100 * epoch + k, permutation);
      CHECK(at.epoch == epoch);
      CHECK(at.position == 100 * epoch + k);
      seen.insert(at.index);
      seeds.insert(at.seed);
    }
    CHECK(seen.size() == 100);
    CHECK(*seen.rbegin() == 99);
    CHECK(seeds.size() == 100);
  }
  orders.insert(ScanOrder(100).shuffle().seed(4).permutation(0));
  CHECK(orders.size() == 6);
  CHECK(ScanOrder(100).permutation(0).empty());
}

TEST_CASE("scan order: the order of a seed is that of every other machine")
{
  // SplitMix64 and Fisher-Yates, computed with Python.
  CHECK(ScanOrder(8).shuffle().seed(1).permutation(0) == std::vector<std::int64_t>{5, 4, 7, 2, 1, 6, 0, 3});
}

TEST_CASE("scan order: what N processes take is what one takes, each scan with the same seed")
{
  for (int const ranks : {2, 3, 5}) {
    CAPTURE(ranks);
    auto const alone = ScanOrder(30).shuffle().seed(9);
    auto const permutation = alone.permutation(0);
    for (std::int64_t step = 0; step < 30 / ranks; ++step) {
      for (int rank = 0; rank < ranks; ++rank) {
        auto const own = ScanOrder(30).shuffle().seed(9).shard(rank, ranks);
        auto const here = own.at(step, permutation);
        auto const there = alone.at(step * ranks + rank, permutation);
        CHECK(here.index == there.index);
        CHECK(here.seed == there.seed);
      }
    }
  }
}

TEST_CASE("scan order: uneven shares begin again, or are one less")
{
  std::vector<std::int64_t> taken;
  std::int64_t total = 0;
  for (int rank = 0; rank < 3; ++rank) {
    auto const even = ScanOrder(10).shard(rank, 3);
    CHECK(even.epoch_size() == 4);
    for (std::int64_t k = 0; k < 4; ++k) { taken.push_back(even.at(k, {}).index); }
    total += ScanOrder(10).shard(rank, 3).even(false).epoch_size();
  }
  std::sort(taken.begin(), taken.end());
  CHECK(taken == std::vector<std::int64_t>{0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(total == 10);
  CHECK(ScanOrder(1).shard(2, 3).at(0, {}).index == 0);
  CHECK(ScanOrder(1).shard(2, 3).even(false).epoch_size() == 0);
}

TEST_CASE("loader: the order is the same for any number of threads, however fast they are")
{
  auto const order = ScanOrder(37).shuffle().seed(5);
  std::vector<std::int64_t> expected;
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    auto const permutation = order.permutation(epoch);
    expected.insert(expected.end(), permutation.begin(), permutation.end());
  }
  for (int const threads : {0, 1, 2, 7}) {
    for (int const prefetch : {1, 3, 50}) {
      CAPTURE(threads);
      CAPTURE(prefetch);
      DataLoader<SampleIndex> loader{order, with_threads(threads, prefetch), slow};
      CHECK(indices_of(loader, 4 * 37) == expected);
      CHECK(loader.epoch() == 4);
    }
  }
}

TEST_CASE("loader: no more samples are loaded ahead than it was told")
{
  std::atomic<int> begun{0};
  DataLoader<int> loader{ScanOrder(1000), with_threads(4, 6), [&](SampleIndex const&) { return ++begun; }};
  for (int taken = 0; taken < 5; ++taken) {
    std::this_thread::sleep_for(std::chrono::milliseconds{30});
    CHECK(begun == 6 + taken);
    CHECK(loader.next().has_value());
  }
}

TEST_CASE("loader: it ends after its epochs, and an endless data set has no end")
{
  for (int const threads : {0, 3}) {
    CAPTURE(threads);
    DataLoader<SampleIndex> twice{ScanOrder(5), with_threads(threads, 4, 2), slow};
    CHECK(indices_of(twice, 20) == std::vector<std::int64_t>{0, 1, 2, 3, 4, 0, 1, 2, 3, 4});
    CHECK(!twice.next());
    DataLoader<SampleIndex> never{ScanOrder(5), with_threads(threads, 4, 0), slow};
    CHECK(!never.next());
    DataLoader<SampleIndex> nothing{ScanOrder(0), with_threads(threads), slow};
    CHECK(!nothing.next());
    DataLoader<SampleIndex> on{ScanOrder(endless).shard(1, 3).shuffle(), with_threads(threads), slow};
    CHECK(indices_of(on, 4) == std::vector<std::int64_t>{1, 4, 7, 10});
    CHECK(on.epoch_size() == endless);
  }
}

TEST_CASE("loader: batches go over the end of an epoch, and the last one is what is left")
{
  DataLoader<SampleIndex> loader{ScanOrder(5), with_threads(2, 4, 2), slow};
  std::vector<std::size_t> sizes;
  std::vector<std::int64_t> indices;
  while (true) {
    auto const batch = loader.next_batch(4);
    if (batch.empty()) { break; }
    sizes.push_back(batch.size());
    for (auto const& sample : batch) { indices.push_back(sample.index); }
  }
  CHECK(sizes == std::vector<std::size_t>{4, 4, 2});
  CHECK(indices == std::vector<std::int64_t>{0, 1, 2, 3, 4, 0, 1, 2, 3, 4});
}

TEST_CASE("loader: what loading throws comes out in its place, and the next sample after it")
{
  for (int const threads : {0, 1, 4}) {
    CAPTURE(threads);
    DataLoader<std::int64_t> loader{ScanOrder(6), with_threads(threads, 4, 1), [](SampleIndex const& at) {
                                      if (at.index == 2) { throw std::runtime_error{"scan 2 is damaged"}; }
                                      return slow(at).index;
                                    }};
    std::vector<std::int64_t> taken;
    std::vector<std::string> errors;
    for (int i = 0; i < 6; ++i) {
      try {
        taken.push_back(loader.next().value());
      } catch (std::runtime_error const& error) {
        errors.emplace_back(error.what());
        CHECK(taken.size() == 2);
      }
    }
    CHECK(taken == std::vector<std::int64_t>{0, 1, 3, 4, 5});
    CHECK(errors == std::vector<std::string>{"scan 2 is damaged"});
    CHECK(!loader.next());
  }
}

TEST_CASE("loader: one that goes on from a state gives what the other would have given")
{
  auto const order = ScanOrder(17).shuffle().seed(8).shard(1, 2);
  for (int const stop : {0, 1, 8, 9, 10, 30}) {
    CAPTURE(stop);
    DataLoader<SampleIndex> whole{order, with_threads(3), slow};
    DataLoader<SampleIndex> first{order, with_threads(2), slow};
    static_cast<void>(indices_of(whole, stop));
    static_cast<void>(indices_of(first, stop));
    auto const state = first.state();
    CHECK(state.seed == 8);
    CHECK(state.position == stop);
    // another seed at first: the state brings its own
    DataLoader<SampleIndex> second{ScanOrder(17).shuffle().seed(99).shard(1, 2), with_threads(4), slow};
    static_cast<void>(second.next());
    second.seek(state);
    for (int i = 0; i < 20; ++i) {
      auto const expected = whole.next().value();
      auto const found = second.next().value();
      CHECK(found.index == expected.index);
      CHECK(found.seed == expected.seed);
      CHECK(found.epoch == expected.epoch);
      CHECK(found.position == expected.position);
    }
  }
}

TEST_CASE("loader: it can be dropped at any time, with samples being loaded and threads waiting")
{
  for (int i = 0; i < 50; ++i) {
    std::atomic<int> open{0};
    {
      DataLoader<int> loader{ScanOrder(endless), with_threads(4, 1 + i % 5), [&](SampleIndex const& at) {
                               ++open;
                               slow(at);
                               --open;
                               return 1;
                             }};
      for (int taken = 0; taken < i % 7; ++taken) { CHECK(loader.next() == 1); }
      if (i % 3 == 0) { loader.seek({1, i}); }
    }
    CHECK(open == 0);
  }
}

TEST_CASE("loader: misuse is refused with a sentence")
{
  auto const error_with = [](LoaderOptions const& options) {
    return test::error_of([&] { DataLoader<SampleIndex>{ScanOrder(1), options, slow}; });
  };
  CHECK(error_with(with_threads(-1)) == "DataLoader: -1 threads; 0 to 1024 are possible");
  CHECK(error_with(with_threads(1, 0)) == "DataLoader: 0 samples at once; at least 1");
  CHECK(error_with(with_threads(1, 1, -2)) == "DataLoader: -2 epochs");
  CHECK(test::error_of([] { static_cast<void>(ScanOrder(-2)); }) == "ScanOrder: a data set of -2 scans");
  CHECK(test::error_of([] { static_cast<void>(ScanOrder(1).shard(2, 2)); }) == "ScanOrder: process 2 of 2");
  DataLoader<SampleIndex> loader{ScanOrder(1), {}, slow};
  CHECK(test::error_of([&] { loader.seek({1, -1}); }) == "DataLoader: position -1");
}
