// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// __half and __nv_bfloat16 come with the CUDA headers.
#ifdef __CUDACC__

#include "host_cases.hpp"

#include <tessera/core/scalar.cuh>

#include <doctest/doctest.h>

using namespace host_cases;

TEST_CASE_TEMPLATE("convolution on the host: 16-bit scalars are summed in float and rounded once", Scalar,
                   __half, __nv_bfloat16)
{
  unsigned seed = 0;
  for (auto const& shape :
       {Shape{90, 120, 27, 32, 32}, Shape{70, 1300, 8, 3, 20}, Shape{40, 30, 125, 20, 5}}) {
    auto p = random_problem<Scalar>(shape, ++seed);
    CAPTURE(seed);
    if (seed == 2) { p.bias.clear(); }
    auto const widened = [](std::vector<Scalar> const& values) {
      std::vector<float> wide;
      for (auto const v : values) { wide.push_back(static_cast<float>(v)); }
      return wide;
    };
    Problem<float> const wide{shape, p.map, widened(p.features), widened(p.weight), widened(p.bias)};
    for (auto const& options : all_ways()) {
      CAPTURE(name_of(options));
      std::vector<Scalar> expected;
      for (float const v : run(wide, options)) { expected.push_back(static_cast<Scalar>(v)); }
      CHECK(same_bits(run(p, options), expected));
    }
  }
}

#else

#include "../support/skip.hpp"

#include <doctest/doctest.h>

TEST_CASE("convolution on the host: 16-bit scalars are summed in float and rounded once")
{
  test::skip("built without CUDA");
}

#endif
