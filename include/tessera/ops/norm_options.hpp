// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution_backward.hpp>
#include <tessera/core/variable.hpp>

namespace tessera {
inline namespace v0 {

/// What rows are normalised by: weight and bias, and the statistics where they are given.
template <class Sum>
struct BatchNormOptions {
  ParameterRef<Sum> mean;      ///< [channels]
  ParameterRef<Sum> variance;  ///< [channels]
  ParameterRef<Sum> weight;    ///< [channels], or none: ones
  ParameterRef<Sum> bias;      ///< [channels], or none: zeros
  int channels = 0;
  double eps = 1e-5;
};

/// Weight and bias of a normalisation that makes its own statistics.
template <class Sum>
struct AffineOptions {
  ParameterRef<Sum> weight;  ///< [channels], or none: ones
  ParameterRef<Sum> bias;    ///< [channels], or none: zeros
  int channels = 0;
  double eps = 1e-5;
};

namespace ops {

/// Where the gradients of weight and bias of a normalisation go.
template <class Sum>
struct AffineGradients {
  Sum* weight = nullptr;  ///< [channels], or null: not computed
  Sum* bias = nullptr;    ///< [channels], or null: not computed
  GradientMode mode = GradientMode::overwrite;
};

/// A parameter that an operation writes.
template <class T>
struct WrittenParameter {
  T* data = nullptr;
  VariableId id = 0;
};

/// The running statistics that batch normalisation in training updates: `running = (1 - momentum) running +
/// momentum * statistic`, of the unbiased variance; where there are none, nothing.
template <class Sum>
struct RunningStatistics {
  WrittenParameter<Sum> mean;      ///< [channels]
  WrittenParameter<Sum> variance;  ///< [channels]
  double momentum = 0.1;
};

}  // namespace ops
}  // namespace v0
}  // namespace tessera
