// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What several threads may use at once, for the thread sanitizer to watch: one model, one coordinate set,
// maps that are released and made again, executions inside loops, and errors in all of them.

#include <tessera/models/minkunet.hpp>
#include <tessera/ops/convolution.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace tessera;

namespace {

std::vector<Coordinate<3>> surface(int size)
{
  std::vector<Coordinate<3>> rows;
  for (int i = 0; i < size * size; ++i) {
    int const x = i / size;
    rows.push_back({0, {x, i % size, (x * x / 7 + i % size) / 5}});
  }
  return rows;
}

std::vector<float> numbers(std::size_t count)
{
  std::vector<float> result;
  for (std::size_t i = 0; i < count; ++i) { result.push_back(static_cast<float>(i * 7 % 11) / 5 - 1); }
  return result;
}

SparseTensor<3, float, Host> input(int size, Execution<Host> const& exec)
{
  auto const rows = surface(size);
  return {make_coordinate_set(rows, {}, exec), upload_matrix(numbers(3 * rows.size()), 3, exec)};
}

void in_threads(int count, std::function<void(int)> const& action)
{
  std::vector<std::thread> threads;
  for (int n = 0; n < count; ++n) { threads.emplace_back(action, n); }
  for (auto& thread : threads) { thread.join(); }
}

}  // namespace

TEST_CASE("threads: one model, an execution and a scan for each thread")
{
  Execution<Host> const exec{1};
  models::MinkUNet<3, float, Host> network{MinkUNetOptions(3, 5).width(0.125).seed(9), exec};
  auto const expected = network.forward(input(12, exec), exec).features_on_host(exec);
  std::atomic<int> different{0};
  in_threads(3, [&](int) {
    Execution<Host> const own{2};
    for (int n = 0; n < 3; ++n) {
      different += network.forward(input(12, own), own).features_on_host(own) != expected ? 1 : 0;
    }
  });
  CHECK(different == 0);
}

TEST_CASE("threads: one tensor, one model and one execution of all threads")
{
  Execution<Host> const exec{3};
  models::MinkUNet<3, float, Host> network{MinkUNetOptions(3, 5).width(0.125).seed(9), exec};
  auto const expected = network.forward(input(12, exec), exec).features_on_host(exec);
  for (int n = 0; n < 3; ++n) {
    auto const x = input(12, exec);  // its set has no maps yet: the threads make them
    std::atomic<int> different{0};
    in_threads(
        4, [&](int) { different += network.forward(x, exec).features_on_host(exec) != expected ? 1 : 0; });
    CHECK(different == 0);
  }
}

TEST_CASE("threads: every dataflow and every tile map on one set")
{
  Execution<Host> const exec{2};
  auto const x = input(20, exec);
  auto const weight = numbers(27 * 3 * 8);
  ConvolutionGeometry<3> geometry;
  auto const run = [&](ConvConfig const& config) {
    return convolution(x, weight.data(), static_cast<float const*>(nullptr), 8, ConvolutionKind::submanifold,
                       geometry, config, exec)
        .features_on_host(exec);
  };
  std::vector<ConvConfig> configs(4);
  configs[1].dataflow = Dataflow::gather_scatter;
  configs[2].dataflow = Dataflow::fetch_on_demand;
  configs[3].splits = 3;
  std::vector<std::vector<float>> expected;
  for (auto const& config : configs) { expected.push_back(run(config)); }
  std::atomic<int> different{0};
  in_threads(4, [&](int thread) {
    for (int n = 0; n < 4; ++n) {
      auto const i = static_cast<std::size_t>(thread + n) % configs.size();
      different += run(configs[i]) != expected[i] ? 1 : 0;
    }
  });
  CHECK(different == 0);
}

TEST_CASE("threads: loops inside loops, and exceptions out of them")
{
  Execution<Host> const exec{3};
  std::atomic<std::int64_t> sum{0};
  std::atomic<int> caught{0};
  in_threads(3, [&](int) {
    for (int n = 0; n < 20; ++n) {
      exec.parallel_for(100, 5, [&](std::int64_t begin, std::int64_t end) {
        exec.parallel_for(end - begin, 1,
                          [&](std::int64_t first, std::int64_t last) { sum += last - first; });
      });
      try {
        exec.parallel_for(100, 1, [&](std::int64_t begin, std::int64_t) {
          if (begin == 57) { throw std::runtime_error{"57"}; }
        });
      } catch (std::runtime_error const&) {
        ++caught;
      }
    }
  });
  CHECK(sum == 3 * 20 * 100);
  CHECK(caught == 3 * 20);
}
