// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>

#include <cstdint>
#include <optional>

namespace tessera {
inline namespace v0 {

/// Options of TorchSparse's backbones: `BackboneOptions(4).width(0.5)`.
struct BackboneOptions {
  explicit BackboneOptions(int in) : in_channels{in} {}

  /// Multiplies the channels of all stages.
  BackboneOptions& width(double value) { return width_ = value, *this; }
  [[nodiscard]] double width() const noexcept { return width_; }
  /// Run-time choices of all convolutions; without them those of the calling thread.
  BackboneOptions& config(ConvConfig const& value) { return config_ = value, *this; }
  [[nodiscard]] std::optional<ConvConfig> const& config() const noexcept { return config_; }
  /// Seed of the initial values.
  BackboneOptions& seed(std::uint64_t value) { return seed_ = value, *this; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  int in_channels;

 private:
  double width_ = 1;
  std::optional<ConvConfig> config_;
  std::uint64_t seed_ = 0;
};

}  // namespace v0
}  // namespace tessera
