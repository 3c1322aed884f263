// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How far, in metres, rounding to float may move a coordinate of a file before an origin is subtracted.
/// Coordinates up to 2^15 m stay within it whatever they are.
inline constexpr double position_tolerance = 0x1p-10;

/// A length in a sentence: with millimetres, and all digits before them.
[[nodiscard]] inline std::string metres(double value)
{
  char digits[64];
  auto const end = std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::fixed, 3).ptr;
  return {digits, end};
}

/// Rounds positions to float, about an origin where they need one: PointCloud::origin has the rule.
class PositionRounding {
 public:
  /// @param are_floats  whether every coordinate is a float as the file has it
  PositionRounding(std::size_t points, bool are_floats, PointOrigin const& origin, FileContext const& file)
      : file_{file}, origin_{origin}
  {
    bool const finite =
        !origin || (is_finite((*origin)[0]) && is_finite((*origin)[1]) && is_finite((*origin)[2]));
    file.expects(finite, "an origin that is not finite");
    if (are_floats || origin) {
      rounded_.resize(3 * points);
    } else {
      exact_.resize(3 * points);
    }
  }

  /// Coordinate `index` = 3 * row + axis.
  void put(std::size_t index, double value)
  {
    if (!exact_.empty()) {
      exact_[index] = value;
    } else {
      rounded_[index] = round_to_float(origin_ ? value - (*origin_)[index % 3] : value);
    }
  }

  void finish(PointCloud& cloud)
  {
    if (origin_) { cloud.origin = *origin_; }
    if (!exact_.empty()) {
      for (std::size_t axis = 0; axis < 3; ++axis) { cloud.origin[axis] = choose(axis); }
      rounded_.resize(exact_.size());
      for (std::size_t i = 0; i < exact_.size(); ++i) {
        rounded_[i] = round_to_float(exact_[i] - cloud.origin[i % 3]);
      }
    }
    cloud.positions = std::move(rounded_);
  }

 private:
  /// The largest distance by which rounding moves a coordinate of the axis; those that are not finite as
  /// floats are left out.
  [[nodiscard]] double worst(std::size_t axis, double origin) const
  {
    double most = 0;
    for (std::size_t i = axis; i < exact_.size(); i += 3) {
      double const moved = exact_[i] - origin;
      float const rounded = round_to_float(moved);
      if (is_finite(rounded)) { most = std::max(most, std::fabs(moved - static_cast<double>(rounded))); }
    }
    return most;
  }

  /// 0 where that loses nothing, else the median of the coordinates as a whole number: a few wild points do
  /// not move it.
  [[nodiscard]] double choose(std::size_t axis) const
  {
    if (worst(axis, 0) <= position_tolerance) { return 0; }
    std::vector<double> values;
    values.reserve(exact_.size() / 3);
    for (std::size_t i = axis; i < exact_.size(); i += 3) {
      if (is_finite(round_to_float(exact_[i]))) { values.push_back(exact_[i]); }
    }
    auto const middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    double const origin = std::floor(*middle);
    auto const [low, high] = std::minmax_element(values.begin(), values.end());
    file_.expects(worst(axis, origin) <= position_tolerance, "its ", "xyz"[axis], " runs from ", metres(*low),
                  " to ", metres(*high),
                  ", too far for floats to hold it to a millimetre; give an origin, e.g. ", metres(origin),
                  " on this axis, about which the positions are rounded, or 0 to round them as they are");
    return origin;
  }

  FileContext const& file_;
  PointOrigin origin_;
  std::vector<double> exact_;
  std::vector<float> rounded_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
