// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/nn/detail/packed_weights.hpp>
#include <tessera/plan/status.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// `model.parameters()`, or none where the model has no such member.
template <class Model, class Views = decltype(std::declval<Model const&>().parameters()),
          class = std::enable_if_t<std::is_same_v<Views, std::vector<nn::ParameterView>>>>
[[nodiscard]] Views parameters_of(Model const& model, int /*preferred*/)
{
  return model.parameters();
}
template <class Model>
[[nodiscard]] std::vector<nn::ParameterView> parameters_of(Model const& /*model*/, long /*otherwise*/)
{
  return {};
}

/// The packed weights that a plan's graph reads. What else it reads of parameters is read where the model keeps
/// it, and so is always current.
template <class Space>
class PlanWeights {
 public:
  PlanWeights() = default;
  /// @param model  names the parameters, where it has `parameters()`
  template <class Model>
  PlanWeights(std::vector<std::shared_ptr<PackedCopy<Space>>> copies, Model const& model)
      : copies_{std::move(copies)}
  {
    auto const named = parameters_of(model, 0);
    for (auto const& copy : copies_) {
      auto const found = std::find_if(named.begin(), named.end(),
                                      [&](auto const& view) { return view.parameter == &copy->parameter(); });
      names_.push_back(found != named.end() ? found->name : concat("parameter ", copy->parameter().id()));
    }
  }

  /// Names a parameter that was written since its weight was packed.
  [[nodiscard]] RunStatus status() const noexcept
  {
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      if (!copies_[i]->is_current()) {
        RunStatus stale;
        stale.error = RunError::stale_parameter;
        stale.parameter = names_[i].c_str();
        return stale;
      }
    }
    return {};
  }

  /// Packs anew, in place, what is out of date.
  /// @throws invalid_argument  a graph of `exec`'s stream is being captured
  /// Stream: enqueues a kernel per such weight, does not wait.
  void refresh(Execution<Space> const& exec)
  {
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      expects(copies_[i]->update(exec), "Plan::refresh: the stream is being captured, so \"", names_[i],
              "\" cannot be packed now");
    }
  }

  /// Calls `visit(event)` with the end of each packing until one returns another value than `expected`, which is
  /// returned.
  template <class Status, class Visit>
  [[nodiscard]] Status visit_events(Status expected, Visit const& visit) const noexcept
  {
    for (auto const& copy : copies_) {
      auto const status = copy->visit_event(visit);
      if (status != expected) { return status; }
    }
    return expected;
  }

 private:
  std::vector<std::shared_ptr<PackedCopy<Space>>> copies_;
  std::vector<std::string> names_;  // of the parameters
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
