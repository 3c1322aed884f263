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
[[nodiscard]] Value batch_norm_unrecorded(Value const& x,
                                          BatchNormOptions<accumulator_t<scalar_of_rows<Value>>> const& o,
                                          Execution<Space> const& exec)
{
  expect_rows(x, "batch_norm");
  auto const rows = rows_of(x);
  auto by = normalization_of_channels(o.mean.data(), o.variance.data(), o.weight.data(), o.eps, rows.columns);
  by.bias = o.bias.data();
  return with_rows(x, normalize<3, scalar_of_rows<Value>>(rows, by, exec));
}

/// @param update  the running statistics that those of the rows are added to
template <class Value, class Space>
[[nodiscard]] auto statistics_of_channels(Value const& x,
                                          UpdateRunning<accumulator_t<scalar_of_rows<Value>>> const& update,
                                          ExchangeArgument<Space> exchange, Execution<Space> const& exec)
{
  auto const rows = rows_of(x);
  Coordinate<3> const* const one_entry = nullptr;
  return row_statistics<3, scalar_of_rows<Value>>(rows, used_rows(x), one_entry, 1,
                                                  static_cast<int>(rows.columns), update, exchange, exec);
}

/// Normalises by the statistics of the batch, which are returned too, and updates the running ones. One row
/// alone is refused where the host knows of it, and else noted.
template <class Value, class Space, class Sum>
[[nodiscard]] std::pair<Value, std::shared_ptr<ops::RowStatistics<Sum, Space> const>>
batch_norm_training_unrecorded(Value const& x, AffineOptions<Sum> const& affine,
                               ops::RunningStatistics<Sum> const& running, ExchangeArgument<Space> exchange,
                               char const* who, Execution<Space> const& exec)
{
  constexpr auto const* needs_more = ": training needs more than 1 row to have a variance";
  constexpr bool on_host = std::is_same_v<Space, Host>;
  expect_rows(x, who);
  auto const used = used_rows(x);
  bool const is_known = used.count == nullptr && exchange == nullptr;
  expects(!is_known || used.capacity != 1, who, needs_more);
  UpdateRunning<Sum> const update{running.mean.data, running.variance.data, data_errors(x),
                                  static_cast<Sum>(running.momentum)};
  auto statistics = std::make_shared<ops::RowStatistics<Sum, Space> const>(
      statistics_of_channels(x, update, exchange, exec));
  if constexpr (on_host) {
    expects(statistics->count.empty() || statistics->count.data()[0] != 1, who, needs_more);
  }
  BatchNormOptions<Sum> const by{statistics->mean.data(), statistics->variance.data(),
                                 affine.weight,           affine.bias,
                                 affine.channels,         affine.eps};
  return {batch_norm_unrecorded(x, by, exec), std::move(statistics)};
}

template <class Value, class Space>
[[nodiscard]] Matrix<scalar_of_rows<Value>, Space> batch_norm_backward(
    MatrixView<scalar_of_rows<Value> const> const& grad, Value const& x,
    BatchNormOptions<accumulator_t<scalar_of_rows<Value>>> const& o,
    NormGradient<accumulator_t<scalar_of_rows<Value>>, Space> const& asked, char const* who,
    Execution<Space> const& exec)
{
  expect_rows(x, who);
  auto const rows = rows_of(x);
  return normalize_backward<3, scalar_of_rows<Value>>(
      grad, rows, used_rows(x),
      normalization_of_channels(o.mean.data(), o.variance.data(), o.weight.data(), o.eps, rows.columns),
      asked, who, exec);
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
