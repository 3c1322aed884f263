// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/position_rounding.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The number at `from`, of any alignment.
[[nodiscard]] inline double column_value(ColumnType type, std::uint8_t const* from) noexcept
{
  switch (type) {
    case ColumnType::int8: return load_bytes<std::int8_t>(from);
    case ColumnType::uint8: return load_bytes<std::uint8_t>(from);
    case ColumnType::int16: return load_bytes<std::int16_t>(from);
    case ColumnType::uint16: return load_bytes<std::uint16_t>(from);
    case ColumnType::int32: return load_bytes<std::int32_t>(from);
    case ColumnType::uint32: return load_bytes<std::uint32_t>(from);
    case ColumnType::int64: return static_cast<double>(load_bytes<std::int64_t>(from));
    case ColumnType::uint64: return static_cast<double>(load_bytes<std::uint64_t>(from));
    case ColumnType::float32: return static_cast<double>(load_bytes<float>(from));
    default: return load_bytes<double>(from);
  }
}

/// Makes a cloud of the columns of a file: x, y, z are the positions; `label` is the labels where every value
/// is a 32-bit whole number, and a feature channel where not; every other column is a feature channel of its
/// name.
class PointTable {
 public:
  /// A column without a name is passed over.
  /// @throws invalid_argument  x, y or z is missing, two columns have one name, or there are too many
  /// channels
  PointTable(std::vector<PointColumn> const& columns, std::size_t rows, PointOrigin const& origin,
             FileContext const& file)
      : file_{file},
        rows_{rows},
        targets_{targets(columns)},
        positions_{rows, are_floats(columns), origin, file}
  {
    channels_ = cloud_.feature_names.size();
    cloud_.features.resize(channels_ * rows);
    if (label_place_) { labels_.resize(rows); }
    for (std::size_t i = 0; i < columns.size(); ++i) {
      bool const is_wide = columns[i].type == ColumnType::int64 || columns[i].type == ColumnType::uint64;
      if (is_wide && targets_[i] >= 0 && targets_[i] < 3) {
        wide_[static_cast<std::size_t>(targets_[i])] = true;
      }
    }
  }

  void put(std::size_t column, std::size_t row, double value)
  {
    int const target = targets_[column];
    if (target >= 3) {
      cloud_.features[channels_ * row + static_cast<std::size_t>(target - 3)] = round_to_float(value);
    } else if (target >= 0) {
      auto const axis = static_cast<std::size_t>(target);
      if (wide_[axis] && std::fabs(value) > 0x1p53) {
        file_.fail("the coordinate ", value, " of row ", row, " has more digits than a double");
      }
      positions_.put(3 * row + axis, value);
    } else if (target == label) {
      labels_[row] = value;
    }
  }

  [[nodiscard]] PointCloud finish()
  {
    positions_.finish(cloud_);
    if (label_place_) { finish_labels(); }
    cloud_.channels = static_cast<int>(cloud_.feature_names.size());
    return std::move(cloud_);
  }

 private:
  static constexpr int skipped = -1;
  static constexpr int label = -2;

  [[nodiscard]] std::vector<int> targets(std::vector<PointColumn> const& columns)
  {
    constexpr std::string_view axes{"xyz"};
    std::vector<int> result;
    int found = 0;
    std::vector<std::string_view> names;
    for (auto const& [name, type] : columns) {
      if (name.empty()) {
        result.push_back(skipped);
        continue;
      }
      names.push_back(name);
      if (auto const axis = axes.find(name); name.size() == 1 && axis != axes.npos) {
        result.push_back(static_cast<int>(axis));
        ++found;
      } else if (name == "label") {
        label_place_ = cloud_.feature_names.size();
        result.push_back(label);
      } else {
        result.push_back(3 + static_cast<int>(cloud_.feature_names.size()));
        cloud_.feature_names.push_back(name);
      }
    }
    std::sort(names.begin(), names.end());
    auto const twice = std::adjacent_find(names.begin(), names.end());
    file_.expects(twice == names.end(), "has two columns ", twice == names.end() ? "" : in_quotes(*twice));
    file_.expects(found == 3, "its points lack one of x, y and z");
    return result;
  }

  [[nodiscard]] static bool are_floats(std::vector<PointColumn> const& columns)
  {
    return std::all_of(columns.begin(), columns.end(), [](PointColumn const& column) {
      bool const is_axis = column.name == "x" || column.name == "y" || column.name == "z";
      return !is_axis || column.type < ColumnType::int32 || column.type == ColumnType::float32;
    });
  }

  void finish_labels()
  {
    constexpr double low = std::numeric_limits<std::int32_t>::min();
    constexpr double high = std::numeric_limits<std::int32_t>::max();
    if (std::all_of(labels_.begin(), labels_.end(),
                    [](double v) { return is_finite(v) && v >= low && v <= high && v == std::floor(v); })) {
      cloud_.labels.resize(rows_);
      std::transform(labels_.begin(), labels_.end(), cloud_.labels.begin(),
                     [](double v) { return static_cast<std::int32_t>(v); });
      return;
    }
    std::vector<float> wider;
    wider.reserve((channels_ + 1) * rows_);
    auto const place = static_cast<std::ptrdiff_t>(*label_place_);
    auto const width = static_cast<std::ptrdiff_t>(channels_);
    for (std::size_t row = 0; row < rows_; ++row) {
      auto const features = cloud_.features.begin() + static_cast<std::ptrdiff_t>(row) * width;
      wider.insert(wider.end(), features, features + place);
      wider.push_back(round_to_float(labels_[row]));
      wider.insert(wider.end(), features + place, features + width);
    }
    cloud_.features = std::move(wider);
    cloud_.feature_names.insert(cloud_.feature_names.begin() + place, "label");
  }

  FileContext const& file_;
  std::size_t rows_;
  PointCloud cloud_;
  std::optional<std::size_t> label_place_;  ///< how many channels are before the label
  std::vector<int> targets_;                ///< of each column: 0 to 2 are axes, from 3 on a channel
  std::size_t channels_ = 0;
  std::vector<double> labels_;
  std::array<bool, 3> wide_{};  ///< axes of 64-bit integers
  PositionRounding positions_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
