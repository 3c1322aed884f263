// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/ranks.hpp"

#include <tessera/train/gradient_reducer.hpp>
#ifdef __CUDACC__
#include <tessera/train/gradient_reducer.cuh>
#endif

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

using namespace tessera;
using train::GradientRange;

namespace {

/// Four parameters of 100, 200, 300 and 400 gradients, with ids 1 to 4, one after the other.
std::vector<GradientRange> four_ranges()
{
  return {{1, 0, 100}, {2, 100, 200}, {3, 300, 300}, {4, 600, 400}};
}

std::vector<float> counted(std::size_t n)
{
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}

}  // namespace

TEST_CASE_TEMPLATE("gradient reducer: every gradient is summed once, in buckets from the end", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const ranks = std::make_shared<test::SameOnAllRanks<Space>>(3);
  auto const values = counted(1000);
  auto gradients = upload(values, exec);
  // 1600 bytes are 400 gradients: parameter 4, then 3 with 2, then 1
  train::GradientReducer<float, Space> reducer{train::Communicator<Space>{ranks}, gradients.data(),
                                               four_ranges(), exec, 1600};
  REQUIRE(reducer.buckets().size() == 3);
  CHECK(reducer.buckets()[0].offset == 600);
  CHECK(reducer.buckets()[0].size == 400);
  CHECK(reducer.buckets()[1].offset == 100);
  CHECK(reducer.buckets()[1].size == 500);
  CHECK(reducer.buckets()[1].parameters == 2);
  CHECK(reducer.buckets()[2].offset == 0);

  reducer.begin();
  reducer.ready(3, exec);
  CHECK(ranks->sums.empty());  // parameter 2 is in its bucket, and the bucket before has not begun
  reducer.ready(4, exec);
  REQUIRE(ranks->sums.size() == 1);
  CHECK(ranks->sums[0].data == gradients.data() + 600);
  reducer.ready(2, exec);
  REQUIRE(ranks->sums.size() == 2);
  CHECK(ranks->sums[1].n == 500);
  reducer.finish(exec);  // parameter 1 was not reached
  CHECK(ranks->sums.size() == 3);

  auto const summed = download(gradients, exec);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i) { wrong += summed[i] != 3 * values[i]; }
  CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("gradient reducer: sums follow what wrote the gradients, and are seen by what comes after",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const ranks = std::make_shared<test::SameOnAllRanks<Space>>(2);
  constexpr std::int64_t n = 1 << 20;
  auto gradients = upload(std::vector<float>(n, 0.0F), exec);
  train::GradientReducer<float, Space> reducer{
      train::Communicator<Space>{ranks}, gradients.data(), {{1, 0, n / 2}, {2, n / 2, n / 2}}, exec, 1000};
  for (int pass = 0; pass < 20; ++pass) {
    CAPTURE(pass);
    auto const values = upload(std::vector<float>(n, static_cast<float>(pass)), exec);
    reducer.begin();
    for (int parameter = 2; parameter >= 1; --parameter) {
      auto const offset = (parameter - 1) * n / 2;
      detail::Transfer<Space>::copy(gradients.data() + offset, values.data() + offset, n / 2 * sizeof(float),
                                    exec);
      reducer.ready(static_cast<VariableId>(parameter), exec);
    }
    reducer.finish(exec);
    CHECK(download(gradients, exec) == std::vector<float>(n, 2.0F * static_cast<float>(pass)));
  }
}

TEST_CASE("gradient reducer: buckets are reduced in the order of rank 0, whatever order a rank has")
{
  // Rank 0 completes 1, 2, 3, 4, the others 4, 3, 2, 1; buckets of one parameter each.
  std::atomic<int> wrong{0};
  test::run_ranks(3, [&](train::Communicator<Host> const& ranks) {
    Execution<Host> const exec{1};
    auto gradients = counted(1000);
    for (auto& value : gradients) { value *= static_cast<float>(ranks.rank() + 1); }
    train::GradientReducer<float, Host> reducer{ranks, gradients.data(), four_ranges(), exec, 4};
    wrong += reducer.order() == std::vector<std::int32_t>{0, 1, 2, 3} ? 0 : 1;
    for (int pass = 0; pass < 3; ++pass) {
      reducer.begin();
      for (VariableId i = 1; i <= 4; ++i) { reducer.ready(ranks.rank() == 0 ? i : 5 - i, exec); }
      reducer.finish(exec);
      wrong += reducer.order() == std::vector<std::int32_t>{3, 2, 1, 0} ? 0 : 1;
    }
    auto const values = counted(1000);
    for (std::size_t i = 0; i < values.size(); ++i) { wrong += gradients[i] == 6 * 9 * values[i] ? 0 : 1; }
  });
  CHECK(wrong == 0);
}

TEST_CASE("gradient reducer: the order is that in which buckets were complete, not begun")
{
  Execution<Host> const exec{1};
  auto const ranks = std::make_shared<test::SameOnAllRanks<Host>>(2);
  std::vector<float> gradients(1000);
  train::GradientReducer<float, Host> reducer{train::Communicator<Host>{ranks}, gradients.data(),
                                              four_ranges(), exec, 2000};
  REQUIRE(reducer.buckets().size() == 2);  // parameters 4 and 3, 2 and 1
  reducer.begin();
  for (VariableId const parameter : {4, 2, 1, 3}) { reducer.ready(parameter, exec); }
  reducer.finish(exec);
  CHECK(reducer.order() == std::vector<std::int32_t>{1, 0});
}

TEST_CASE("gradient reducer: small frozen parameters lie inside buckets, large ones end them")
{
  Execution<Host> const exec{1};
  std::vector<float> gradients(100'000);
  auto const buckets_with = [&](std::int64_t frozen) {
    std::vector<GradientRange> const ranges{{1, 0, 100}, {2, 100, frozen, true}, {3, 100 + frozen, 50}};
    train::GradientReducer<float, Host> const reducer{{}, gradients.data(), ranges, exec};
    return reducer.buckets();
  };
  auto const over = buckets_with(1000);
  REQUIRE(over.size() == 1);
  CHECK(over[0].offset == 0);
  CHECK(over[0].size == 1150);
  CHECK(over[0].parameters == 2);
  auto const apart = buckets_with(50'000);
  REQUIRE(apart.size() == 2);
  CHECK(apart[0].offset == 50'100);
  CHECK(apart[0].size == 50);
  CHECK(apart[1].size == 100);
  // at the ends they are in no bucket
  train::GradientReducer<float, Host> const ends{
      {}, gradients.data(), {{1, 0, 8, true}, {2, 8, 8}, {3, 16, 8, true}}, exec};
  REQUIRE(ends.buckets().size() == 1);
  CHECK(ends.buckets()[0].offset == 8);
  CHECK(ends.buckets()[0].size == 8);
}

TEST_CASE("gradient reducer: gradients accumulate over passes that did not begin")
{
  Execution<Host> const exec{1};
  auto const ranks = std::make_shared<test::SameOnAllRanks<Host>>(2);
  std::vector<float> gradients(1000, 1.0F);
  train::GradientReducer<float, Host> reducer{train::Communicator<Host>{ranks}, gradients.data(),
                                              four_ranges(), exec};
  for (VariableId i = 1; i <= 4; ++i) { reducer.ready(i, exec); }
  CHECK(ranks->sums.empty());
  reducer.begin();
  for (VariableId i = 1; i <= 4; ++i) { reducer.ready(i, exec); }
  reducer.finish(exec);
  CHECK(ranks->sums.size() == 1);
  CHECK(ranks->broadcasts == 1);  // the order is agreed upon once
  reducer.begin();
  reducer.finish(exec);
  CHECK(ranks->broadcasts == 1);
}

TEST_CASE("gradient reducer: no parameters, and all frozen, are legal")
{
  Execution<Host> const exec{1};
  auto const ranks = std::make_shared<test::SameOnAllRanks<Host>>(2);
  train::GradientReducer<double, Host> none{train::Communicator<Host>{ranks}, nullptr, {}, exec};
  none.begin();
  none.finish(exec);
  double gradient = 1;
  train::GradientReducer<double, Host> frozen{
      train::Communicator<Host>{ranks}, &gradient, {{1, 0, 1, true}}, exec};
  frozen.begin();
  frozen.ready(1, exec);
  frozen.finish(exec);
  CHECK(ranks->sums.empty());
  CHECK(gradient == 1);
}

TEST_CASE("gradient reducer: misuse is refused with a sentence")
{
  Execution<Host> const exec{1};
  std::vector<float> gradients(1000);
  auto const error_with = [&](std::vector<GradientRange> const& ranges) {
    return test::error_of([&] { train::GradientReducer<float, Host>{{}, gradients.data(), ranges, exec}; });
  };
  CHECK(error_with({{1, 0, 10}, {2, 9, 10}}) ==
        "GradientReducer: the range [0, 10) of parameter 1 is negative or overlaps another");
  CHECK(test::has(error_with({{1, -1, 10}}), "[-1, 9) of parameter 1 is negative"));
  CHECK(test::has(error_with({{7, 0, 10}, {7, 10, 10}}), "parameter 7 has no identity or two ranges"));
  CHECK(test::has(error_with({{0, 0, 10}}), "parameter 0 has no identity"));
  train::GradientReducer<float, Host> reducer{{}, gradients.data(), four_ranges(), exec};
  CHECK(test::error_of([&] { reducer.finish(exec); }) == "GradientReducer: finish() without begin()");
  CHECK(test::error_of([&] { reducer.ready(9, exec); }) == "GradientReducer: parameter 9 has no range");
  reducer.begin();
  reducer.ready(2, exec);
  CHECK(test::has(test::error_of([&] { reducer.ready(2, exec); }), "parameter 2 was complete before"));
}
