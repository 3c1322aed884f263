// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Where gradients are reduced while backward goes on. Device: train/gradient_reducer.cuh.
template <class Space>
class ReductionStream;

/// On the host a collective has ended when it returns.
template <>
class ReductionStream<Host> {
 public:
  explicit ReductionStream(Execution<Host> const& home) : exec_{home.without_recorder()} {}

  /// For work that follows what has been enqueued on `exec`.
  [[nodiscard]] Execution<Host> const& after(Execution<Host> const& /*exec*/) const noexcept { return exec_; }
  /// Orders what is enqueued on `exec` from here on after the work enqueued here.
  void join(Execution<Host> const& /*exec*/) const noexcept {}

 private:
  Execution<Host> exec_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
