// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Norms of small tensors, and their gradients by record.

#include "gradient_check.hpp"

#include <tessera/ops/normalization.hpp>

#include <optional>
#include <utility>
#include <vector>

namespace norm_cases {

using namespace tessera;

inline constexpr double eps = 1e-3;

/// A tensor on rows of entries 0 and 1; `used` of them, where only the space is to know.
template <int Dim, class Scalar, class Space>
SparseTensor<Dim, Scalar, Space> tensor_of(std::vector<double> const& features, int channels,
                                           Execution<Space> const& exec,
                                           std::optional<std::int32_t> used = std::nullopt)
{
  auto const rows = test::small_grid<Dim>(static_cast<int>(features.size()) / channels);
  CoordinateSetOptions<Dim> options;
  options.spatial_range = SpatialRange<Dim>{2, IntArray<Dim>(100)};
  auto matrix = upload_matrix(test::rounded<Scalar>(features), channels, exec);
  if (!used) { return {make_coordinate_set(rows, options, exec), std::move(matrix)}; }
  auto set =
      CoordinateSet<Dim, Space>::make({upload(rows, exec), upload(std::vector{*used}, exec)}, options, exec);
  return {std::move(set), std::move(matrix)};
}

/// Parameters of a normalisation in the space, with identities and gradients.
template <class Sum, class Space>
struct Affine {
  Affine(int channels, Execution<Space> const& exec)
      : weight_values{test::random_values(static_cast<std::size_t>(channels), 11)},
        bias_values{test::random_values(static_cast<std::size_t>(channels), 12)},
        weight{upload(test::rounded<Sum>(weight_values), exec)},
        bias{upload(test::rounded<Sum>(bias_values), exec)},
        weight_grad{upload(std::vector<Sum>(weight_values.size(), Sum{0}), exec)},
        bias_grad{upload(std::vector<Sum>(weight_values.size(), Sum{0}), exec)}
  {}

  [[nodiscard]] ParameterRef<Sum> weight_ref() const { return {weight.data(), weight_id}; }
  [[nodiscard]] ParameterRef<Sum> bias_ref() const { return {bias.data(), bias_id}; }
  void watch(test::FilledGradients<Space>& gradients)
  {
    gradients.watch(weight_id, weight_grad.data(), weight_grad.size());
    gradients.watch(bias_id, bias_grad.data(), bias_grad.size());
  }

  std::vector<double> weight_values;
  std::vector<double> bias_values;
  Buffer<Sum, Space> weight;
  Buffer<Sum, Space> bias;
  Buffer<Sum, Space> weight_grad;
  Buffer<Sum, Space> bias_grad;
  VariableId weight_id = detail::next_variable_id();
  VariableId bias_id = detail::next_variable_id();
};

/// Gradients of input, weight and bias.
template <class Scalar>
struct Found {
  std::vector<Scalar> x;
  std::vector<accumulator_t<Scalar>> weight;
  std::vector<accumulator_t<Scalar>> bias;
};

/// Those that the record of `run(exec)` gives.
template <class Scalar, class Space, class Run>
Found<Scalar> by_record(Affine<accumulator_t<Scalar>, Space>& affine, std::vector<double> const& cotangent,
                        std::int64_t channels, Execution<Space> const& exec, Run const& run)
{
  auto const record = test::recorded(exec, run);
  test::FilledGradients<Space> gradients;
  affine.watch(gradients);
  gradients.want(record->inputs().at(0));
  gradients.reach(record->outputs().at(0), upload_matrix(test::rounded<Scalar>(cotangent), channels, exec));
  test::run_backward(*record, gradients, exec);
  return {gradients.template on_host<Scalar>(record->inputs()[0], exec), download(affine.weight_grad, exec),
          download(affine.bias_grad, exec)};
}

/// Running statistics that nobody looks at.
template <class Sum, class Space>
struct Running {
  Running(int channels, Execution<Space> const& exec)
      : mean{upload(std::vector<Sum>(static_cast<std::size_t>(channels), Sum{0}), exec)},
        variance{upload(std::vector<Sum>(static_cast<std::size_t>(channels), Sum{1}), exec)}
  {}
  [[nodiscard]] ops::RunningStatistics<Sum> options()
  {
    return {{mean.data(), 0}, {variance.data(), 0}, 0.1};
  }
  Buffer<Sum, Space> mean;
  Buffer<Sum, Space> variance;
};

}  // namespace norm_cases
