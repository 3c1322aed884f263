// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>

#include <cstdint>
#include <optional>

namespace tessera {
inline namespace v0 {
namespace models {

/// Options of TorchSparse's backbones: `BackboneOptions(4).width(0.5)`.
struct BackboneOptions {
  explicit BackboneOptions(int in) : in_channels{in} {}

  /// Multiplies the channels of all stages.
  BackboneOptions& width(double value) { return width_factor = value, *this; }
  /// Run-time choices of all convolutions; without them those of the calling thread.
  BackboneOptions& config(ConvConfig const& value) { return conv_config = value, *this; }
  /// Seed of the initial values.
  BackboneOptions& seed(std::uint64_t value) { return initial_seed = value, *this; }

  int in_channels;
  double width_factor = 1;
  std::optional<ConvConfig> conv_config;
  std::uint64_t initial_seed = 0;
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
