// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Run by mpirun with two ranks and more: every rank runs all cases, in step.
#define DOCTEST_CONFIG_IMPLEMENT
#include "../parallel_cases.hpp"

#include <tessera/train/gradient_reducer.hpp>
#include <tessera/train/mpi_communicator.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

using namespace tessera;

namespace {

/// What rank `rank` has at the beginning; every rank can compute that of the others.
template <class T>
std::vector<T> values_of(int rank, std::int64_t n)
{
  std::mt19937 random{static_cast<unsigned>(1000 + rank)};
  std::vector<T> values(static_cast<std::size_t>(n));
  for (auto& value : values) {
    auto const bits = static_cast<std::int32_t>(random());
    value =
        std::is_floating_point_v<T> ? static_cast<T>(bits) * static_cast<T>(1e-7) : static_cast<T>(bits / 64);
  }
  return values;
}

/// The definition: rank 0's values, then the others' added in their order.
template <class T>
std::vector<T> sum_of(int ranks, std::int64_t n)
{
  auto sum = values_of<T>(0, n);
  for (int rank = 1; rank < ranks; ++rank) {
    auto const values = values_of<T>(rank, n);
    for (std::size_t i = 0; i < sum.size(); ++i) { sum[i] = static_cast<T>(sum[i] + values[i]); }
  }
  return sum;
}

}  // namespace

TEST_CASE_TEMPLATE("ranks over MPI: sums are those of the definition, in the order of ranks, bit by bit", T,
                   float, double, std::int32_t, std::int64_t)
{
  auto const ranks = train::mpi_communicator();
  Execution<Host> const exec{2};
  // one round and two, slices that are empty, uneven ones, more than one piece
  for (std::int64_t const n : {0, 1, 2, 3, 1000, 4095, 4097, 100'003, 2'097'153, 5'000'001}) {
    CAPTURE(n);
    auto values = values_of<T>(ranks.rank(), n);
    ranks.all_reduce_sum(values.data(), n, exec);
    bool const is_sum = values == sum_of<T>(ranks.size(), n);
    CHECK(is_sum);
  }
}

TEST_CASE("ranks over MPI: broadcast from every root, and what all ranks have")
{
  auto const ranks = train::mpi_communicator();
  Execution<Host> const exec{1};
  for (int root = 0; root < ranks.size(); ++root) {
    for (std::int64_t const n : {1, 1000, 3'000'000}) {
      CAPTURE(root);
      CAPTURE(n);
      auto values = values_of<float>(ranks.rank(), n);
      ranks.broadcast(values.data(), n, root, exec);
      bool const is_root = values == values_of<float>(root, n);
      CHECK(is_root);
    }
  }
  for (std::int64_t const n : {1, 7, 100'000}) {
    CAPTURE(n);
    auto const mine = values_of<double>(ranks.rank(), n);
    std::vector<double> all(static_cast<std::size_t>(n * ranks.size()));
    ranks.all_gather(mine.data(), all.data(), n, exec);
    for (int rank = 0; rank < ranks.size(); ++rank) {
      bool const is_theirs = std::vector<double>(all.begin() + rank * n, all.begin() + (rank + 1) * n) ==
                             values_of<double>(rank, n);
      CHECK(is_theirs);
    }
  }
  ranks.barrier(exec);
  ranks.check();
}

TEST_CASE("ranks over MPI: a communicator of some ranks, and several at once")
{
  auto const all = train::mpi_communicator();
  MPI_Comm half_comm = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, all.rank() % 2, 0, &half_comm);
  {
    auto const some = train::mpi_communicator(half_comm);
    Execution<Host> const exec{1};
    std::int32_t ones[2] = {1, 1};
    some.all_reduce_sum(&ones[0], 1, exec);
    all.all_reduce_sum(&ones[1], 1, exec);
    CHECK(ones[0] == (all.size() + (all.rank() % 2 == 0 ? 1 : 0)) / 2);
    CHECK(ones[1] == all.size());
  }
  MPI_Comm_free(&half_comm);
  CHECK(train::mpi_local_rank() >= 0);
  CHECK(train::mpi_local_rank() < all.size());
}

TEST_CASE("ranks over MPI: gradients are summed by buckets as at once, whatever order each rank has")
{
  auto const ranks = train::mpi_communicator();
  Execution<Host> const exec{1};
  constexpr std::int64_t each = 10'000;
  constexpr int parameters = 20;
  std::vector<train::GradientRange> ranges;
  for (int i = 0; i < parameters; ++i) { ranges.push_back({static_cast<VariableId>(i + 1), i * each, each}); }
  auto gradients = values_of<float>(ranks.rank(), each * parameters);
  train::GradientReducer<float, Host> reducer{ranks, gradients.data(), ranges, exec, 100'000};
  CHECK(reducer.buckets().size() == 7);
  for (int pass = 0; pass < 3; ++pass) {
    CAPTURE(pass);
    auto const values = values_of<float>(ranks.rank(), each * parameters);
    std::copy(values.begin(), values.end(), gradients.begin());
    reducer.begin();
    std::mt19937 random{static_cast<unsigned>(ranks.rank() * 10 + pass)};
    auto order = ranges;
    std::shuffle(order.begin(), order.end(), random);
    for (auto const& range : order) { reducer.ready(range.parameter, exec); }
    reducer.finish(exec);
    bool const is_sum = gradients == sum_of<float>(ranks.size(), each * parameters);
    CHECK(is_sum);
  }
}

TEST_CASE("ranks over MPI: a network is trained as by one rank with the whole batch, on every run alike")
{
  auto const ranks = train::mpi_communicator();
  Execution<Host> const exec{1};
  int const scans = 2 * ranks.size();
  DataParallelOptions options;
  options.bucket_bytes = 1000;
  auto const precise = test::train_parallel<double, Host>(ranks, scans, 3, options, exec);
  auto const alone = test::train_parallel<double, Host>({}, scans, 3, {}, exec);
  CHECK(test::relative_difference(precise.losses, alone.losses) < 1e-11);
  CHECK(test::relative_difference(precise.gradients, alone.gradients) < 1e-11);
  CHECK(test::relative_difference(precise.parameters, alone.parameters) < 1e-11);

  auto const first = test::train_parallel<float, Host>(ranks, scans, 3, options, exec);
  auto const second = test::train_parallel<float, Host>(ranks, scans, 3, options, exec);
  auto of_rank_0 = first.parameters;
  ranks.broadcast(of_rank_0.data(), static_cast<std::int64_t>(of_rank_0.size()), 0, exec);
  CHECK(first.gradients == second.gradients);
  CHECK(first.parameters == second.parameters);
  CHECK(first.parameters == of_rank_0);
}

TEST_CASE("ranks over MPI: what cannot be meant is refused")
{
  CHECK_THROWS_AS(train::mpi_communicator(MPI_COMM_WORLD, std::chrono::milliseconds{0}), invalid_argument);
}

/// Ranks have no tally: a case that needs the device is not among them.
void test::skip(std::string const& /*reason*/) {}

int main(int argc, char** argv)
{
  return train::run_with_mpi(argc, argv, [&] {
    doctest::Context context{argc, argv};
    return context.run();
  });
}
