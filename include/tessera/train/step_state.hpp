// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/train/schedule.hpp>

#include <cmath>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace train {

/// How far training has come. It lives in the optimizer's space, where kernels read and advance it; the host
/// sees a copy.
struct StepState {
  std::int64_t step = 0;     ///< steps taken
  std::int64_t skipped = 0;  ///< steps left out, for a gradient that was not finite
  std::uint64_t calls = 0;   ///< of both: what random numbers of a pass may follow from (nn::Dropout::step())
  double learning_rate = 0;  ///< of the latest step
  double momentum = 0;       ///< of the latest step: SGD's, or Adam's first beta
  double gradient_norm = 0;  ///< of the latest step, without loss scale and before clipping
  double gradient_factor = 0;    ///< what its gradients were multiplied by: clipping over loss scale
  double loss_scale = 1;         ///< what the next loss is multiplied by
  std::int32_t good_steps = 0;   ///< taken since the loss scale changed
  std::int32_t was_skipped = 0;  ///< whether the latest step was: see the constants

  static constexpr std::int32_t not_finite = 1;  ///< was_skipped, for a gradient that was not finite
  static constexpr std::int32_t refused = 2;     ///< was_skipped, for data that a TrainPlan refused; then
                                                 ///< nothing else in here has changed
};

/// The loss scale of training in float16, whose gradients would otherwise be too small to be held: the loss
/// is multiplied by it before backward, the gradients are divided by it before the step. A value, given to
/// StepOptions.
///
/// A step whose gradients are not all finite is skipped and multiplies the scale by backoff(); interval()
/// steps without such multiply it by growth(). All of it happens on the device. bfloat16 and float need none.
/// Source: PyTorch's torch.amp.GradScaler, which has no smallest scale.
class LossScaler {
 public:
  /// The first scale.
  /// @throws invalid_argument  no positive number; so do the others
  LossScaler& initial(double value) { return initial_ = checked(value), *this; }
  [[nodiscard]] TESSERA_HOST_DEVICE double initial() const noexcept { return initial_; }
  LossScaler& growth(double factor) { return growth_ = checked(factor), *this; }
  [[nodiscard]] TESSERA_HOST_DEVICE double growth() const noexcept { return growth_; }
  LossScaler& backoff(double factor) { return backoff_ = checked(factor), *this; }
  [[nodiscard]] TESSERA_HOST_DEVICE double backoff() const noexcept { return backoff_; }
  /// Steps without overflow until the scale grows; at least 1.
  LossScaler& interval(std::int32_t steps)
  {
    detail::expects(steps >= 1, "LossScaler: a growth every ", steps, " steps; at least 1");
    return interval_ = steps, *this;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t interval() const noexcept { return interval_; }
  /// The scale does not fall below.
  LossScaler& minimum(double value) { return minimum_ = checked(value), *this; }
  [[nodiscard]] TESSERA_HOST_DEVICE double minimum() const noexcept { return minimum_; }

 private:
  [[nodiscard]] static double checked(double value)
  {
    detail::expects(detail::is_finite(value) && value > 0, "LossScaler: ", value, " is no positive number");
    return value;
  }

  double initial_ = 65536;
  double growth_ = 2;
  double backoff_ = 0.5;
  double minimum_ = 1;
  std::int32_t interval_ = 2000;
};

}  // namespace train

/// What an optimizer does with gradients before it takes a step:
/// `g = clamp(gradient / (loss scale * passes) * min(1, norm / (|gradients| + 1e-6)), -value, value)`.
///
/// `|gradients|` is the root of the sum of the squares of all gradients that are trained, after the division.
/// Source: PyTorch's clip_grad_norm_ and clip_grad_value_.
class StepOptions {
 public:
  /// The largest norm.
  /// @throws invalid_argument  a negative number
  StepOptions& clip_norm(double largest) { return clip_norm_ = checked(largest), *this; }
  /// Below 0 where norms are not clipped, as they are by default.
  [[nodiscard]] TESSERA_HOST_DEVICE double clip_norm() const noexcept { return clip_norm_; }
  /// The largest magnitude of an element.
  /// @throws invalid_argument  a negative number
  StepOptions& clip_value(double largest) { return clip_value_ = checked(largest), *this; }
  /// Below 0 where elements are not clipped, as they are by default.
  [[nodiscard]] TESSERA_HOST_DEVICE double clip_value() const noexcept { return clip_value_; }
  /// How many backward passes are summed before each step, which takes their mean; 1 by default.
  /// @throws invalid_argument  less than 1
  StepOptions& accumulate(std::int32_t passes)
  {
    detail::expects(passes >= 1, "StepOptions: ", passes, " backward passes; at least 1");
    return passes_ = passes, *this;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t accumulate() const noexcept { return passes_; }
  /// Has the loss scaled; by default it is not.
  StepOptions& loss_scaler(train::LossScaler const& value)
  {
    scales_loss_ = true;
    scaler_ = value;
    return *this;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE train::LossScaler const& loss_scaler() const noexcept { return scaler_; }
  [[nodiscard]] TESSERA_HOST_DEVICE bool scales_loss() const noexcept { return scales_loss_; }

 private:
  [[nodiscard]] static double checked(double value)
  {
    detail::expects(detail::is_finite(value) && value >= 0, "StepOptions: gradients cannot be clipped to ",
                    value);
    return value;
  }

  double clip_norm_ = -1;
  double clip_value_ = -1;
  std::int32_t passes_ = 1;
  bool scales_loss_ = false;
  train::LossScaler scaler_;
};

namespace detail {

/// Whether the latest step was left out for a gradient that was not finite, and no smaller loss scale can help.
[[nodiscard]] TESSERA_HOST_DEVICE inline bool is_stuck(train::StepState const& state,
                                                       StepOptions const& options)
{
  bool const adapts = options.scales_loss() && state.loss_scale > options.loss_scaler().minimum();
  return state.was_skipped == train::StepState::not_finite && !adapts;
}

/// Advances the state by a step: whether it is taken, its learning rate and what gradients are multiplied by,
/// and the loss scale of the next one.
template <class Sum>
struct AdvanceStep {
  train::StepState* state;
  double const*
      squares;         // the sum of squares of the gradients as they lie there; not finite where one is not
  Sum* loss_gradient;  // the loss scale for who seeds a backward
  train::Schedule schedule;
  StepOptions options;
  double own_momentum;
  std::uint32_t const* refusal = nullptr;  // [1] not 0 where no step is to be taken, or null

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    if (refusal != nullptr && *refusal != 0) {
      state->was_skipped = train::StepState::refused;
      return;
    }
    auto now = *state;
    auto const scale = now.loss_scale * options.accumulate();
    now.gradient_norm = sqrt(*squares) / scale;
    now.was_skipped = is_finite(*squares) ? 0 : train::StepState::not_finite;
    now.learning_rate = schedule.learning_rate(now.step);
    now.momentum = schedule.momentum_of(now.step, own_momentum);
    double clipped = 1;
    if (options.clip_norm() >= 0) {
      auto const factor = options.clip_norm() / (now.gradient_norm + 1e-6);
      clipped = factor < 1 ? factor : 1;
    }
    now.gradient_factor = clipped / scale;
    if (now.was_skipped != 0) {
      ++now.skipped;
    } else {
      ++now.step;
    }
    ++now.calls;
    if (options.scales_loss()) { adapt_scale(now); }
    *state = now;
    *loss_gradient = static_cast<Sum>(now.loss_scale);
  }

 private:
  TESSERA_HOST_DEVICE void adapt_scale(train::StepState& now) const
  {
    auto const& scaler = options.loss_scaler();
    if (now.was_skipped != 0) {
      auto const lower = now.loss_scale * scaler.backoff();
      now.loss_scale = lower > scaler.minimum() ? lower : scaler.minimum();
      now.good_steps = 0;
    } else if (++now.good_steps >= scaler.interval()) {
      auto const higher = now.loss_scale * scaler.growth();
      constexpr double largest = 1.7014118346046923e38;  // 2^127: a float holds it
      if (higher <= largest) { now.loss_scale = higher; }
      now.good_steps = 0;
    }
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
