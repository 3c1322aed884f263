// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A place in a ring of stages in shared memory: the stage, and the parity of its barriers' current phase,
/// which changes with each turn of the ring.
class PipelineState {
 public:
  PipelineState() = default;
  __device__ explicit PipelineState(std::uint32_t first_phase) : phase_{first_phase} {}

  [[nodiscard]] __device__ int stage() const { return stage_; }
  [[nodiscard]] __device__ std::uint32_t phase() const { return phase_; }

  /// Goes on to the next of `stages`.
  __device__ void advance(int stages)
  {
    if (++stage_ == stages) {
      stage_ = 0;
      phase_ ^= 1U;
    }
  }

  /// The place before this one.
  [[nodiscard]] __device__ PipelineState previous(int stages) const
  {
    PipelineState before = *this;
    if (stage_ == 0) { before.phase_ ^= 1U; }
    before.stage_ = (stage_ == 0 ? stages : stage_) - 1;
    return before;
  }

 private:
  int stage_ = 0;
  std::uint32_t phase_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
