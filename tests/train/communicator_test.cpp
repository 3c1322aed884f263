// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/ranks.hpp"

#include <tessera/train/communicator.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

using namespace tessera;

TEST_CASE_TEMPLATE("communicator: a process by itself is rank 0 of 1, and keeps what it has", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  train::Communicator<Space> const ranks;
  CHECK(ranks.rank() == 0);
  CHECK(ranks.size() == 1);
  std::vector<float> const values{1.5F, -2.0F, 0.25F};
  auto data = upload(values, exec);
  ranks.all_reduce_sum(data.data(), data.size(), exec);
  ranks.broadcast(data.data(), data.size(), 0, exec);
  CHECK(download(data, exec) == values);
  Buffer<float, Space> all{3, exec};
  ranks.all_gather(data.data(), all.data(), 3, exec);
  CHECK(download(all, exec) == values);
  ranks.all_gather(data.data(), all.data(), 0, exec);
  ranks.barrier(exec);
  ranks.check();
}

TEST_CASE("communicator: what cannot be meant is refused, with the numbers")
{
  Execution<Host> const exec{1};
  train::Communicator<Host> const ranks;
  float value = 0;
  CHECK(test::error_of([&] { ranks.all_reduce_sum(&value, -1, exec); }) == "all_reduce_sum: -1 elements");
  CHECK(test::error_of([&] { ranks.broadcast(&value, 1, 1, exec); }) == "broadcast: root 1 of 1 ranks");
  CHECK(test::error_of([&] { ranks.broadcast(&value, -3, 0, exec); }) == "broadcast: -3 elements");
  CHECK(test::error_of([&] { ranks.all_gather(&value, &value, -2, exec); }) == "all_gather: -2 elements");
  CHECK(test::error_of([] { train::Communicator<Host>{nullptr}; }) == "Communicator: no collectives");
}

TEST_CASE("communicator: a transport of one's own is called with bytes and types")
{
  std::atomic<int> wrong{0};
  test::run_ranks(3, [&](train::Communicator<Host> const& ranks) {
    Execution<Host> const exec{1};
    int const rank = ranks.rank();
    std::vector<double> sums{1.0 * rank, 10.0};
    std::vector<std::int64_t> counts{std::int64_t{1} << 40, rank};
    unsigned long long large = ~0ULL / 4;
    std::int32_t number = rank == 2 ? 77 : 0;
    std::vector<int> all(3);
    ranks.all_reduce_sum(sums.data(), 2, exec);
    ranks.all_reduce_sum(counts.data(), 2, exec);
    ranks.all_reduce_sum(&large, 1, exec);
    ranks.broadcast(&number, 1, 2, exec);
    ranks.all_gather(&rank, all.data(), 1, exec);
    ranks.barrier(exec);
    wrong += sums == std::vector<double>{3.0, 30.0} ? 0 : 1;
    wrong += counts == std::vector<std::int64_t>{std::int64_t{3} << 40, 3} ? 0 : 1;
    wrong += large == ~0ULL / 4 * 3 ? 0 : 1;
    wrong += number == 77 ? 0 : 1;
    wrong += all == std::vector<int>{0, 1, 2} ? 0 : 1;
  });
  CHECK(wrong == 0);
}
