// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Memory that is used up in the middle of a forward pass.

#include "../support/device.hpp"
#include "../support/memory.hpp"
#include "../support/small.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/models/minkunet.hpp>

#include <cstdint>
#include <vector>

using namespace tessera;

namespace {

template <class Space>
using Tensor = SparseTensor<3, float, Space>;

/// Two wavy surfaces with features of their rows.
template <class Space>
Tensor<Space> input(Execution<Space> const& exec)
{
  std::vector<Coordinate<3>> rows;
  std::vector<float> features;
  for (int i = 0; i < 2 * 12 * 12; ++i) {
    int const x = i / 12 % 12;
    rows.push_back({i / 144, {x, i % 12, (x * x / 7 + i % 12) / 5}});
    for (int c = 0; c < 3; ++c) { features.push_back(static_cast<float>((i * 7 + c * 3) % 11) / 5 - 1); }
  }
  return {make_coordinate_set(rows, CoordinateSetOptions<3>{}, exec), upload_matrix(features, 3, exec)};
}

/// Runs a MinkUNet once for each allocation it makes, or for every `step`-th, with that allocation failing.
template <class Space>
void check_every_failure(int conv_mode, int num_threads, std::int64_t step)
{
  CAPTURE(conv_mode);
  CAPTURE(num_threads);
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(num_threads);
  models::MinkUNet<3, float, Space> net{
      MinkUNetOptions(3, 5).width(0.125).config(with_conv_mode({}, conv_mode)).seed(9), exec};
  std::vector<float> expected;
  std::int64_t allocations = 0;
  {
    auto const x = input(exec);
    auto const before = memory.allocations();
    expected = net(x, exec).features_on_host(exec);
    allocations = memory.allocations() - before;
  }
  REQUIRE(allocations > 100);
  auto const in_use = memory.bytes_in_use();
  for (std::int64_t n = 0; n < allocations; n += step) {
    CAPTURE(n);
    {
      auto const x = input(exec);
      memory.fail_at(n);
      CHECK_THROWS_AS(static_cast<void>(net(x, exec)), test::OutOfMemory<Space>);
      memory.fail_at(-1);
      REQUIRE(net(x, exec).features_on_host(exec) == expected);  // the same tensor, what its set has kept
      REQUIRE(net(x, exec).features_on_host(exec) == expected);
    }
    REQUIRE(memory.bytes_in_use() == in_use);
    REQUIRE(net(input(exec), exec).features_on_host(exec) == expected);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("MinkUNet: a forward pass that runs out of memory leaks nothing and can be repeated",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  std::int64_t const step = test::small_sets() ? 41 : 1;
  check_every_failure<Space>(1, 1, step);
  check_every_failure<Space>(0, 1, 7 * step);
  check_every_failure<Space>(2, 1, 7 * step);
}

TEST_CASE("MinkUNet: running out of memory on one of several threads is no different")
{
  check_every_failure<Host>(1, 3, 5);
}
