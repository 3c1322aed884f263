// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/profile_table.hpp>

#include <algorithm>
#include <cstdint>

namespace bench {

/// What an H100 reaches at best with 16-bit operands; all were measured on one, none is from a data sheet.
struct Ceilings {
  static constexpr auto h100 = tessera::nn::Ceilings::h100();

  double multiply_adds_per_s = h100.multiply_adds_per_s;  ///< of tensor cores that wait for nothing
  double gathered_bytes_per_s =
      h100.gathered_bytes_per_s;                 ///< rows of features, from the L2 cache into the SMs
  double launch_ms = 1e3 * h100.launch_seconds;  ///< one step of a CUDA graph, from the end of the one before
};

/// Arithmetic and memory traffic that one convolution cannot do without.
struct LayerWork {
  std::int64_t num_pairs = 0;  ///< entries of the kernel map
  int in_channels = 0;
  int out_channels = 0;
  int scalar_bytes = 2;

  [[nodiscard]] double multiply_adds() const
  {
    return static_cast<double>(num_pairs) * in_channels * out_channels;
  }
  [[nodiscard]] double gathered_bytes() const
  {
    return static_cast<double>(num_pairs) * in_channels * scalar_bytes;
  }
};

/// The work of a layer, or of all layers and kernel maps of a network, and the time below which it cannot be
/// done: `floor = max(multiply-adds / their ceiling, gathered bytes / theirs) + steps * launch`.
class Work {
 public:
  Work() = default;
  explicit Work(Ceilings const& ceilings) : ceilings_{ceilings} {}

  /// A convolution, which is one step.
  void add(LayerWork const& layer)
  {
    multiply_adds_ += layer.multiply_adds();
    gathered_bytes_ += layer.gathered_bytes();
    ++steps_;
  }
  /// Steps that only wait for one another, those of kernel maps for instance.
  void add_steps(int count) { steps_ += count; }

  [[nodiscard]] double multiply_adds() const noexcept { return multiply_adds_; }
  [[nodiscard]] double gathered_bytes() const noexcept { return gathered_bytes_; }
  [[nodiscard]] int steps() const noexcept { return steps_; }
  [[nodiscard]] double floor_ms() const
  {
    auto const busy_s = std::max(multiply_adds_ / ceilings_.multiply_adds_per_s,
                                 gathered_bytes_ / ceilings_.gathered_bytes_per_s);
    return 1e3 * busy_s + steps_ * ceilings_.launch_ms;
  }

 private:
  Ceilings ceilings_;
  double multiply_adds_ = 0;
  double gathered_bytes_ = 0;
  int steps_ = 0;
};

}  // namespace bench
