// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/nn/detail/derived_weight.hpp>
#include <tessera/nn/detail/parameters_of.hpp>
#include <tessera/plan/status.hpp>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The packed and folded weights that a plan's graph reads. What else it reads of parameters is read where
/// the model kept it, and so is current as long as it is there.
template <class Space>
class PlanWeights {
 public:
  PlanWeights() = default;
  /// @param model  names the parameters, where it has `parameters()`
  template <class Model>
  PlanWeights(std::vector<std::shared_ptr<DerivedWeight<Space>>> weights, Model const& model)
      : weights_{std::move(weights)}
  {
    auto const named = parameters_of(model);
    std::vector<VariableId> ids;
    for (auto const& weight : weights_) { weight->append_parameters(ids); }
    for (auto const& view : named) {
      auto const& address = view.parameter->address();
      places_.push_back({&address, address.load(std::memory_order_acquire), view.name});
    }
    for (auto const id : ids) {
      auto const found = std::find_if(named.begin(), named.end(),
                                      [&](auto const& view) { return view.parameter->id() == id; });
      names_.emplace(id, found != named.end() ? found->name : concat("parameter ", id));
    }
  }

  /// Names a parameter whose values are not where the graph reads them, or that was written since its weight was
  /// packed or folded.
  [[nodiscard]] RunStatus status() const noexcept
  {
    for (auto const& place : places_) {
      if (place.address->load(std::memory_order_acquire) == place.read_at) { continue; }
      RunStatus moved;
      moved.error = RunError::moved_parameter;
      moved.parameter = place.name.c_str();
      return moved;
    }
    for (auto const& weight : weights_) {
      auto const id = weight->stale_parameter();
      if (id == 0) { continue; }
      RunStatus stale;
      stale.error = RunError::stale_parameter;
      stale.parameter = name_of(id);
      return stale;
    }
    return {};
  }

  /// Makes anew, in place, what is out of date.
  /// @throws invalid_argument  a graph of `exec`'s stream is being captured
  /// Stream: enqueues a kernel per such weight, and a few per folded norm, for which it waits once.
  void refresh(Execution<Space> const& exec)
  {
    for (auto const& weight : weights_) {  // folded ones come before their packed copies, as they were used
      auto const id = weight->stale_parameter();
      expects(weight->update(exec), "Plan::refresh: the stream is being captured, so \"", name_of(id),
              "\" cannot be read now");
    }
  }

  /// Calls `visit(event)` with the end of the work that made each until one returns another value than
  /// `expected`, which is returned.
  template <class Status, class Visit>
  [[nodiscard]] Status visit_events(Status expected, Visit const& visit) const noexcept
  {
    for (auto const& weight : weights_) {
      auto const status = weight->visit_event(visit);
      if (status != expected) { return status; }
    }
    return expected;
  }

 private:
  [[nodiscard]] char const* name_of(VariableId id) const noexcept
  {
    auto const found = names_.find(id);
    return found != names_.end() ? found->second.c_str() : "";
  }

  struct Place {
    std::atomic<void const*> const* address;
    void const* read_at;
    std::string name;
  };

  std::vector<std::shared_ptr<DerivedWeight<Space>>> weights_;
  std::vector<Place> places_;                // of the model's parameters
  std::map<VariableId, std::string> names_;  // of the parameters
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
