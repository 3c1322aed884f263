// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Gradients by their definition.

#include <cstddef>
#include <random>
#include <vector>

namespace test {

/// Numbers in [-1, 1).
inline std::vector<double> random_values(std::size_t count, unsigned seed)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<double> uniform{-1, 1};
  std::vector<double> result(count);
  for (auto& value : result) { value = uniform(random); }
  return result;
}

template <class A, class B>
double dot(std::vector<A> const& a, std::vector<B> const& b)
{
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) { sum += static_cast<double>(a[i]) * static_cast<double>(b[i]); }
  return sum;
}

/// (loss(v + step) - loss(v - step)) / (2 step) for each value.
template <class Loss>
std::vector<double> finite_differences(std::vector<double> values, Loss const& loss, double step = 1e-4)
{
  std::vector<double> result;
  for (auto& value : values) {
    auto const kept = value;
    value = kept + step;
    auto const above = loss(values);
    value = kept - step;
    result.push_back((above - loss(values)) / (2 * step));
    value = kept;
  }
  return result;
}

}  // namespace test
