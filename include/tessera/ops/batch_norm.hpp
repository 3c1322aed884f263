// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/batch_norm.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

/// Batch normalisation by given statistics.
template <class Value, class Space>
struct BatchNormRecord final : FunctionRecord<BatchNormRecord<Value, Space>, Space, Value, Value> {
  using Scalar = detail::scalar_of_rows<Value>;
  using BatchNormRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "batch_norm"; }
  [[nodiscard]] std::vector<VariableId> parameters() const override
  {
    return {options.mean.id, options.variance.id, options.weight.id, options.bias.id};
  }
  [[nodiscard]] Value compute(Value const& x, Execution<Space> const& exec) const
  {
    return detail::batch_norm_unrecorded(x, options, exec);
  }

  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    using Sum = accumulator_t<Scalar>;
    auto const& x = this->input();
    auto const asked = detail::norm_gradient<Sum>(gradients, options, x.id(), exec);
    auto dx = detail::batch_norm_backward(gradients.template of<Scalar>(this->output().id()), *x.value(),
                                          options, asked, name(), exec);
    if (asked.wants_x) { gradients.add(x.id(), std::move(dx), exec); }
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_back(); }
  void expect_unchanged() const override
  {
    BatchNormRecord::FunctionRecord::expect_unchanged();
    detail::expect_unwritten(options.mean, name());
    detail::expect_unwritten(options.variance, name());
    detail::expect_unwritten(options.weight, name());
  }
  template <class Visit>
  void visit_parameters(Visit const& visit) const
  {
    visit(options.mean);
    visit(options.variance);
    visit(options.weight);
    visit(options.bias);
  }

  BatchNormOptions<accumulator_t<Scalar>> options;
};

/// What the records of batch normalisation in training have.
template <class Sum, class Space>
struct BatchNormTraining {
  AffineOptions<Sum> affine;
  RunningStatistics<Sum> running;
  RowExchange<Space>* exchange = nullptr;
  std::shared_ptr<RowStatistics<Sum, Space> const> statistics;  // of the recorded batch, [channels]
};

/// Batch normalisation by the statistics of its input. Run again, it takes those of the new input and updates
/// the running statistics again.
template <class Value, class Space>
struct BatchNormTrainingRecord final
    : FunctionRecord<BatchNormTrainingRecord<Value, Space>, Space, Value, Value>,
      BatchNormTraining<accumulator_t<detail::scalar_of_rows<Value>>, Space> {
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;
  using BatchNormTrainingRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "batch_norm_training"; }
  [[nodiscard]] std::vector<VariableId> parameters() const override
  {
    return {this->affine.weight.id, this->affine.bias.id};
  }
  [[nodiscard]] Value compute(Value const& x, Execution<Space> const& exec) const
  {
    return detail::batch_norm_training_unrecorded(x, this->affine, this->running, this->exchange, name(),
                                                  exec)
        .first;
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    using Scalar = detail::scalar_of_rows<Value>;
    auto const& x = this->input();
    auto asked = detail::norm_gradient<Sum>(gradients, this->affine, x.id(), exec);
    asked.exchange = this->exchange;
    // Every rank takes part in an exchange, also where nobody wants its dx.
    asked.wants_x = asked.wants_x || this->exchange != nullptr;
    auto dx = detail::batch_norm_training_backward(gradients.template of<Scalar>(this->output().id()),
                                                   *x.value(), *this->statistics, this->affine.weight.data(),
                                                   this->affine.eps, asked, name(), exec);
    gradients.add(x.id(), std::move(dx), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_back(); }
  void expect_unchanged() const override
  {
    BatchNormTrainingRecord::FunctionRecord::expect_unchanged();
    detail::expect_unwritten(this->affine.weight, name());
  }
  template <class Visit>
  void visit_parameters(Visit const& visit) const
  {
    visit(this->affine.weight);
    visit(this->affine.bias);
  }
  void skip_updates() { this->running = {}; }
  [[nodiscard]] Value compute_again(Value const& x, Execution<Space> const& exec)
  {
    auto result =
        detail::batch_norm_training_unrecorded(x, this->affine, this->running, this->exchange, name(), exec);
    this->statistics = std::move(result.second);
    return std::move(result.first);
  }
  void drop_kept() { this->statistics = nullptr; }
};

}  // namespace ops

namespace detail {

template <class Value, class Scalar, class Space>
[[nodiscard]] Value batch_norm(Value const& x, BatchNormOptions<accumulator_t<Scalar>> const& options,
                               Execution<Space> const& exec)
{
  using Record = ops::BatchNormRecord<Value, Space>;
  return run_recorded(
      exec, [&](auto const& inside) { return batch_norm_unrecorded(x, options, inside); },
      [&](Value const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<Value>{y}, ops::Recorded<Value>{x});
        record->options = options;
        return record;
      });
}

template <class Value, class Scalar, class Space>
[[nodiscard]] Value batch_norm_training(Value const& x, AffineOptions<accumulator_t<Scalar>> const& affine,
                                        ops::RunningStatistics<accumulator_t<Scalar>> const& running,
                                        ops::RowExchange<Space>* exchange, char const* who,
                                        Execution<Space> const& exec)
{
  using Record = ops::BatchNormTrainingRecord<Value, Space>;
  std::shared_ptr<ops::RowStatistics<accumulator_t<Scalar>, Space> const> statistics;
  return run_recorded(
      exec,
      [&](auto const& inside) {
        auto result = batch_norm_training_unrecorded(x, affine, running, exchange, who, inside);
        statistics = std::move(result.second);
        return std::move(result.first);
      },
      [&](Value const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<Value>{y}, ops::Recorded<Value>{x});
        record->affine = affine;
        record->running = running;
        record->exchange = exchange;
        record->statistics = statistics;
        return record;
      });
}

}  // namespace detail

/// `y[i, c] = (x[i, c] - mean[c]) / sqrt(variance[c] + eps) * weight[c] + bias[c]`, computed in float (double
/// for double) and rounded once.
///
/// | name                         | shape      | memory | holds                                |
/// |------------------------------|------------|--------|--------------------------------------|
/// | mean, variance, weight, bias | [channels] | Space  | float (double); the last two or null |
///
/// Cost: one pass over the features.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits, in any order of the rows.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> batch_norm(SparseTensor<Dim, Scalar, Space> const& x,
                                                          ParameterRef<accumulator_t<Scalar>> const& mean,
                                                          ParameterRef<accumulator_t<Scalar>> const& variance,
                                                          ParameterRef<accumulator_t<Scalar>> const& weight,
                                                          ParameterRef<accumulator_t<Scalar>> const& bias,
                                                          double eps, Execution<Space> const& exec)
{
  return detail::batch_norm<SparseTensor<Dim, Scalar, Space>, Scalar>(
      x, {mean, variance, weight, bias, x.channels(), eps}, exec);
}
/// The same of the rows of a matrix.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> batch_norm(Matrix<Scalar, Space> const& x,
                                               ParameterRef<accumulator_t<Scalar>> const& mean,
                                               ParameterRef<accumulator_t<Scalar>> const& variance,
                                               ParameterRef<accumulator_t<Scalar>> const& weight,
                                               ParameterRef<accumulator_t<Scalar>> const& bias, double eps,
                                               Execution<Space> const& exec)
{
  return detail::batch_norm<Matrix<Scalar, Space>, Scalar>(
      x, {mean, variance, weight, bias, static_cast<int>(x.columns()), eps}, exec);
}

/// The gradient of batch_norm() for `x`: `g[i, c] = grad[i, c] * weight[c] / sqrt(variance[c] + eps)`, 0 in
/// rows that are not in use; and those of weight and bias, sums over the rows in use: `dweight[c] = sum of
/// grad[i, c] * (x[i, c] - mean[c]) / sqrt(variance[c] + eps)`, `dbias[c] = sum of grad[i, c]`.
///
/// | name    | shape            | memory | holds                                                |
/// |---------|------------------|--------|------------------------------------------------------|
/// | grad    | [rows, channels] | Space  | the gradient that reached batch_norm()'s result      |
/// | x       | [rows, channels] | Space  | a SparseTensor, PointTensor or Matrix                |
/// | options |                  |        | what `x` was normalised by                           |
/// | to      | [channels]       | Space  | what of the gradients of weight and bias is computed |
/// | returns | [rows, channels] | Space  |                                                      |
///
/// @throws invalid_argument  a gradient of another shape; a tensor made by default
/// Cost: one pass over both, two with gradients of weight or bias.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run and for any capacity; sums depend on the order of the rows.
template <class Value, class Space>
[[nodiscard]] Matrix<detail::scalar_of_rows<Value>, Space> batch_norm_backward(
    MatrixView<detail::scalar_of_rows<Value> const> const& grad, Value const& x,
    BatchNormOptions<accumulator_t<detail::scalar_of_rows<Value>>> const& options,
    ops::AffineGradients<accumulator_t<detail::scalar_of_rows<Value>>> const& to,
    Execution<Space> const& exec)
{
  return detail::batch_norm_backward(grad, x, options, {to}, "batch_norm_backward", exec);
}

/// batch_norm() by the mean and variance of the rows of `x`, which also updates running statistics: `running
/// = (1 - momentum) running + momentum * statistic`, of the unbiased variance. Without rows the running
/// statistics stay.
///
/// @param exchange  merges the statistics of several processes, so that each normalises by those of all rows;
///                  or null. It must outlive what records the call
/// @throws invalid_argument  one row alone, which has no variance. Where the device alone counts the rows,
///                           running statistics stay, and the host is told where it next waits
/// Cost: two passes over the features.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run and for any capacity; they depend on the order of the rows.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> batch_norm_training(
    SparseTensor<Dim, Scalar, Space> const& x, ops::RunningStatistics<accumulator_t<Scalar>> const& running,
    ParameterRef<accumulator_t<Scalar>> const& weight, ParameterRef<accumulator_t<Scalar>> const& bias,
    double eps, detail::ExchangeArgument<Space> exchange, Execution<Space> const& exec)
{
  return detail::batch_norm_training<SparseTensor<Dim, Scalar, Space>, Scalar>(
      x, {weight, bias, x.channels(), eps}, running, exchange, "batch_norm_training", exec);
}
/// The same of one process.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> batch_norm_training(
    SparseTensor<Dim, Scalar, Space> const& x, ops::RunningStatistics<accumulator_t<Scalar>> const& running,
    ParameterRef<accumulator_t<Scalar>> const& weight, ParameterRef<accumulator_t<Scalar>> const& bias,
    double eps, Execution<Space> const& exec)
{
  return batch_norm_training(x, running, weight, bias, eps, nullptr, exec);
}

/// Mean, biased variance and number of the rows in use of each channel, [channels]: what batch_norm_training()
/// normalises by, for whoever differentiates by hand.
/// @param x         a SparseTensor, PointTensor or Matrix
/// @param exchange  merges those of several processes, or null
/// @throws invalid_argument  a tensor made by default
/// Cost: one pass over the features.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: as batch_norm_training().
template <class Value, class Space>
[[nodiscard]] ops::RowStatistics<accumulator_t<detail::scalar_of_rows<Value>>, Space> batch_statistics(
    Value const& x, detail::ExchangeArgument<Space> exchange, Execution<Space> const& exec)
{
  detail::expect_rows(x, "batch_statistics");
  return detail::statistics_of_channels(x, {}, exchange, exec);
}

/// The gradient of batch_norm_training() for `x`, through its statistics too. With `h[i, c] = (x[i, c] -
/// mean[c]) / sqrt(variance[c] + eps)` and means over all rows that the statistics are of: `g[i, c] =
/// weight[c] / sqrt(variance[c] + eps) * (grad[i, c] - mean of grad[., c] - h[i, c] * mean of grad[., c] h[.,
/// c])`.
///
/// Gradients of weight and bias as batch_norm_backward(): of this process's rows, also with an exchange.
/// @param statistics  of `x`: batch_statistics()
/// @param weight      [channels] in `Space`, or null: ones
/// @param exchange    that of batch_statistics(), or null
/// Other arguments and errors: as batch_norm_backward().
/// Cost: two passes over both. Stream, determinism: as batch_norm_backward().
template <class Value, class Space>
[[nodiscard]] Matrix<detail::scalar_of_rows<Value>, Space> batch_norm_training_backward(
    MatrixView<detail::scalar_of_rows<Value> const> const& grad, Value const& x,
    ops::RowStatistics<accumulator_t<detail::scalar_of_rows<Value>>, Space> const& statistics,
    accumulator_t<detail::scalar_of_rows<Value>> const* weight, double eps,
    ops::AffineGradients<accumulator_t<detail::scalar_of_rows<Value>>> const& to,
    detail::ExchangeArgument<Space> exchange, Execution<Space> const& exec)
{
  constexpr auto const* who = "batch_norm_training_backward";
  return detail::batch_norm_training_backward(grad, x, statistics, weight, eps, {to, nullptr, exchange}, who,
                                              exec);
}

}  // namespace v0
}  // namespace tessera
