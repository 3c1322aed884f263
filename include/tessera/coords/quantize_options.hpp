// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>

#include <array>
#include <cstdint>
#include <optional>

namespace tessera {
inline namespace v0 {

/// How a position on the grid becomes a voxel index.
enum class Rounding : std::uint8_t {
  floor,         ///< voxel i covers [i, i + 1)
  nearest_even,  ///< voxel i is centred on i; halves go to the even one (numpy's and PyTorch's round)
};

/// The position of voxel 0.
enum class GridOrigin : std::uint8_t {
  fixed,         ///< `round((p - origin) / size)`
  lowest_point,  ///< `round((p - lowest) / size)`, `lowest` each axis' minimum over a cloud's points
  lowest_voxel,  ///< `round((p - origin) / size)` minus the minimum of that over a cloud's points
};

/// What the features of a voxel are.
enum class VoxelFeatures : std::uint8_t {
  first,    ///< those of its lowest point index
  mean,     ///< their mean over its points, summed by ascending index
  sum,      ///< their sum over its points, by ascending index
  maximum,  ///< the largest of each channel over its points; NaN if any is
};

/// How sparse_quantize() makes voxels: `QuantizeOptions<3>(0.05F).origin(GridOrigin::lowest_point)`.
template <int Dim>
struct QuantizeOptions {
  using Position = std::array<float, Dim>;

  /// Voxels of one size on every axis, in the unit of the points.
  explicit QuantizeOptions(float size) { voxel_size.fill(size); }
  explicit QuantizeOptions(Position const& size) : voxel_size{size} {}

  /// Voxel 0 begins (floor) or is centred (nearest_even) at `position`; (0, 0, ...) unless told.
  QuantizeOptions& origin(Position const& position)
  {
    return fixed_origin_ = position, origin_ = GridOrigin::fixed, *this;
  }
  [[nodiscard]] Position const& fixed_origin() const noexcept { return fixed_origin_; }
  QuantizeOptions& origin(GridOrigin value) { return origin_ = value, *this; }
  [[nodiscard]] GridOrigin origin() const noexcept { return origin_; }
  QuantizeOptions& rounding(Rounding value) { return rounding_ = value, *this; }
  [[nodiscard]] Rounding rounding() const noexcept { return rounding_; }
  QuantizeOptions& features(VoxelFeatures value) { return features_ = value, *this; }
  [[nodiscard]] VoxelFeatures features() const noexcept { return features_; }
  /// Leaves out points that are not in [lower, upper) on every axis.
  QuantizeOptions& range(Position const& lower, Position const& upper)
  {
    return range_lower_ = lower, range_upper_ = upper, *this;
  }
  [[nodiscard]] std::optional<Position> const& range_upper() const noexcept { return range_upper_; }
  [[nodiscard]] std::optional<Position> const& range_lower() const noexcept { return range_lower_; }
  /// Leaves out points whose voxel is not in [0, extent) on every axis; the result has this spatial range.
  QuantizeOptions& grid(IntArray<Dim> const& extent) { return grid_ = extent, *this; }
  [[nodiscard]] std::optional<IntArray<Dim>> const& grid() const noexcept { return grid_; }

  Position voxel_size{};

 private:
  Position fixed_origin_{};
  GridOrigin origin_ = GridOrigin::fixed;
  Rounding rounding_ = Rounding::floor;
  VoxelFeatures features_ = VoxelFeatures::first;
  std::optional<Position> range_lower_;
  std::optional<Position> range_upper_;
  std::optional<IntArray<Dim>> grid_;
};

}  // namespace v0
}  // namespace tessera
