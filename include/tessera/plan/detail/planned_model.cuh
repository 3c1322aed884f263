// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.cuh>
#include <tessera/nn/fuse.hpp>
#include <tessera/plan/limits.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What a plan captures: a model as it is, or, with PlanLimits::fuse(), the list that nn::fuse() makes of it.
/// @tparam Value  what its forward() takes
template <class Model, class Value>
class PlannedModel {
 public:
  using Output = std::decay_t<decltype(std::declval<Model&>().forward(
      std::declval<Value const&>(), std::declval<Execution<Device> const&>()))>;

  explicit PlannedModel(Model& model) : model_{&model} {}

  /// Fuses the model.
  /// Stream: as nn::fuse().
  void fuse([[maybe_unused]] Value const& x, [[maybe_unused]] Execution<Device> const& exec)
  {
    if constexpr (TracedOutput<Output>::is_traceable) {
      fused_ = std::make_unique<Fused>(nn::fuse(*model_, x, exec));
    } else {
      fail(
          "Plan: PlanLimits::fuse(), but what the model puts out has no variables(), so that it cannot be "
          "traced");
    }
  }

  [[nodiscard]] Output forward(Value const& x, Execution<Device> const& exec)
  {
    if constexpr (TracedOutput<Output>::is_traceable) {
      if (fused_ != nullptr) { return fused_->forward(x, exec); }
    }
    return model_->forward(x, exec);
  }
  /// The model's, by which a plan names what is out of date.
  [[nodiscard]] std::vector<nn::ParameterView> parameters() const { return parameters_of(*model_); }

 private:
  using Fused = nn::TracedModel<Value, Output>;

  Model* model_;
  std::unique_ptr<Fused> fused_;
};

/// What a plan of a model puts out.
template <class Model, class Value>
using PlannedOutput = typename PlannedModel<Model, Value>::Output;

/// @tparam Input  makes the plan's input
/// Stream: without PlanLimits::fuse() none; else enqueues a forward pass on no voxels, and what nn::fuse()
/// throws.
template <class Input, class Model, class Limits>
[[nodiscard]] PlannedModel<Model, typename Input::Value> plan_model(Model& model, Limits const& limits,
                                                                    int channels,
                                                                    Execution<Device> const& recording)
{
  expects(channels >= 1, "Plan: ", channels,
          " input channels; say PlanLimits::channels(), the model has no options().in_channels");
  PlannedModel<Model, typename Input::Value> result{model};
  if (!limits.fuses()) { return result; }
  auto const exec = recording.without_recorder();
  DeviceGuard const guard{exec.device()};
  Input const input{limits, channels, true, exec};
  result.fuse(input.tensor, exec);
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
