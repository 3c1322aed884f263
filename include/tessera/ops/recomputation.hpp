// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

[[nodiscard]] inline bool& recomputes_on_this_thread() noexcept
{
  static thread_local bool recomputes = false;
  return recomputes;
}

}  // namespace detail
namespace ops {

/// While it lives, what this thread calls is a forward pass done again for its gradients: batch normalisation in
/// training leaves the running statistics alone, which the first pass has updated.
class RecomputationScope {
 public:
  RecomputationScope() : before_{std::exchange(detail::recomputes_on_this_thread(), true)} {}
  RecomputationScope(RecomputationScope const&) = delete;
  RecomputationScope& operator=(RecomputationScope const&) = delete;
  ~RecomputationScope() { detail::recomputes_on_this_thread() = before_; }

 private:
  bool before_;
};

}  // namespace ops
}  // namespace v0
}  // namespace tessera
