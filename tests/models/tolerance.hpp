// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

namespace networks {

/// What a whole network may be off by: its share of the reference's length, and the angle between them.
struct Tolerance {
  double distance;
  double cosine;
};

/// Of the same network fused, whose folded weights are rounded once more.
[[nodiscard]] inline Tolerance of_fused(Tolerance const& tolerance)
{
  return {10 * tolerance.distance, tolerance.cosine};
}

template <class Scalar>
void check_close(std::vector<Scalar> const& found, std::vector<float> const& expected,
                 Tolerance const& tolerance)
{
  REQUIRE(found.size() == expected.size());
  double difference = 0;
  double product = 0;
  double found_length = 0;
  double length = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    double const y = static_cast<float>(found[i]);
    double const reference = expected[i];
    difference += (y - reference) * (y - reference);
    product += y * reference;
    found_length += y * y;
    length += reference * reference;
  }
  REQUIRE(length > 0);
  CHECK(std::sqrt(difference / length) <= tolerance.distance);
  CHECK(product / std::sqrt(found_length * length) >= tolerance.cosine);
}

}  // namespace networks
