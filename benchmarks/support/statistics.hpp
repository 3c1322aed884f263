// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

namespace bench {

/// What is said of a set of measured milliseconds.
struct Times {
  std::size_t calls = 0;
  double median_ms = 0;
  double min_ms = 0;
  double p99_ms = 0;
};

/// Median (the mean of the middle two of an even number), smallest, and the 99th percentile by nearest rank:
/// the smallest of the times that at least 99 % of all are not above.
/// @throws std::invalid_argument  there are none
[[nodiscard]] inline Times summary(std::vector<double> milliseconds)
{
  if (milliseconds.empty()) { throw std::invalid_argument{"summary: there are no times"}; }
  std::sort(milliseconds.begin(), milliseconds.end());
  auto const n = milliseconds.size();
  auto const rank = (n * 99 + 99) / 100;  // ceil(0.99 n), counted from 1
  return {n, (milliseconds[(n - 1) / 2] + milliseconds[n / 2]) / 2, milliseconds.front(),
          milliseconds[rank - 1]};
}

}  // namespace bench
