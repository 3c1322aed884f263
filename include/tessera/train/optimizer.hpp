// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/scalar_conversion.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/train/detail/gradient_squares.hpp>
#include <tessera/train/parameter_arena.hpp>
#include <tessera/train/rules.hpp>
#include <tessera/train/schedule.hpp>
#include <tessera/train/step_state.hpp>

#include <cstdint>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Four numbers that are read and written at once.
template <class T>
struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) Four {
  T values[4];
};

/// The factors of every segment in this step, and its own number of steps.
template <class Rule, class Sum>
struct PrepareSegments {
  using Factors = typename Rule::template Factors<Sum>;

  Rule rule;
  train::StepState const* state;
  SegmentSettings const* settings;  // [segments]
  std::int64_t* steps;              // [segments]
  Factors* factors;                 // [segments]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (state->was_skipped != 0 || settings[i].is_trained == 0) { return; }
    factors[i] = rule.template factors<Sum>(*state, settings[i], ++steps[i]);
  }
};

/// The step of four elements of a segment: gradients are scaled and clipped, masters and what the rule keeps
/// are changed, narrow values follow.
template <class Rule, class Scalar>
struct UpdateParameters {
  using Sum = accumulator_t<Scalar>;
  using Factors = typename Rule::template Factors<Sum>;

  train::StepState const* state;
  SegmentSettings const* settings;  // [segments]
  Factors const* factors;           // [segments]
  std::int32_t const* segment_of;   // [elements / 8]
  Sum const* gradients;             // [elements]
  Sum* masters;                     // [elements]
  Scalar* narrowed;                 // [elements], or null
  Sum* states[Rule::most_states];   // [elements] each
  int num_states;
  Sum largest;  // magnitude of an element of the gradient; below 0: any

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const segment = segment_of[i / 2];
    if (state->was_skipped != 0 || settings[segment].is_trained == 0) { return; }
    auto const f = factors[segment];
    auto const scale = static_cast<Sum>(state->gradient_factor);
    auto const gradient = reinterpret_cast<Four<Sum> const*>(gradients)[i];
    auto value = reinterpret_cast<Four<Sum>*>(masters)[i];
    Four<Sum> kept[Rule::most_states] = {};
    for (int s = 0; s < num_states; ++s) { kept[s] = reinterpret_cast<Four<Sum>*>(states[s])[i]; }
    for (int k = 0; k < 4; ++k) {
      Sum own[Rule::most_states];
      for (int s = 0; s < Rule::most_states; ++s) { own[s] = kept[s].values[k]; }
      Rule::update(f, clipped(gradient.values[k] * scale), value.values[k], own, num_states);
      for (int s = 0; s < Rule::most_states; ++s) { kept[s].values[k] = own[s]; }
    }
    reinterpret_cast<Four<Sum>*>(masters)[i] = value;
    for (int s = 0; s < num_states; ++s) { reinterpret_cast<Four<Sum>*>(states[s])[i] = kept[s]; }
    if (narrowed == nullptr) { return; }
    Four<Scalar> rounded;
    for (int k = 0; k < 4; ++k) { rounded.values[k] = narrow<Scalar>(value.values[k]); }
    reinterpret_cast<Four<Scalar>*>(narrowed)[i] = rounded;
  }

 private:
  [[nodiscard]] TESSERA_HOST_DEVICE Sum clipped(Sum g) const
  {
    if (largest < 0) { return g; }
    return g > largest ? largest : (g < -largest ? -largest : g);
  }
};

}  // namespace detail

namespace train {

/// Steps the parameters of an arena by a rule:
/// `Optimizer optimizer{arena, AdamW{}, Schedule::cosine(1e-3, 20'000), exec};`
///
/// A step is: zero_grad(); forward, loss and backward, once or as often as StepOptions::accumulate() says;
/// the reduction over processes if there are several; step(). How many steps were taken, the learning rate,
/// the loss scale and whether a gradient overflowed live in the space's memory and advance there, so that
/// step() waits for nothing and allocates nothing: it can be captured in a CUDA graph, after which
/// arena.mark_written() follows every launch.
///
/// A step whose gradients are not all finite is skipped in every type: parameters, what the rule keeps of
/// them, schedule and averages stay as they are. With a loss scaler that is how the scale adapts; without
/// one, check() says so.
///
/// @tparam Rule  Sgd, Adam, AdamW, or one of your own
template <class Rule, class Scalar, class Space = Device>
class Optimizer {
 public:
  using Sum = accumulator_t<Scalar>;
  using Arena = ParameterArena<Scalar, Space>;

  /// @param arena  outlives the optimizer
  /// @throws invalid_argument  a rule that contradicts itself
  /// Cost: an array as long as the arena's gradients for each number that the rule keeps of a parameter.
  /// Stream: enqueues fills; waits for a small upload.
  Optimizer(Arena& arena, Rule const& rule, Schedule const& schedule, StepOptions const& options,
            Execution<Space> const& exec)
      : arena_{arena},
        rule_{rule},
        schedule_{schedule},
        options_{options},
        squares_{arena.gradient_size(), exec},
        state_{1, exec},
        loss_gradient_{1, exec},
        steps_{arena.num_trainable(), exec},
        factors_{arena.num_trainable(), exec}
  {
    rule.expect_consistent();
    fill_bytes(steps_, 0, exec);
    for (int s = 0; s < rule.num_states(); ++s) {
      states_[s] = Buffer<Sum, Space>{arena.gradient_size(), exec};
      fill_bytes(states_[s], 0, exec);
    }
    StepState first;
    if (options.scales_loss()) { first.loss_scale = options.loss_scaler().initial(); }
    set_state(first, exec);
  }
  Optimizer(Arena& arena, Rule const& rule, Schedule const& schedule, Execution<Space> const& exec)
      : Optimizer{arena, rule, schedule, StepOptions{}, exec}
  {}
  Optimizer(Optimizer const&) = delete;
  Optimizer& operator=(Optimizer const&) = delete;
  ~Optimizer() = default;

  /// Sets all gradients to 0.
  /// Cost: one fill.
  /// Stream: enqueues it, does not wait.
  void zero_grad(Execution<Space> const& exec) { arena_.zero_grad(exec); }

  /// What backward begins with instead of 1, [1, 1]: the loss scale, which changes on the device.
  [[nodiscard]] MatrixView<Sum const> loss_gradient() const noexcept { return {loss_gradient_.data(), 1, 1}; }

  /// Takes a step along the gradients.
  /// @param refusal  [1] in `Space`, or null: where it is not 0 nothing is changed but
  ///                 StepState::was_skipped
  /// @throws invalid_argument  a parameter was replaced since the arena was made
  /// Cost: two passes over the gradients, one over the values and what the rule keeps; some seven kernels.
  /// Stream: enqueues on `exec`, neither waits nor allocates.
  /// Determinism: same gradients and state, same bits.
  void step(Execution<Space> const& exec, std::uint32_t const* refusal = nullptr)
  {
    arena_.follow_parameters(exec);
    squares_.enqueue(arena_, exec);
    for_each(1,
             detail::AdvanceStep<Sum>{state_.data(), squares_.result(), loss_gradient_.data(), schedule_,
                                      options_, rule_.momentum(), refusal},
             exec);
    for_each(arena_.num_trainable(),
             detail::PrepareSegments<Rule, Sum>{rule_, state_.data(), arena_.settings(), steps_.data(),
                                                factors_.data()},
             exec);
    detail::UpdateParameters<Rule, Scalar> update{};
    update.state = state_.data();
    update.settings = arena_.settings();
    update.factors = factors_.data();
    update.segment_of = arena_.segment_of();
    update.gradients = arena_.gradients().data;
    update.masters = arena_.masters();
    if constexpr (Arena::has_masters) { update.narrowed = arena_.narrow(); }
    for (int s = 0; s < rule_.num_states(); ++s) { update.states[s] = states_[s].data(); }
    update.num_states = rule_.num_states();
    update.largest = static_cast<Sum>(options_.clip_value());
    for_each(arena_.gradient_size() / 4, update, exec);
    arena_.mark_written();
  }

  /// How far training has come.
  /// Cost: a small copy.
  /// Stream: waits for the work enqueued on `exec`.
  [[nodiscard]] StepState state(Execution<Space> const& exec) const { return download(state_, exec).front(); }
  /// Throws where the latest step was skipped and no smaller loss scale can help: a loss or a gradient that
  /// is not finite. Parameters and optimizer are then those of the last step that was taken.
  /// @throws invalid_argument  as said
  /// Cost: as state().
  /// Stream: waits for the work enqueued on `exec`.
  void check(Execution<Space> const& exec) const
  {
    auto const now = state(exec);
    detail::expects(now.was_skipped != StepState::refused, "Optimizer: the step after ", now.step,
                    " was not taken, for the data were not what its TrainPlan was made for; see "
                    "TrainPlan::check()");
    detail::expects(!detail::is_stuck(now, options_),
                    "Optimizer: a gradient is not finite, so the step after ", now.step, " was not taken; ",
                    now.skipped, " were skipped so far, the loss scale is ", now.loss_scale,
                    ". The parameters are those of the last step");
  }

  /// The state where kernels read it, [1] in `Space`.
  [[nodiscard]] StepState const* device_state() const noexcept { return state_.data(); }
  /// How often step() was called, [1] in `Space`: for nn::Dropout::step().
  [[nodiscard]] std::uint64_t const* device_calls() const noexcept { return &state_.data()->calls; }

  [[nodiscard]] Schedule const& schedule() const noexcept { return schedule_; }
  /// Another schedule from the next step on, which goes on counting; captured graphs keep the one before.
  void set_schedule(Schedule const& schedule) { schedule_ = schedule; }
  [[nodiscard]] Rule const& rule() const noexcept { return rule_; }
  /// @throws invalid_argument  it keeps other numbers of a parameter than the one before
  void set_rule(Rule const& rule)
  {
    rule.expect_consistent();
    detail::expects(rule.num_states() == rule_.num_states(), "Optimizer: the rule keeps ", rule.num_states(),
                    " numbers of a parameter, the one before ", rule_.num_states());
    rule_ = rule;
  }
  [[nodiscard]] StepOptions const& options() const noexcept { return options_; }
  [[nodiscard]] Arena& arena() const noexcept { return arena_; }

  /// @name For checkpoints
  /// @{

  /// Number i of those that the rule keeps of each parameter, [arena.gradient_size()] in `Space`.
  [[nodiscard]] Buffer<Sum, Space>& kept(int i) noexcept { return states_[i]; }
  [[nodiscard]] Buffer<Sum, Space> const& kept(int i) const noexcept { return states_[i]; }
  /// Steps of each segment, [arena.num_trainable()] in `Space`: fewer than those of the optimizer where it
  /// was frozen.
  [[nodiscard]] Buffer<std::int64_t, Space>& segment_steps() noexcept { return steps_; }
  [[nodiscard]] Buffer<std::int64_t, Space> const& segment_steps() const noexcept { return steps_; }
  /// Stream: enqueues small copies; waits only as long as they read `state`.
  void set_state(StepState const& state, Execution<Space> const& exec)
  {
    auto const scale = static_cast<Sum>(state.loss_scale);
    detail::Transfer<Space>::from_host(state_.data(), &state, sizeof(state), exec);
    detail::Transfer<Space>::from_host(loss_gradient_.data(), &scale, sizeof(scale), exec);
  }
  /// @}

 private:
  Arena& arena_;
  Rule rule_;
  Schedule schedule_;
  StepOptions options_;
  detail::GradientSquares<Space> squares_;
  Buffer<StepState, Space> state_;
  Buffer<Sum, Space> loss_gradient_;
  Buffer<std::int64_t, Space> steps_;
  Buffer<typename Rule::template Factors<Sum>, Space> factors_;
  Buffer<Sum, Space> states_[Rule::most_states];
};

template <class Rule, class Scalar, class Space>
Optimizer(ParameterArena<Scalar, Space>&, Rule const&, Schedule const&, Execution<Space> const&)
    -> Optimizer<Rule, Scalar, Space>;
template <class Rule, class Scalar, class Space>
Optimizer(ParameterArena<Scalar, Space>&, Rule const&, Schedule const&, StepOptions const&,
          Execution<Space> const&) -> Optimizer<Rule, Scalar, Space>;

}  // namespace train
}  // namespace v0
}  // namespace tessera
