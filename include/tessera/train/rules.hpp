// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/train/parameter_arena.hpp>
#include <tessera/train/step_state.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace train {

// A rule is what an optimizer does to one parameter in one step: a value with
//   most_states, num_states()       how many numbers it keeps of each parameter, state_name(i) what they are
//   momentum()                      what a schedule of momentum stands in for
//   Factors<Sum>, factors<Sum>(..)  what is the same for all elements of a segment, computed once a step
//   update(factors, g, value, states...)   the step of one element
//   name(), numbers(), from(numbers)       for checkpoints
// Write your own as these are written, and give it to Optimizer.

/// Stochastic gradient descent with momentum:
///
///     g += decay * w
///     b = momentum * b + (1 - dampening) * g      (b = g in the first step)
///     w -= rate * b                               (rate * (g + momentum * b) with Nesterov's momentum)
///
/// Without momentum `w -= rate * g`.
/// Source: PyTorch's torch.optim.SGD.
class Sgd {
 public:
  /// @throws invalid_argument  outside [0, 1); so does dampening() outside [0, 1]
  Sgd& momentum(double value)
  {
    detail::expects(value >= 0 && value < 1, "Sgd: a momentum of ", value, " is not in [0, 1)");
    return momentum_ = value, *this;
  }
  [[nodiscard]] double momentum() const noexcept { return momentum_; }
  /// Whether the gradient is looked at one momentum ahead; with a momentum and without dampening.
  Sgd& nesterov(bool on) { return nesterov_ = on, *this; }
  [[nodiscard]] bool nesterov() const noexcept { return nesterov_; }
  Sgd& dampening(double value)
  {
    detail::expects(value >= 0 && value <= 1, "Sgd: a dampening of ", value, " is not in [0, 1]");
    return dampening_ = value, *this;
  }
  [[nodiscard]] double dampening() const noexcept { return dampening_; }
  /// @throws invalid_argument  a negative one
  Sgd& weight_decay(double value)
  {
    detail::expects(detail::is_finite(value) && value >= 0, "Sgd: a weight decay of ", value);
    return weight_decay_ = value, *this;
  }
  [[nodiscard]] double weight_decay() const noexcept { return weight_decay_; }

  static constexpr int most_states = 1;
  [[nodiscard]] int num_states() const noexcept { return momentum_ > 0 ? 1 : 0; }
  [[nodiscard]] static char const* state_name(int) noexcept { return "momentum"; }
  [[nodiscard]] static char const* name() noexcept { return "sgd"; }
  void expect_consistent() const
  {
    detail::expects(!nesterov_ || (momentum_ > 0 && dampening_ == 0),
                    "Sgd: Nesterov's momentum needs a momentum, which is ", momentum_,
                    ", and no dampening, which is ", dampening_);
  }

  template <class Sum>
  struct Factors {
    Sum rate;
    Sum decay;
    Sum momentum;
    Sum kept;   // of the momentum so far
    Sum added;  // of the gradient
    bool nesterov;
  };
  /// @param step  of the segment, counted from 1
  template <class Sum>
  [[nodiscard]] TESSERA_HOST_DEVICE Factors<Sum> factors(StepState const& state,
                                                         detail::SegmentSettings const& settings,
                                                         std::int64_t step) const
  {
    bool const first = step <= 1;
    return {static_cast<Sum>(state.learning_rate * settings.rate_scale),
            static_cast<Sum>(weight_decay_ * settings.decay_scale),
            static_cast<Sum>(state.momentum),
            static_cast<Sum>(first ? 0 : state.momentum),
            static_cast<Sum>(first ? 1 : 1 - dampening_),
            nesterov_};
  }
  template <class Sum>
  TESSERA_HOST_DEVICE static void update(Factors<Sum> const& f, Sum g, Sum& value, Sum (&states)[most_states],
                                         int num_states)
  {
    g += f.decay * value;
    if (num_states > 0) {
      states[0] = f.kept * states[0] + f.added * g;
      g = f.nesterov ? g + f.momentum * states[0] : states[0];
    }
    value -= f.rate * g;
  }

  using Numbers = std::array<double, 4>;
  [[nodiscard]] Numbers numbers() const
  {
    return {momentum_, dampening_, weight_decay_, nesterov_ ? 1.0 : 0.0};
  }
  [[nodiscard]] static Sgd from(Numbers const& numbers)
  {
    return Sgd{}
        .momentum(numbers[0])
        .dampening(numbers[1])
        .weight_decay(numbers[2])
        .nesterov(numbers[3] != 0);
  }

 private:
  double momentum_ = 0;
  double dampening_ = 0;
  double weight_decay_ = 0;
  bool nesterov_ = false;
};

/// Adam, in step t, counted from 1:
///
///     m = m + (g - m) * (1 - beta1)
///     v = beta2 * v + (1 - beta2) * g^2
///     w -= rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
///
/// The weight decay is added to the gradient before, `g += decay * w`, or, where it is Decoupled, taken from
/// the weight before: `w *= 1 - rate * decay`.
/// Source: PyTorch's torch.optim.Adam and AdamW, without amsgrad.
template <bool Decoupled>
class BasicAdam {
 public:
  /// Weights of what was in the averages of the gradient and its square.
  /// @throws invalid_argument  outside [0, 1)
  BasicAdam& betas(double first, double second)
  {
    detail::expects(first >= 0 && first < 1 && second >= 0 && second < 1, "Adam: betas of ", first, " and ",
                    second, " are not both in [0, 1)");
    beta1_ = first;
    beta2_ = second;
    return *this;
  }
  [[nodiscard]] std::pair<double, double> betas() const noexcept { return {beta1_, beta2_}; }
  [[nodiscard]] double momentum() const noexcept { return beta1_; }
  /// @throws invalid_argument  a negative one; so does weight_decay()
  BasicAdam& eps(double value)
  {
    detail::expects(detail::is_finite(value) && value >= 0, "Adam: an epsilon of ", value);
    return eps_ = value, *this;
  }
  [[nodiscard]] double eps() const noexcept { return eps_; }
  BasicAdam& weight_decay(double value)
  {
    detail::expects(detail::is_finite(value) && value >= 0, "Adam: a weight decay of ", value);
    return weight_decay_ = value, *this;
  }
  [[nodiscard]] double weight_decay() const noexcept { return weight_decay_; }

  static constexpr int most_states = 2;
  [[nodiscard]] static constexpr int num_states() noexcept { return 2; }
  [[nodiscard]] static char const* state_name(int i) noexcept
  {
    return i == 0 ? "first_moment" : "second_moment";
  }
  [[nodiscard]] static char const* name() noexcept { return Decoupled ? "adamw" : "adam"; }
  void expect_consistent() const {}

  template <class Sum>
  struct Factors {
    Sum step_size;
    Sum decay;         // of the gradient
    Sum shrinks;       // the weight
    Sum first_added;   // 1 - beta1
    Sum second_kept;   // beta2
    Sum second_added;  // 1 - beta2
    Sum correction;    // sqrt(1 - beta2^t)
    Sum eps;
  };
  /// @param step  of the segment, counted from 1
  template <class Sum>
  [[nodiscard]] TESSERA_HOST_DEVICE Factors<Sum> factors(StepState const& state,
                                                         detail::SegmentSettings const& settings,
                                                         std::int64_t step) const
  {
    auto const t = static_cast<double>(step);
    auto const rate = state.learning_rate * settings.rate_scale;
    auto const decay = weight_decay_ * settings.decay_scale;
    return {static_cast<Sum>(rate / (1 - pow(state.momentum, t))),
            static_cast<Sum>(Decoupled ? 0 : decay),
            static_cast<Sum>(Decoupled ? 1 - rate * decay : 1),
            static_cast<Sum>(1 - state.momentum),
            static_cast<Sum>(beta2_),
            static_cast<Sum>(1 - beta2_),
            static_cast<Sum>(sqrt(1 - pow(beta2_, t))),
            static_cast<Sum>(eps_)};
  }
  template <class Sum>
  TESSERA_HOST_DEVICE static void update(Factors<Sum> const& f, Sum g, Sum& value, Sum (&states)[most_states],
                                         int /*num_states*/)
  {
    g += f.decay * value;
    states[0] += (g - states[0]) * f.first_added;
    states[1] = f.second_kept * states[1] + f.second_added * g * g;
    value = f.shrinks * value - f.step_size * (states[0] / (std::sqrt(states[1]) / f.correction + f.eps));
  }

  using Numbers = std::array<double, 4>;
  [[nodiscard]] Numbers numbers() const { return {beta1_, beta2_, eps_, weight_decay_}; }
  [[nodiscard]] static BasicAdam from(Numbers const& numbers)
  {
    return BasicAdam{}.betas(numbers[0], numbers[1]).eps(numbers[2]).weight_decay(numbers[3]);
  }

 private:
  double beta1_ = 0.9;
  double beta2_ = 0.999;
  double eps_ = 1e-8;
  double weight_decay_ = Decoupled ? 1e-2 : 0;
};

using Adam = BasicAdam<false>;
using AdamW = BasicAdam<true>;

}  // namespace train
}  // namespace v0
}  // namespace tessera
