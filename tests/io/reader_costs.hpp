// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/allocations.hpp"
#include "../support/files.hpp"
#include "../support/pickles.hpp"
#include "../support/state_dicts.hpp"

#include <tessera/io/convert.hpp>
#include <tessera/io/load.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <ctime>
#include <string>
#include <vector>

namespace reader_costs {

using namespace tessera;
using test::packed;
using test::pickle;
using test::text;

struct Cost {
  double seconds = 1e9;
  std::int64_t bytes = 0;
};

/// What `read` of a file takes: processor time, the least of several runs, and the most memory at one time.
/// That it is refused is as good as that it is read.
/// @param cost  of runs before, which count too
template <class Read>
Cost cost_of(std::vector<std::uint8_t> const& file, int runs, Read const& read, Cost cost = {})
{
  for (int run = 0; run < runs; ++run) {
    auto copy = file;
    test::AllocationWatch const watch;
    auto const begin = std::clock();
    try {
      read(std::move(copy));
    } catch (invalid_argument const& error) {
      CHECK(std::string{error.what()}.size() < 2000);
    }
    cost.seconds = std::min(cost.seconds, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    cost.bytes = std::max(cost.bytes, watch.peak_bytes());
  }
  return cost;
}

/// `make(n)` must give a file whose size is about proportional to n.
template <class Make, class Read>
void grows_with_the_file(std::string const& name, int n, double most_bytes_a_byte, Make const& make,
                         Read const& read)
{
  CAPTURE(name);
  auto const small = make(n);
  auto const large = make(2 * n);
  REQUIRE(large.size() > small.size() * 17 / 10);
  REQUIRE(large.size() < small.size() * 22 / 10);
  Cost first;
  Cost second;
  auto const grows_faster = [&] { return second.seconds > 2.5 * first.seconds + 0.03; };
  // In turn, so that other work on the machine meets both, and more often where it may be what is slow.
  for (int run = 0; run < 3 || (run < 12 && grows_faster()); ++run) {
    first = cost_of(small, 1, read, first);
    second = cost_of(large, 1, read, second);
  }
  CAPTURE(small.size());
  CAPTURE(first.seconds);
  CAPTURE(second.seconds);
  CAPTURE(first.bytes);
  CAPTURE(second.bytes);
  CHECK(static_cast<double>(second.bytes) <= 2.5 * static_cast<double>(first.bytes) + 100e3);
  CHECK(static_cast<double>(second.bytes) <= most_bytes_a_byte * static_cast<double>(large.size()) + 1e6);
  CHECK_FALSE(grows_faster());
}

inline void convert(std::vector<std::uint8_t> bytes)
{
  io::TorchCheckpoint const checkpoint{std::move(bytes), "f"};
  static_cast<void>(io::convert_checkpoint(checkpoint, ConvertOptions().fold_batch_norm(1e-3)).text());
}

inline std::vector<std::uint8_t> zipped(std::string const& body,
                                        std::vector<std::string> const& storages = {})
{
  return test::bytes_of(test::checkpoint(pickle(body), storages));
}

inline std::string const scalar = test::tensor(test::storage("0", 1), 0, {}, {});
inline std::string const one_float(4, '\0');

inline std::string keep(std::uint32_t key)
{
  return "r" + packed(key);
}
inline std::string again(std::uint32_t key)
{
  return "j" + packed(key);
}

/// `n` times what `piece(i)` gives.
template <class Piece>
std::string repeated(int n, Piece const& piece)
{
  std::string all;
  for (int i = 0; i < n; ++i) { all += piece(i); }
  return all;
}

inline std::vector<std::uint8_t> safetensors(std::string const& header, std::size_t data = 0)
{
  return test::bytes_of(packed(std::uint64_t{header.size()}) + header + std::string(data, '\0'));
}

}  // namespace reader_costs
