// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// How far a whole result is from another.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace test {

/// max |a|; 0 of none.
inline double magnitude(std::vector<float> const& a)
{
  double largest = 0;
  for (float const value : a) { largest = std::max(largest, std::abs(static_cast<double>(value))); }
  return largest;
}

/// max |values - reference| over the largest magnitude of `reference`; NaN or infinite where a difference is.
template <class A>
double largest_difference(std::vector<A> const& values, std::vector<float> const& reference)
{
  REQUIRE(values.size() == reference.size());
  double difference = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    auto const apart = std::abs(static_cast<double>(static_cast<float>(values[i])) - reference[i]);
    if (!std::isfinite(apart)) { return apart; }
    difference = std::max(difference, apart);
  }
  return difference / std::max(magnitude(reference), 1e-30);
}

}  // namespace test
