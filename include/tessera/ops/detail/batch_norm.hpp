// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/normalize_backward.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/norm_options.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// running = (1 - momentum) running + momentum * statistic, the variance made unbiased. Fewer than two rows have no
/// variance: the running statistics stay, and one row is noted as an error.
template <class Sum>
struct UpdateRunning {
  Sum const* mean;        // [channels]
  Sum const* variance;    // [channels]
  Sum const* count;       // [channels]
  Sum* running_mean;      // [channels], or null: they stay
  Sum* running_variance;  // [channels]
  std::uint32_t* errors;  // or null
  Sum momentum;

  TESSERA_HOST_DEVICE void operator()(std::int64_t c) const
  {
    auto const rows = count[c];
    if (rows < 2) {
      if (rows == 1 && c == 0 && errors != nullptr) {
        atomic_or(errors, std::uint32_t{DataError::too_few_rows});
      }
      return;
    }
    if (running_mean == nullptr) { return; }
    auto const unbiased = rows / (rows - Sum{1}) * variance[c];
    running_mean[c] = (Sum{1} - momentum) * running_mean[c] + momentum * mean[c];
    running_variance[c] = (Sum{1} - momentum) * running_variance[c] + momentum * unbiased;
  }
};

/// All rows of one entry, each channel a group, so that the dimension does not matter.
template <class Sum>
[[nodiscard]] Normalization<3, Sum> normalization_of_channels(Sum const* mean, Sum const* variance,
                                                              Sum const* weight, double eps,
                                                              std::int64_t channels)
{
  Normalization<3, Sum> by;
  by.mean = mean;
  by.variance = variance;
  by.weight = weight;
  by.epsilon = static_cast<Sum>(eps);
  by.groups = static_cast<int>(channels);
  return by;
}

/// batch_norm() of a SparseTensor, a PointTensor or a Matrix.
template <class Value, class Space>
[[nodiscard]] Value batch_norm_unrecorded(
    Value const& x, ops::BatchNormOptions<accumulator_t<scalar_of_rows<Value>>> const& o,
    Execution<Space> const& exec)
{
  expect_rows(x, "batch_norm");
  auto const rows = rows_of(x);
  auto by = normalization_of_channels(o.mean.data, o.variance.data, o.weight.data, o.eps, rows.columns);
  by.bias = o.bias.data;
  return with_rows(x, normalize<3, scalar_of_rows<Value>>(rows, by, exec));
}

template <class Value, class Space>
[[nodiscard]] auto statistics_of_channels(Value const& x, ExchangeArgument<Space> exchange,
                                          Execution<Space> const& exec)
{
  auto const rows = rows_of(x);
  Coordinate<3> const* const one_entry = nullptr;
  return row_statistics<3, scalar_of_rows<Value>>(rows, used_rows(x), one_entry, 1,
                                                  static_cast<int>(rows.columns), exchange, exec);
}

/// Throws if the host knows that the statistics are those of one row, which has no variance.
template <class Value, class Sum, class Space>
void expect_variance(Value const& x, ops::RowStatistics<Sum, Space> const& statistics,
                     ops::RowExchange<Space> const* exchange, char const* who)
{
  bool one_row = false;
  if constexpr (std::is_same_v<Space, Host>) {
    one_row = !statistics.count.empty() && statistics.count.data()[0] == 1;
  } else {
    auto const used = used_rows(x);
    one_row = used.count == nullptr && used.capacity == 1 && exchange == nullptr;
  }
  expects(!one_row, who, ": training needs more than 1 row to have a variance");
}

/// Normalises by the statistics of the batch, which are returned too, and updates the running ones.
template <class Value, class Space, class Sum>
[[nodiscard]] std::pair<Value, std::shared_ptr<ops::RowStatistics<Sum, Space> const>>
batch_norm_training_unrecorded(Value const& x, ops::AffineOptions<Sum> const& affine,
                               ops::RunningStatistics<Sum> const& running, ExchangeArgument<Space> exchange,
                               char const* who, Execution<Space> const& exec)
{
  expect_rows(x, who);
  auto statistics =
      std::make_shared<ops::RowStatistics<Sum, Space> const>(statistics_of_channels(x, exchange, exec));
  expect_variance(x, *statistics, exchange, who);
  for_each(affine.channels,
           UpdateRunning<Sum>{statistics->mean.data(), statistics->variance.data(), statistics->count.data(),
                              running.mean.data, running.variance.data, data_errors(x),
                              static_cast<Sum>(running.momentum)},
           exec);
  ops::BatchNormOptions<Sum> const by{statistics->mean.data(), statistics->variance.data(),
                                      affine.weight,           affine.bias,
                                      affine.channels,         affine.eps};
  return {batch_norm_unrecorded(x, by, exec), std::move(statistics)};
}

template <class Value, class Space>
[[nodiscard]] Matrix<scalar_of_rows<Value>, Space> batch_norm_backward(
    MatrixView<scalar_of_rows<Value> const> const& grad, Value const& x,
    ops::BatchNormOptions<accumulator_t<scalar_of_rows<Value>>> const& o,
    NormGradient<accumulator_t<scalar_of_rows<Value>>, Space> const& asked, char const* who,
    Execution<Space> const& exec)
{
  expect_rows(x, who);
  auto const rows = rows_of(x);
  return normalize_backward<3, scalar_of_rows<Value>>(
      grad, rows, used_rows(x),
      normalization_of_channels(o.mean.data, o.variance.data, o.weight.data, o.eps, rows.columns), asked, who,
      exec);
}

/// @param asked  all but the count, which `statistics` have
template <class Value, class Space>
[[nodiscard]] Matrix<scalar_of_rows<Value>, Space> batch_norm_training_backward(
    MatrixView<scalar_of_rows<Value> const> const& grad, Value const& x,
    ops::RowStatistics<accumulator_t<scalar_of_rows<Value>>, Space> const& statistics,
    accumulator_t<scalar_of_rows<Value>> const* weight, double eps,
    NormGradient<accumulator_t<scalar_of_rows<Value>>, Space> asked, char const* who,
    Execution<Space> const& exec)
{
  expect_rows(x, who);
  auto const rows = rows_of(x);
  expects(statistics.mean.size() == rows.columns && statistics.variance.size() == rows.columns &&
              statistics.count.size() == rows.columns,
          who, ": statistics of ", statistics.mean.size(), " channels for ", rows.columns);
  asked.count = statistics.count.data();
  return normalize_backward<3, scalar_of_rows<Value>>(
      grad, rows, used_rows(x),
      normalization_of_channels(statistics.mean.data(), statistics.variance.data(), weight, eps,
                                rows.columns),
      asked, who, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
