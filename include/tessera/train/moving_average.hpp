// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/scalar_conversion.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/train/parameter_arena.hpp>
#include <tessera/train/step_state.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// average = decay * average + (1 - decay) * value, unless the step was skipped.
template <class Sum>
struct UpdateAverage {
  train::StepState const* state;
  Sum const* values;
  Sum* averages;
  double decay;
  bool warms_up;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (state->was_skipped != 0) { return; }
    auto keep = decay;
    if (warms_up) {
      auto const steps = static_cast<double>(state->step);
      auto const early = (1 + steps) / (10 + steps);
      keep = early < keep ? early : keep;
    }
    averages[i] = static_cast<Sum>(keep) * averages[i] + static_cast<Sum>(1 - keep) * values[i];
  }
};

/// Exchanges masters and averages; narrow values follow.
template <class Scalar>
struct ExchangeAverage {
  using Sum = accumulator_t<Scalar>;

  Sum* masters;
  Sum* averages;
  Scalar* narrowed;  // or null

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const average = averages[i];
    averages[i] = masters[i];
    masters[i] = average;
    if (narrowed != nullptr) { narrowed[i] = narrow<Scalar>(average); }
  }
};

}  // namespace detail

namespace train {

/// The exponential moving average of the parameters and running statistics of an arena:
/// `average = decay * average + (1 - decay) * value` after every step that is taken, with
/// `decay = min(decay, (1 + t) / (10 + t))` in step t where it warms up. It begins as the values at
/// construction.
///
/// Networks are evaluated and saved with the averages while an AveragedWeights lives.
/// Source: PyTorch's torch.optim.swa_utils.AveragedModel with use_buffers; the warm-up is TensorFlow's
/// ExponentialMovingAverage with num_updates.
template <class Scalar, class Space = Device>
class MovingAverage {
 public:
  using Sum = accumulator_t<Scalar>;
  using Arena = ParameterArena<Scalar, Space>;

  /// @param arena  outlives the average
  /// @throws invalid_argument  a decay outside [0, 1]
  /// Cost: an array as long as the arena.
  /// Stream: enqueues a copy, does not wait.
  MovingAverage(Arena& arena, double decay, Execution<Space> const& exec, bool warms_up = false)
      : arena_{arena}, decay_{decay}, warms_up_{warms_up}
  {
    detail::expects(decay >= 0 && decay <= 1, "MovingAverage: a decay of ", decay, " is not in [0, 1]");
    reset(exec);
  }
  MovingAverage(MovingAverage const&) = delete;
  MovingAverage& operator=(MovingAverage const&) = delete;
  ~MovingAverage() = default;

  /// To be called after every step.
  /// @param state  the optimizer's device_state(): a step that was skipped is skipped here too
  /// Cost: one pass.
  /// Stream: enqueues one kernel, neither waits nor allocates.
  /// Determinism: same values, same bits.
  void update(StepState const* state, Execution<Space> const& exec)
  {
    for_each(arena_.size(),
             detail::UpdateAverage<Sum>{state, arena_.masters(), averages_.data(), decay_, warms_up_}, exec);
  }
  /// Begins anew from the values, after a checkpoint of weights was loaded.
  void reset(Execution<Space> const& exec)
  {
    arena_.follow_parameters(exec);
    averages_ = copy(arena_.masters(), arena_.size(), exec);
  }

  /// Exchanges the parameters' values with the averages; twice is nothing. AveragedWeights does it for a
  /// scope.
  /// Cost: one pass.
  /// Stream: enqueues one kernel, does not wait.
  void exchange(Execution<Space> const& exec)
  {
    arena_.follow_parameters(exec);
    Scalar* narrowed = nullptr;
    if constexpr (Arena::has_masters) { narrowed = arena_.narrow(); }
    for_each(arena_.size(), detail::ExchangeAverage<Scalar>{arena_.masters(), averages_.data(), narrowed},
             exec);
    arena_.mark_written();
  }

  [[nodiscard]] double decay() const noexcept { return decay_; }
  /// [arena.size()] in `Space`.
  [[nodiscard]] Buffer<Sum, Space>& values() noexcept { return averages_; }
  [[nodiscard]] Buffer<Sum, Space> const& values() const noexcept { return averages_; }

 private:
  Arena& arena_;
  double decay_;
  bool warms_up_;
  Buffer<Sum, Space> averages_;
};

/// Gives the network the averaged weights while it lives; nothing is trained in that time.
template <class Scalar, class Space>
class AveragedWeights {
 public:
  AveragedWeights(MovingAverage<Scalar, Space>& average, Execution<Space> const& exec)
      : average_{average}, exec_{exec}
  {
    average_.exchange(exec_);
  }
  AveragedWeights(AveragedWeights const&) = delete;
  AveragedWeights& operator=(AveragedWeights const&) = delete;
  ~AveragedWeights()
  {
    try {
      average_.exchange(exec_);
    } catch (...) {  // a launch that fails here fails at the next call too, which may say so
    }
  }

 private:
  MovingAverage<Scalar, Space>& average_;
  Execution<Space> exec_;
};

}  // namespace train
}  // namespace v0
}  // namespace tessera
