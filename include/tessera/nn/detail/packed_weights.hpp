// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/backend.hpp>
#include <tessera/nn/detail/derived_weight.hpp>
#include <tessera/nn/parameter.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The packed copies of one weight, one per layout that was asked for. A copy is packed when it is first used
/// and again, in place, when the weight's version has changed; asking changes nothing else. Whoever holds a
/// copy, a plan for instance, keeps it alive.
///
/// @tparam Backend  packed_size(plan), pack(plan, weight, to, exec): a fake in tests
template <class Scalar, class Space, class Backend = ConvolutionBackend<Space>,
          class Event = WorkEvent<Space>>
class PackedWeights {
 public:
  using Weight = nn::Parameter<Scalar, Space>;

  /// What the choice of a layout depends on, for one layer.
  struct Key {
    GemmKernel kernel = GemmKernel::automatic;
    MathMode math = MathMode::exact;

    [[nodiscard]] friend bool operator==(Key const& a, Key const& b)
    {
      return a.kernel == b.kernel && a.math == b.math;
    }
  };

  /// `weight` as the kernel of `key` reads it, good for work that is enqueued on `exec` now; none where that
  /// is the plain order, under PackAtUse, or where a graph is being captured and the copy is not there yet: the kernel then
  /// packs for itself, inside the graph.
  /// @param choose  the KernelPlan of `key`, called once per key
  /// Cost: two locks; the first time per layout an allocation where the weight's own values were allocated.
  /// Stream: enqueues at most a kernel, does not wait. Any thread may call it.
  template <class Choose>
  [[nodiscard]] PackedWeightView<Scalar> get(Key const& key, Weight const& weight,
                                             Execution<Space> const& exec, Choose const& choose)
  {
    if (PackAtUse::is_active()) { return {}; }
    std::lock_guard const lock{mutex_};
    auto found =
        std::find_if(entries_.begin(), entries_.end(), [&](auto& entry) { return entry.key == key; });
    if (found == entries_.end()) { found = entries_.insert(found, {key, choose(), nullptr}); }
    auto& entry = *found;
    auto const size = Backend::packed_size(entry.plan);
    if (size == 0) { return {}; }
    if (entry.copy == nullptr) { entry.copy = copy_of(entry.plan, size, weight, exec); }
    if (entry.copy == nullptr || !entry.copy->update(exec)) { return {}; }
    WeightUses<Space>::note(entry.copy);
    return {entry.copy->values(), entry.plan.packed};
  }

  /// Drops all copies but that of `key` and those that somebody holds.
  /// @pre  nobody uses the layer meanwhile, and what reads the copies is ordered before
  void keep_only(Key const& key)
  {
    std::lock_guard const lock{mutex_};
    auto const is_held = [&](Entry const& entry) {
      auto const own = std::count_if(entries_.begin(), entries_.end(),
                                     [&](auto& other) { return other.copy == entry.copy; });
      return entry.copy != nullptr && entry.copy.use_count() > own;
    };
    std::vector<Entry> left;
    for (auto const& entry : entries_) {
      if (entry.key == key || is_held(entry)) { left.push_back(entry); }
    }
    entries_.swap(left);
  }

  /// Bytes of all copies.
  [[nodiscard]] std::size_t bytes() const
  {
    std::lock_guard const lock{mutex_};
    std::size_t sum = 0;
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      bool const counted =
          std::any_of(entries_.begin(), entry, [&](auto& e) { return e.copy == entry->copy; });
      if (entry->copy != nullptr && !counted) { sum += entry->copy->bytes(); }
    }
    return sum;
  }

 private:
  class Copy final : public DerivedWeight<Space> {
   public:
    Copy(KernelPlan const& plan, std::int64_t size, Weight const& weight, Execution<Space> const& exec)
        : plan_{plan}, weight_{weight}, values_{allocate_at<Scalar>(weight.home(), size, exec)}
    {}
    [[nodiscard]] Scalar const* values() const noexcept { return values_.data(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return values_.bytes(); }
    [[nodiscard]] PackedLayout const& layout() const noexcept { return plan_.packed; }

    [[nodiscard]] VariableId stale_parameter() const noexcept override
    {
      return version_.load(std::memory_order_acquire) == weight_.version() ? 0 : weight_.id();
    }
    void append_parameters(std::vector<VariableId>& to) const override { to.push_back(weight_.id()); }
    [[nodiscard]] bool update(Execution<Space> const& exec) override
    {
      auto const lock = this->locked();
      auto const version = weight_.version();
      if (version_.load(std::memory_order_relaxed) == version) { return packed_.order(exec); }
      if (Event::is_capturing(exec)) { return false; }
      Backend::pack(plan_, packed_source(plan_.packed, weight_.data()), values_.data(), exec);
      packed_.record(exec);
      version_.store(version, std::memory_order_release);
      return true;
    }

   private:
    [[nodiscard]] Event& event() noexcept override { return packed_; }

    KernelPlan plan_;
    Weight const& weight_;
    Buffer<Scalar, Space> values_;
    std::atomic<std::uint64_t> version_{0};  // of the weight whose values it holds
    Event packed_;
  };
  struct Entry {
    Key key;
    KernelPlan plan;
    std::shared_ptr<Copy> copy;  // null: the plain order, or not made yet
  };

  /// A copy of the plan's layout, made where there is none; null where a graph is being captured.
  [[nodiscard]] std::shared_ptr<Copy> copy_of(KernelPlan const& plan, std::int64_t size, Weight const& weight,
                                              Execution<Space> const& exec)
  {
    for (auto const& entry : entries_) {
      if (entry.copy != nullptr && entry.copy->layout() == plan.packed) { return entry.copy; }
    }
    if (Event::is_capturing(exec) || Event::is_capturing(weight.home())) { return nullptr; }
    return std::make_shared<Copy>(plan, size, weight, exec);
  }

  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
