// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/data/data_set.hpp>
#include <tessera/data/detail/random.hpp>
#include <tessera/data/lidar_simulator.hpp>
#include <tessera/points/point_cloud.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Scans of the built-in simulator without end, each of a street of its own, labelled with SceneClass.
///
/// Scan i is a function of (seed, i) and of the scanner. No held-out scan is of a street that a training scan
/// is of, whatever the seeds.
class SimulatedScans {
 public:
  using Sample = PointCloud;

  /// @param scanner  what LidarOptions says of scanner and street; its seed is not used
  /// @throws invalid_argument  an option of the scanner is out of range
  explicit SimulatedScans(std::uint64_t seed = 1, LidarOptions const& scanner = {})
      : seed_{seed}, scanner_{scanner}
  {
    detail::check(scanner);
  }

  /// The scans that training never sees, of the same scanner.
  [[nodiscard]] SimulatedScans held_out() const
  {
    auto result = *this;
    result.is_held_out_ = true;
    return result;
  }
  [[nodiscard]] bool is_held_out() const noexcept { return is_held_out_; }

  /// There is no last one.
  [[nodiscard]] static constexpr std::int64_t size() noexcept { return endless; }
  [[nodiscard]] static constexpr int num_classes() noexcept { return num_scene_classes; }

  /// Scan `index`, which may be any number from 0 on; from several threads at once.
  /// @throws invalid_argument  a negative index
  /// Cost: that of simulate_lidar(), some 0.2 s on one core with its defaults.
  /// Determinism: the same bits on every machine.
  [[nodiscard]] PointCloud load(std::int64_t index) const
  {
    detail::expects(index >= 0, "SimulatedScans: scan ", index);
    auto options = scanner_;
    // Training has the even streets, held-out scans the odd ones.
    auto const street = detail::splitmix64(detail::splitmix64(seed_) + static_cast<std::uint64_t>(index));
    options.seed = street << 1U | (is_held_out_ ? 1U : 0U);
    constexpr std::int64_t frames = 1000;  // where along the street
    return simulate_lidar(options, static_cast<std::int64_t>(detail::splitmix64(street) % frames));
  }

 private:
  std::uint64_t seed_;
  LidarOptions scanner_;
  bool is_held_out_ = false;
};

}  // namespace v0
}  // namespace tessera
