// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/activation.hpp>
#include <tessera/core/detail/scalar_conversion.hpp>
#include <tessera/core/matrix.hpp>

#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// What a convolution does with its sums before it rounds and stores them:
/// `output = activation(sum + bias + residual)`. A batch norm that follows is folded into weight and bias.
template <class Scalar>
struct Epilogue {
  MatrixView<Scalar const> residual;  ///< [num_out, out_channels] in the convolution's space, or none
  Activation activation = Activation::none;
  float slope = 0.01F;  ///< of leaky_relu
};

namespace detail {

/// The activations that code is compiled for: those that are linear on either side of 0 (none, relu,
/// leaky_relu), a few instructions that an unrolled loop can repeat; the others that an epilogue takes, which
/// a kernel has in few places; or all.
enum class ActivationSet : std::uint8_t { linear, curved, all };

/// The epilogue as the kernels and the host run it, in this order:
///
///     output[o, c] = round(activation(((sum[o, c] + 0) + bias[c]) + residual[o, c]))
///
/// each step in accumulator_t<Scalar>, rounded to Scalar once. What is absent is not added. `+ 0` makes 0 of
/// a sum that underflowed to -0: whether it did depends on whether zeros were added after it, in which
/// kernels differ.
///
/// | name     | shape                           | memory                  | holds |
/// |----------|---------------------------------|-------------------------|-------|
/// | bias     | [out_channels] or null          | the convolution's space |       |
/// | residual | [num_out, out_channels] or null | the convolution's space |       |
///
/// The activation is a value: a kernel asks is_linear() once, outside its loops, and all its threads take the
/// same branch.
/// Determinism: the bits of an element depend on its own sum, bias and residual only.
template <class Scalar>
class EpilogueFunctor {
 public:
  using Sum = accumulator_t<Scalar>;

  Scalar const* bias = nullptr;
  Scalar const* residual = nullptr;

  EpilogueFunctor() = default;
  EpilogueFunctor(Scalar const* bias_values, Epilogue<Scalar> const& epilogue)
      : bias{bias_values},
        residual{epilogue.residual.data},
        activation_{epilogue.activation},
        slope_{epilogue.activation == Activation::none ? 1.0F : epilogue.slope}
  {}

  /// Whether code for ActivationSet::linear will do.
  [[nodiscard]] TESSERA_HOST_DEVICE bool is_linear() const { return activation_ <= Activation::leaky_relu; }

  /// The outputs of N sums whose terms the caller has read; terms that are absent are not looked at.
  /// @tparam Term  type of the bias's terms: Scalar, or Sum where they are widened already
  template <ActivationSet Set, int N, class Term>
  TESSERA_HOST_DEVICE void run(Sum const (&sums)[N], Term const (&bias_terms)[N],
                               Scalar const (&residual_terms)[N], Scalar (&outputs)[N]) const
  {
    Sum values[N];
    for (int i = 0; i < N; ++i) {
      values[i] = sums[i] + Sum{0};
      if (bias != nullptr) { values[i] += widen(bias_terms[i]); }
      if (residual != nullptr) { values[i] += widen(residual_terms[i]); }
    }
    if constexpr (Set == ActivationSet::linear) {
      // The slope is 1 of none, so that it is no case of its own.
      auto const activation = activation_ == Activation::relu ? Activation::relu : Activation::leaky_relu;
      for (int i = 0; i < N; ++i) { values[i] = activated(values[i], activation); }
    } else {
      // Values take turns at the first place, since registers have no index.
#if defined(__CUDA_ARCH__)
#pragma unroll 1
#endif
      for (int n = 0; n < N; ++n) {
        auto const value = values[0];
        for (int i = 0; i + 1 < N; ++i) { values[i] = values[i + 1]; }
        if constexpr (Set == ActivationSet::curved) {
          values[N - 1] =
              activated(value, activation_ == Activation::silu ? Activation::silu : Activation::sigmoid);
        } else {
          values[N - 1] = activated(value, activation_);
        }
      }
    }
    for (int i = 0; i < N; ++i) { outputs[i] = narrow<Scalar>(values[i]); }
  }

  /// The output of the sum of element `at` of [num_out, out_channels], in column `channel`.
  template <ActivationSet Set>
  [[nodiscard]] TESSERA_HOST_DEVICE Scalar run(Sum sum, int channel, std::int64_t at) const
  {
    Sum const sums[1] = {sum};
    Scalar bias_terms[1] = {};
    Scalar residual_terms[1] = {};
    Scalar outputs[1];
    if (bias != nullptr) { bias_terms[0] = bias[channel]; }
    if (residual != nullptr) { residual_terms[0] = residual[at]; }
    run<Set>(sums, bias_terms, residual_terms, outputs);
    return outputs[0];
  }

 private:
  [[nodiscard]] TESSERA_HOST_DEVICE Sum activated(Sum value, Activation activation) const
  {
    return apply_fusable_activation(value, activation, static_cast<Sum>(slope_));
  }

  Activation activation_ = Activation::none;
  float slope_ = 1;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
