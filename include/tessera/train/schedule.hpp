// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/scalar.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace train {

/// The learning rate as a function of the steps taken: a value, evaluated on the device by the optimizer and
/// on the host for display. `Schedule::cosine(1e-3, 20'000).warm_up(500)`.
///
/// | schedule  | learning rate of step t, counted from 0                                                        |
/// |-----------|------------------------------------------------------------------------------------------------|
/// | constant  | rate                                                                                           |
/// | step      | rate * factor^floor(t / every)                                                                 |
/// | cosine    | last + (rate - last) * (1 + cos(pi * t / total)) / 2, and last from step total on              |
/// | one_cycle | from rate / divisor up to rate, then down to rate / divisor / last_divisor at total - 1; each by half a cosine |
///
/// warm_up(n, first) puts n steps before: rate * (first + (1 - first) * t / n). The schedule then begins at
/// step n, and `total` counts the steps of both. A step that is skipped does not count.
/// Source: PyTorch's StepLR, CosineAnnealingLR, OneCycleLR (anneal_strategy "cos"), and LinearLR before them.
class Schedule {
 public:
  /// @throws invalid_argument  a number that is negative or not finite; so do all of these
  [[nodiscard]] static Schedule constant(double rate) { return Schedule{Kind::constant, rate}; }
  /// @param every   steps between two changes, at least 1
  /// @param factor  what each change multiplies by
  [[nodiscard]] static Schedule step(double rate, std::int64_t every, double factor = 0.1)
  {
    detail::expects(every >= 1, "Schedule::step: a change every ", every, " steps; at least 1");
    Schedule result{Kind::step, rate};
    result.every_ = static_cast<double>(every);
    result.factor_ = checked(factor, "step: a factor of ");
    return result;
  }
  /// @param total  steps until `last` is reached, at least 1
  [[nodiscard]] static Schedule cosine(double rate, std::int64_t total, double last = 0)
  {
    Schedule result{Kind::cosine, rate};
    result.total_ = checked_total(total);
    result.last_ = checked(last, "cosine: a last learning rate of ");
    return result;
  }
  /// @param rate      the largest
  /// @param total     steps of the cycle, at least 2
  /// @param rising    the fraction of them in which the rate rises
  /// @param divisor   of the largest for the first rate
  /// @param last_divisor  of the first rate for the last one
  [[nodiscard]] static Schedule one_cycle(double rate, std::int64_t total, double rising = 0.3,
                                          double divisor = 25, double last_divisor = 1e4)
  {
    detail::expects(total >= 2, "Schedule::one_cycle: ", total, " steps; at least 2");
    detail::expects(rising >= 0 && rising <= 1, "Schedule::one_cycle: ", rising,
                    " is no fraction of the steps");
    detail::expects(divisor > 0 && last_divisor > 0, "Schedule::one_cycle: divisors ", divisor, " and ",
                    last_divisor, " must be positive");
    Schedule result{Kind::one_cycle, rate};
    result.total_ = static_cast<double>(total);
    result.factor_ = rising;
    result.first_ = checked(rate / divisor, "one_cycle: a first learning rate of ");
    result.last_ = checked(rate / divisor / last_divisor, "one_cycle: a last learning rate of ");
    return result;
  }

  /// @param steps  0 for none
  /// @param first  the factor of the first step
  /// @throws invalid_argument  of a one-cycle schedule, which rises itself; no step of the schedule would be
  ///                           left; a number that is negative or not finite
  Schedule& warm_up(std::int64_t steps, double first = 1e-3)
  {
    detail::expects(kind_ != Kind::one_cycle, "Schedule::warm_up: a one-cycle schedule rises by itself");
    detail::expects(steps >= 0, "Schedule::warm_up: ", steps, " steps");
    auto const warm = static_cast<double>(steps);
    detail::expects(kind_ != Kind::cosine || warm < total_, "Schedule::warm_up: ", steps,
                    " steps leave none of the ", total_, " of the schedule");
    warm_factor_ = checked(first, "warm_up: a first factor of ");
    warm_steps_ = warm;
    return *this;
  }
  /// Of a one-cycle schedule: the momentum goes from `largest` down to `smallest` where the rate rises, and
  /// back. It stands for SGD's momentum and Adam's first beta. Without it the optimizer's own holds.
  /// @throws invalid_argument  of another schedule; a momentum outside of 0 to 1, or 1
  Schedule& momentum(double smallest, double largest)
  {
    detail::expects(kind_ == Kind::one_cycle,
                    "Schedule::momentum: only a one-cycle schedule changes the momentum");
    detail::expects(smallest >= 0 && smallest < 1 && largest >= 0 && largest < 1,
                    "Schedule::momentum: ", smallest, " to ", largest, " are not both in [0, 1)");
    smallest_momentum_ = smallest;
    largest_momentum_ = largest;
    return *this;
  }

  /// The learning rate of step `step`, counted from 0.
  /// Determinism: the same bits on every run; host and device may differ in the last place of a cosine.
  [[nodiscard]] TESSERA_HOST_DEVICE double learning_rate(std::int64_t step) const
  {
    auto t = static_cast<double>(step);
    if (t < warm_steps_) { return rate_ * (warm_factor_ + (1 - warm_factor_) * t / warm_steps_); }
    t -= warm_steps_;
    switch (kind_) {
      case Kind::step: return rate_ * pow(factor_, floor(t / every_));
      case Kind::cosine: return half_cosine(rate_, last_, t / (total_ - warm_steps_));
      case Kind::one_cycle:
        return rises_at(t) ? half_cosine(first_, rate_, t / peak())
                           : half_cosine(rate_, last_, (t - peak()) / (total_ - 1 - peak()));
      default: return rate_;
    }
  }
  /// The momentum of step `step`: `own` unless momentum() was called.
  [[nodiscard]] TESSERA_HOST_DEVICE double momentum_of(std::int64_t step, double own) const
  {
    if (largest_momentum_ < 0) { return own; }
    auto const t = static_cast<double>(step);
    return rises_at(t)
               ? half_cosine(largest_momentum_, smallest_momentum_, t / peak())
               : half_cosine(smallest_momentum_, largest_momentum_, (t - peak()) / (total_ - 1 - peak()));
  }

  /// @name As numbers, for a checkpoint
  /// @{
  using Numbers = std::array<double, 11>;
  [[nodiscard]] Numbers numbers() const
  {
    return {static_cast<double>(kind_),
            rate_,
            every_,
            factor_,
            total_,
            first_,
            last_,
            warm_steps_,
            warm_factor_,
            smallest_momentum_,
            largest_momentum_};
  }
  /// @throws invalid_argument  numbers() does not give such
  [[nodiscard]] static Schedule from(Numbers const& numbers)
  {
    detail::expects(numbers[0] >= 0 && numbers[0] <= 3, "Schedule: there is no kind ", numbers[0]);
    for (std::size_t i = 1; i <= 8; ++i) { static_cast<void>(checked(numbers[i], "from: a number is ")); }
    detail::expects(numbers[2] >= 1 && numbers[4] >= 1, "Schedule::from: ", numbers[2], " and ", numbers[4],
                    " steps; at least 1");
    detail::expects(numbers[9] < 1 && numbers[10] < 1, "Schedule::from: momentums of ", numbers[9], " and ",
                    numbers[10]);
    Schedule result{static_cast<Kind>(static_cast<int>(numbers[0])), numbers[1]};
    result.every_ = numbers[2];
    result.factor_ = numbers[3];
    result.total_ = numbers[4];
    result.first_ = numbers[5];
    result.last_ = numbers[6];
    result.warm_steps_ = numbers[7];
    result.warm_factor_ = numbers[8];
    result.smallest_momentum_ = numbers[9];
    result.largest_momentum_ = numbers[10];
    return result;
  }
  /// @}

 private:
  enum class Kind : std::uint8_t { constant, step, cosine, one_cycle };

  Schedule(Kind kind, double rate) : kind_{kind}, rate_{rate}
  {
    detail::expects(detail::is_finite(rate) && rate >= 0, "Schedule: a learning rate of ", rate);
  }

  /// @param what  begins the sentence
  [[nodiscard]] static double checked(double value, char const* what)
  {
    detail::expects(detail::is_finite(value) && value >= 0, "Schedule::", what, value,
                    "; it must be finite and at least 0");
    return value;
  }
  [[nodiscard]] static double checked_total(std::int64_t total)
  {
    detail::expects(total >= 1, "Schedule::cosine: ", total, " steps; at least 1");
    return static_cast<double>(total);
  }

  /// From `from` to `to` along half a cosine; `at` beyond 1 is 1.
  [[nodiscard]] TESSERA_HOST_DEVICE static double half_cosine(double from, double to, double at)
  {
    constexpr double pi = 3.141592653589793;
    return at < 1 ? to + (from - to) * (1 + cos(pi * at)) / 2 : to;
  }
  /// The step at which a one-cycle schedule is at its largest; may lie between two, or before the first.
  [[nodiscard]] TESSERA_HOST_DEVICE double peak() const { return factor_ * total_ - 1; }
  [[nodiscard]] TESSERA_HOST_DEVICE bool rises_at(double t) const { return peak() > 0 && t <= peak(); }

  Kind kind_;
  double rate_;
  double every_ = 1;
  double factor_ = 1;
  double total_ = 1;
  double first_ = 0;
  double last_ = 0;
  double warm_steps_ = 0;
  double warm_factor_ = 1;
  double smallest_momentum_ = -1;
  double largest_momentum_ = -1;
};

}  // namespace train
}  // namespace v0
}  // namespace tessera
