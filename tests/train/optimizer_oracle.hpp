// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// The optimizers by their definitions, one number at a time in double: PyTorch's torch/optim/{sgd,adam,adamw}.py,
// functions _single_tensor_*.

#include <cmath>
#include <cstddef>
#include <vector>

namespace test {

struct SgdDefinition {
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

struct AdamDefinition {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;
};

/// A parameter with what an optimizer keeps of it.
struct OracleParameter {
  std::vector<double> values;
  std::vector<double> first;   // momentum, or the average of the gradient
  std::vector<double> second;  // the average of its square
  int steps = 0;

  void step(SgdDefinition const& d, std::vector<double> const& gradient, double rate, double decay_scale)
  {
    bool const is_first = steps++ == 0;
    first.resize(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      double g = gradient[i] + d.weight_decay * decay_scale * values[i];
      if (d.momentum != 0) {
        first[i] = is_first ? g : d.momentum * first[i] + (1 - d.dampening) * g;
        g = d.nesterov ? g + d.momentum * first[i] : first[i];
      }
      values[i] -= rate * g;
    }
  }

  void step(AdamDefinition const& d, std::vector<double> const& gradient, double rate, double decay_scale)
  {
    ++steps;
    first.resize(values.size());
    second.resize(values.size());
    double const correction1 = 1 - std::pow(d.beta1, steps);
    double const correction2 = 1 - std::pow(d.beta2, steps);
    for (std::size_t i = 0; i < values.size(); ++i) {
      double g = gradient[i];
      double const decay = d.weight_decay * decay_scale;
      if (d.decoupled) {
        values[i] *= 1 - rate * decay;
      } else {
        g += decay * values[i];
      }
      first[i] = d.beta1 * first[i] + (1 - d.beta1) * g;
      second[i] = d.beta2 * second[i] + (1 - d.beta2) * g * g;
      double const denominator = std::sqrt(second[i]) / std::sqrt(correction2) + d.eps;
      values[i] -= rate / correction1 * first[i] / denominator;
    }
  }
};

}  // namespace test
