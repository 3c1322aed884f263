// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/work_event.hpp>
#include <tessera/core/recorder.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Weights that were made of parameters and that a captured graph reads in their place: a packed copy, or
/// folded weights. The parameters must live as long as anybody asks for more than the memory.
template <class Space>
class DerivedWeight {
 public:
  DerivedWeight() = default;
  DerivedWeight(DerivedWeight const&) = delete;
  DerivedWeight& operator=(DerivedWeight const&) = delete;
  virtual ~DerivedWeight() = default;

  /// A parameter that was written since; 0: none was.
  [[nodiscard]] virtual VariableId stale_parameter() const noexcept = 0;
  [[nodiscard]] bool is_current() const noexcept { return stale_parameter() == 0; }
  /// All parameters that it was made of.
  virtual void append_parameters(std::vector<VariableId>& to) const = 0;

  /// Makes it current for work that is enqueued on `exec` from here on: in place, where a parameter was written
  /// since, and orders `exec` after whoever made it. False where that cannot be, in a graph that is being
  /// captured.
  /// Stream: enqueues a few kernels at most; folded weights wait once per norm. Any thread may call it.
  [[nodiscard]] virtual bool update(Execution<Space> const& exec) = 0;

  /// Calls `visit(event)` with the end of the work that made it, under its lock.
  template <class Visit>
  auto visit_event(Visit const& visit) noexcept
  {
    auto const lock = locked();
    return visit(event());
  }

 protected:
  [[nodiscard]] virtual WorkEvent<Space>& event() noexcept = 0;
  /// Holds its lock while the result lives.
  [[nodiscard]] std::unique_lock<std::mutex> locked() const { return std::unique_lock{mutex_}; }

 private:
  mutable std::mutex mutex_;
};

/// Collects the derived weights that calls on this thread use while it lives: what a graph that is captured
/// meanwhile reads.
template <class Space>
class WeightUses {
 public:
  using Pointer = std::shared_ptr<DerivedWeight<Space>>;

  WeightUses() : before_{std::exchange(of_thread(), this)} {}
  WeightUses(WeightUses const&) = delete;
  WeightUses& operator=(WeightUses const&) = delete;
  ~WeightUses() { of_thread() = before_; }

  /// Each once, in the order of their first uses.
  [[nodiscard]] std::vector<Pointer> take() { return std::exchange(weights_, {}); }

  static void note(Pointer const& weight)
  {
    if (auto* const uses = of_thread(); uses != nullptr) {
      auto& weights = uses->weights_;
      if (std::find(weights.begin(), weights.end(), weight) == weights.end()) { weights.push_back(weight); }
    }
  }

 private:
  [[nodiscard]] static WeightUses*& of_thread() noexcept
  {
    static thread_local WeightUses* uses = nullptr;
    return uses;
  }

  WeightUses* before_;
  std::vector<Pointer> weights_;
};

/// While it lives, kernels that calls on this thread enqueue pack their weights for themselves: in a graph that
/// writes the weights too, a copy that somebody keeps would be out of date at every launch.
class PackAtUse {
 public:
  PackAtUse() : before_{std::exchange(of_thread(), true)} {}
  PackAtUse(PackAtUse const&) = delete;
  PackAtUse& operator=(PackAtUse const&) = delete;
  ~PackAtUse() { of_thread() = before_; }

  [[nodiscard]] static bool is_active() noexcept { return of_thread(); }

 private:
  [[nodiscard]] static bool& of_thread() noexcept
  {
    static thread_local bool active = false;
    return active;
  }

  bool before_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
