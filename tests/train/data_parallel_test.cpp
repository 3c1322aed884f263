// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/ranks.hpp"
#include "parallel_cases.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace tessera;

TEST_CASE("data parallel: ranks with synchronised norms take the steps of one rank with their batches")
{
  Execution<Host> const exec{1};
  auto const alone = test::train_parallel<double, Host>({}, 6, 3, {}, exec);
  for (int const size : {2, 3}) {
    CAPTURE(size);
    std::vector<test::Trained> results(static_cast<std::size_t>(size));
    test::run_ranks(size, [&](train::Communicator<Host> const& ranks) {
      DataParallelOptions options;
      options.bucket_bytes = 1000;  // several
      results[static_cast<std::size_t>(ranks.rank())] =
          test::train_parallel<double, Host>(ranks, 6, 3, options, Execution<Host>{1});
    });
    for (auto const& result : results) {
      CHECK(test::relative_difference(result.losses, alone.losses) < 1e-11);
      CHECK(test::relative_difference(result.gradients, alone.gradients) < 1e-11);
      CHECK(test::relative_difference(result.parameters, alone.parameters) < 1e-11);
      CHECK(result.gradients == results[0].gradients);  // the same bits
      CHECK(result.parameters == results[0].parameters);
    }
  }
}

TEST_CASE("data parallel: two runs have the same bits, with and without synchronised norms")
{
  for (bool const synchronize : {true, false}) {
    CAPTURE(synchronize);
    std::vector<test::Trained> runs(4);
    for (std::size_t run = 0; run < 2; ++run) {
      test::run_ranks(2, [&](train::Communicator<Host> const& ranks) {
        DataParallelOptions options;
        options.synchronize_norms = synchronize;
        runs[2 * run + static_cast<std::size_t>(ranks.rank())] =
            test::train_parallel<float, Host>(ranks, 4, 3, options, Execution<Host>{1});
      });
    }
    CHECK(runs[0].parameters == runs[2].parameters);
    CHECK(runs[1].parameters == runs[3].parameters);
    CHECK(runs[0].gradients == runs[1].gradients);
    // Statistics of a batch of its own differ from rank to rank; nothing else does.
    CHECK((runs[0].parameters == runs[1].parameters) == synchronize);
  }
}

TEST_CASE_TEMPLATE("data parallel: one rank trains as without it", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const result = test::train_parallel<float, Space>({}, 2, 2, {}, exec);
  auto const again = test::train_parallel<float, Space>({}, 2, 2, {}, exec);
  CHECK(result.parameters == again.parameters);
  auto const precise = test::train_parallel<double, Host>({}, 2, 2, {}, Execution<Host>{1});
  CHECK(test::relative_difference(result.gradients, precise.gradients) < 1e-4);
}
