// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/normalize_backward.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/norm_options.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The groups of each batch entry of `x` normalised by `statistics`.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Normalization<Dim, accumulator_t<Scalar>> normalization_of_groups(
    SparseTensor<Dim, Scalar, Space> const& x, int groups,
    ops::RowStatistics<accumulator_t<Scalar>, Space> const& statistics, accumulator_t<Scalar> const* weight,
    double eps)
{
  Normalization<Dim, accumulator_t<Scalar>> by;
  by.coordinates = x.coordinates()->data();
  by.mean = statistics.mean.data();
  by.variance = statistics.variance.data();
  by.weight = weight;
  by.epsilon = static_cast<accumulator_t<Scalar>>(eps);
  by.batches = x.coordinates()->num_batches();
  by.groups = groups;
  by.channels_per_group = x.channels() / groups;
  return by;
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] ops::RowStatistics<accumulator_t<Scalar>, Space> statistics_of_groups(
    SparseTensor<Dim, Scalar, Space> const& x, int groups, char const* who, Execution<Space> const& exec)
{
  expect_coordinates(x, who);
  expects(groups >= 1 && x.channels() % groups == 0, who, ": ", groups, " groups do not divide ",
          x.channels(), " channels");
  auto const& set = *x.coordinates();
  check_num_entries(set.num_batches(), set.capacity(), "group_norm: ");
  return row_statistics<Dim, Scalar>(x.features(), set.row_count(), set.data(), set.num_batches(), groups, {},
                                     nullptr, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] std::pair<SparseTensor<Dim, Scalar, Space>,
                        std::shared_ptr<ops::RowStatistics<accumulator_t<Scalar>, Space> const>>
group_norm_unrecorded(SparseTensor<Dim, Scalar, Space> const& x, int groups,
                      AffineOptions<accumulator_t<Scalar>> const& affine, Execution<Space> const& exec)
{
  auto statistics = std::make_shared<ops::RowStatistics<accumulator_t<Scalar>, Space> const>(
      statistics_of_groups(x, groups, "group_norm", exec));
  auto by = normalization_of_groups(x, groups, *statistics, affine.weight.data(), affine.eps);
  by.bias = affine.bias.data();
  return {x.with_features(normalize<Dim, Scalar>(x.features(), by, exec)), std::move(statistics)};
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> group_norm_backward(
    MatrixView<Scalar const> const& grad, SparseTensor<Dim, Scalar, Space> const& x, int groups,
    ops::RowStatistics<accumulator_t<Scalar>, Space> const& statistics, accumulator_t<Scalar> const* weight,
    double eps, NormGradient<accumulator_t<Scalar>, Space> asked, Execution<Space> const& exec)
{
  asked.count = statistics.count.data();
  return normalize_backward<Dim, Scalar>(grad, x.features(), x.coordinates()->row_count(),
                                         normalization_of_groups(x, groups, statistics, weight, eps), asked,
                                         "group_norm_backward", exec);
}

}  // namespace detail
namespace ops {

/// Normalisation of each (batch entry, group of channels) by itself.
template <int Dim, class Scalar, class Space>
struct GroupNormRecord final
    : FunctionRecord<GroupNormRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using GroupNormRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "group_norm"; }
  [[nodiscard]] std::vector<VariableId> parameters() const override
  {
    return {affine.weight.id, affine.bias.id};
  }
  [[nodiscard]] Tensor compute(Tensor const& x, Execution<Space> const& exec) const
  {
    return detail::group_norm_unrecorded(x, groups, affine, exec).first;
  }

  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    using Sum = accumulator_t<Scalar>;
    auto const& x = this->input();
    auto const asked = detail::norm_gradient<Sum>(gradients, affine, x.id(), exec);
    auto dx = detail::group_norm_backward(gradients.template of<Scalar>(this->output().id()), *x.value(),
                                          groups, *statistics, affine.weight.data(), affine.eps, asked, exec);
    if (asked.wants_x) { gradients.add(x.id(), std::move(dx), exec); }
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_back(); }

  void expect_unchanged() const override
  {
    GroupNormRecord::FunctionRecord::expect_unchanged();
    detail::expect_unwritten(affine.weight, name());
  }
  template <class Visit>
  void visit_parameters(Visit const& visit) const
  {
    visit(affine.weight);
    visit(affine.bias);
  }
  [[nodiscard]] Tensor compute_again(Tensor const& x, Execution<Space> const& exec)
  {
    auto result = detail::group_norm_unrecorded(x, groups, affine, exec);
    statistics = std::move(result.second);
    return std::move(result.first);
  }
  void drop_kept() { statistics = nullptr; }

  AffineOptions<accumulator_t<Scalar>> affine;
  int groups = 1;
  std::shared_ptr<RowStatistics<accumulator_t<Scalar>, Space> const>
      statistics;  // of the recorded input, [batches, groups]
};

}  // namespace ops

/// Normalises each (batch entry, group of `channels / groups` neighbouring channels) by its own mean and
/// biased variance: `y[i, c] = (x[i, c] - mean[b, g]) / sqrt(variance[b, g] + eps) * weight[c] + bias[c]`.
///
/// | name         | shape      | memory | holds                    |
/// |--------------|------------|--------|--------------------------|
/// | weight, bias | [channels] | Space  | float (double), or null  |
///
/// @throws invalid_argument  groups below 1 or no divisor of the channels; more batch entries than 131,072
///                           and than four for each row of the tensor
/// Cost: two passes over the features.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run and for any capacity; they depend on the order of the rows.
/// Source: PyTorch's group_norm on each batch entry's points.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> group_norm(SparseTensor<Dim, Scalar, Space> const& x,
                                                          int groups,
                                                          ParameterRef<accumulator_t<Scalar>> const& weight,
                                                          ParameterRef<accumulator_t<Scalar>> const& bias,
                                                          double eps, Execution<Space> const& exec)
{
  AffineOptions<accumulator_t<Scalar>> const affine{weight, bias, x.channels(), eps};
  std::shared_ptr<ops::RowStatistics<accumulator_t<Scalar>, Space> const> statistics;
  return detail::run_recorded(
      exec,
      [&](auto const& inside) {
        auto result = detail::group_norm_unrecorded(x, groups, affine, inside);
        statistics = std::move(result.second);
        return std::move(result.first);
      },
      [&](auto const& y) {
        using Tensor = SparseTensor<Dim, Scalar, Space>;
        auto record = std::make_shared<ops::GroupNormRecord<Dim, Scalar, Space>>(ops::Recorded<Tensor>{y},
                                                                                 ops::Recorded<Tensor>{x});
        record->affine = affine;
        record->groups = groups;
        record->statistics = statistics;
        return record;
      });
}

/// The gradient of group_norm() for `x`, through its statistics too. With `v = variance[b, g] + eps`, `h[i,
/// c] = (x[i, c] - mean[b, g]) / sqrt(v)`, `d[i, c] = grad[i, c] * weight[c]` and means over the rows of the
/// entry and the channels of the group: `g[i, c] = (d[i, c] - mean of d - h[i, c] * mean of d h) / sqrt(v)`.
///
/// | name    | shape            | memory | holds                                                                |
/// |---------|------------------|--------|----------------------------------------------------------------------|
/// | grad    | [rows, channels] | Space  | the gradient that reached group_norm()'s result                      |
/// | weight  | [channels]       | Space  | float (double), or null: ones                                        |
/// | to      | [channels]       | Space  | what of `dweight[c] = sum of grad h`, `dbias[c] = sum of grad is` computed |
/// | returns | [rows, channels] | Space  | 0 in rows that are not in use                                        |
///
/// @throws invalid_argument  a gradient of another shape, and what group_norm() throws
/// Cost: three passes over `x`, two over `grad`. Stream, determinism: as group_norm().
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> group_norm_backward(MatrixView<Scalar const> const& grad,
                                                        SparseTensor<Dim, Scalar, Space> const& x, int groups,
                                                        accumulator_t<Scalar> const* weight, double eps,
                                                        ops::AffineGradients<accumulator_t<Scalar>> const& to,
                                                        Execution<Space> const& exec)
{
  auto const statistics = detail::statistics_of_groups(x, groups, "group_norm_backward", exec);
  return detail::group_norm_backward(grad, x, groups, statistics, weight, eps, {to}, exec);
}

}  // namespace v0
}  // namespace tessera
