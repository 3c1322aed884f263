// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/normalize.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

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

/// A parameter that an operation writes.
template <class T>
struct WrittenParameter {
  T* data = nullptr;
  VariableId id = 0;
};

/// The running statistics that batch normalisation in training updates:
/// `running = (1 - momentum) running + momentum * statistic`, of the unbiased variance.
template <class Sum>
struct RunningStatistics {
  WrittenParameter<Sum> mean;      ///< [channels]
  WrittenParameter<Sum> variance;  ///< [channels]
  double momentum = 0.1;
};

}  // namespace ops

namespace detail {

/// running = (1 - momentum) running + momentum * statistic, the variance made unbiased.
template <class Sum>
struct UpdateRunning {
  Sum const* mean;        // [channels]
  Sum const* variance;    // [channels]
  Sum* running_mean;      // [channels]
  Sum* running_variance;  // [channels]
  Sum momentum;
  Sum unbiased;  // rows / (rows - 1)

  TESSERA_HOST_DEVICE void operator()(std::int64_t c) const
  {
    running_mean[c] = (Sum{1} - momentum) * running_mean[c] + momentum * mean[c];
    running_variance[c] = (Sum{1} - momentum) * running_variance[c] + momentum * (unbiased * variance[c]);
  }
};

/// batch_norm() of the rows of a matrix. They are all of one entry, so that the dimension does not matter.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> normalize_channels(MatrixView<Scalar const> const& x,
                                                       ops::BatchNormOptions<accumulator_t<Scalar>> const& o,
                                                       Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  Normalization<3, Sum> by;
  by.mean = o.mean.data;
  by.variance = o.variance.data;
  by.weight = o.weight.data;
  by.bias = o.bias.data;
  by.epsilon = static_cast<Sum>(o.eps);
  by.groups = static_cast<int>(x.columns);
  return normalize<3, Scalar>(x, by, exec);
}

/// batch_norm() of a SparseTensor or a Matrix.
template <class Value, class Space>
[[nodiscard]] Value batch_norm_unrecorded(
    Value const& x, ops::BatchNormOptions<accumulator_t<scalar_of_rows<Value>>> const& o,
    Execution<Space> const& exec)
{
  expect_rows(x, "batch_norm");
  return with_rows(x, normalize_channels<scalar_of_rows<Value>>(rows_of(x), o, exec));
}

/// Mean and biased variance of a batch, which the record of its normalisation keeps.
template <class Sum, class Space>
struct BatchStatistics {
  RowStatistics<Sum, Space> rows;
  Sum unbiased;  // rows / (rows - 1), which makes the variance unbiased
};
template <class Sum, class Space>
using SharedStatistics = std::shared_ptr<BatchStatistics<Sum, Space> const>;

/// Moves running statistics towards those of a batch.
/// Stream: enqueues one kernel, does not wait.
template <class Sum, class Space>
void update_running(BatchStatistics<Sum, Space> const& batch, ops::RunningStatistics<Sum> const& running,
                    int channels, Execution<Space> const& exec)
{
  for_each(channels,
           UpdateRunning<Sum>{batch.rows.mean.data(), batch.rows.variance.data(), running.mean.data,
                              running.variance.data, static_cast<Sum>(running.momentum), batch.unbiased},
           exec);
}

/// Normalises by the statistics of the batch, puts these into `statistics`, and updates the running ones.
template <class Value, class Space, class Sum>
[[nodiscard]] Value batch_norm_training_unrecorded(Value const& x, ops::AffineOptions<Sum> const& affine,
                                                   ops::RunningStatistics<Sum> const& running,
                                                   SharedStatistics<Sum, Space>& statistics, char const* who,
                                                   Execution<Space> const& exec)
{
  using Scalar = scalar_of_rows<Value>;
  expect_rows(x, who);
  auto const rows = count_rows(x);
  if (rows > 0) {
    expects(rows > 1, who, ": training needs more than 1 row to have a variance");
    statistics = std::make_shared<BatchStatistics<Sum, Space>>(BatchStatistics<Sum, Space>{
        row_statistics<3, Scalar>(rows_of(x), {rows}, nullptr, nullptr, 1, affine.channels, exec),
        static_cast<Sum>(rows) / static_cast<Sum>(rows - 1)});
    update_running(*statistics, running, affine.channels, exec);
  }
  auto const* const mean = rows > 0 ? statistics->rows.mean.data() : running.mean.data;
  auto const* const variance = rows > 0 ? statistics->rows.variance.data() : running.variance.data;
  ops::BatchNormOptions<Sum> const by{mean,        variance,        affine.weight,
                                      affine.bias, affine.channels, affine.eps};
  return with_rows(x, normalize_channels<Scalar>(rows_of(x), by, exec));
}

}  // namespace detail

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

  BatchNormOptions<accumulator_t<Scalar>> options;
};

/// What the records of batch normalisation in training have.
template <class Sum, class Space>
struct BatchNormTraining {
  AffineOptions<Sum> affine;
  RunningStatistics<Sum> running;
  detail::SharedStatistics<Sum, Space> statistics;  // of the recorded batch; null without rows
};

/// Batch normalisation by the statistics of its input. Run again, it takes those of the new input and updates the
/// running statistics again.
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
    detail::SharedStatistics<Sum, Space> unused;
    return detail::batch_norm_training_unrecorded(x, this->affine, this->running, unused, name(), exec);
  }
};

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
  [[nodiscard]] Tensor compute(Tensor const& x, Execution<Space> const& exec) const;

  AffineOptions<accumulator_t<Scalar>> affine;
  int groups = 1;
};

}  // namespace ops

namespace detail {

template <class Value, class Scalar, class Space>
[[nodiscard]] Value batch_norm(Value const& x, ops::BatchNormOptions<accumulator_t<Scalar>> const& options,
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
[[nodiscard]] Value batch_norm_training(Value const& x,
                                        ops::AffineOptions<accumulator_t<Scalar>> const& affine,
                                        ops::RunningStatistics<accumulator_t<Scalar>> const& running,
                                        char const* who, Execution<Space> const& exec)
{
  using Record = ops::BatchNormTrainingRecord<Value, Space>;
  SharedStatistics<accumulator_t<Scalar>, Space> statistics;
  return run_recorded(
      exec,
      [&](auto const& inside) {
        return batch_norm_training_unrecorded(x, affine, running, statistics, who, inside);
      },
      [&](Value const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<Value>{y}, ops::Recorded<Value>{x});
        record->affine = affine;
        record->running = running;
        record->statistics = statistics;
        return record;
      });
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> group_norm_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, int groups,
    ops::AffineOptions<accumulator_t<Scalar>> const& affine, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  expect_coordinates(x, "group_norm");
  expects(groups >= 1 && x.channels() % groups == 0, "group_norm: ", groups, " groups do not divide ",
          x.channels(), " channels");
  if (x.capacity() == 0) { return x.with_features(Matrix<Scalar, Space>{0, x.channels(), exec}); }
  auto& set = *x.coordinates();
  auto const counts = rows_of_entries(set, "group_norm: ", exec);
  auto const statistics = row_statistics<Dim, Scalar>(x.features(), set.row_count(), set.data(),
                                                      counts->data(), set.num_batches(), groups, exec);
  Normalization<Dim, Sum> by;
  by.coordinates = set.data();
  by.mean = statistics.mean.data();
  by.variance = statistics.variance.data();
  by.weight = affine.weight.data;
  by.bias = affine.bias.data;
  by.epsilon = static_cast<Sum>(affine.eps);
  by.batches = set.num_batches();
  by.groups = groups;
  by.channels_per_group = x.channels() / groups;
  return x.with_features(normalize<Dim, Scalar>(x.features(), by, exec));
}

}  // namespace detail

template <int Dim, class Scalar, class Space>
SparseTensor<Dim, Scalar, Space> ops::GroupNormRecord<Dim, Scalar, Space>::compute(
    Tensor const& x, Execution<Space> const& exec) const
{
  return detail::group_norm_unrecorded(x, groups, affine, exec);
}

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

/// batch_norm() by the mean and variance of the rows of `x`, which also updates running statistics:
/// `running = (1 - momentum) running + momentum * statistic`, of the unbiased variance. Without rows the running
/// statistics are used and stay.
/// @throws invalid_argument  one row alone, which has no variance
/// Cost: three passes over the features.
/// Stream: enqueues on `exec`; waits where the host does not know the number of rows.
/// Determinism: the same bits on every run; they depend on the order of the rows.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> batch_norm_training(
    SparseTensor<Dim, Scalar, Space> const& x, ops::RunningStatistics<accumulator_t<Scalar>> const& running,
    ParameterRef<accumulator_t<Scalar>> const& weight, ParameterRef<accumulator_t<Scalar>> const& bias,
    double eps, Execution<Space> const& exec)
{
  return detail::batch_norm_training<SparseTensor<Dim, Scalar, Space>, Scalar>(
      x, {weight, bias, x.channels(), eps}, running, "batch_norm_training", exec);
}

/// Normalises each (batch entry, group of `channels / groups` neighbouring channels) by its own mean and
/// biased variance: `y[i, c] = (x[i, c] - mean[b, g]) / sqrt(variance[b, g] + eps) * weight[c] + bias[c]`.
///
/// | name         | shape      | memory | holds                    |
/// |--------------|------------|--------|--------------------------|
/// | weight, bias | [channels] | Space  | float (double), or null  |
///
/// @throws invalid_argument  groups below 1 or no divisor of the channels; more than 131,072 batch entries
/// and
///                           four for each row of the tensor
/// Cost: three passes over the features, and a count of the rows of each entry once a coordinate set.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run; they depend on the order of the rows.
/// Source: PyTorch's group_norm on each batch entry's points.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> group_norm(SparseTensor<Dim, Scalar, Space> const& x,
                                                          int groups,
                                                          ParameterRef<accumulator_t<Scalar>> const& weight,
                                                          ParameterRef<accumulator_t<Scalar>> const& bias,
                                                          double eps, Execution<Space> const& exec)
{
  ops::AffineOptions<accumulator_t<Scalar>> const affine{weight, bias, x.channels(), eps};
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::group_norm_unrecorded(x, groups, affine, inside); },
      [&](auto const& y) {
        using Tensor = SparseTensor<Dim, Scalar, Space>;
        auto record = std::make_shared<ops::GroupNormRecord<Dim, Scalar, Space>>(ops::Recorded<Tensor>{y},
                                                                                 ops::Recorded<Tensor>{x});
        record->affine = affine;
        record->groups = groups;
        return record;
      });
}

}  // namespace v0
}  // namespace tessera
