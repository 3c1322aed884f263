// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/row_terms.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The row with the largest feature: the first of equal ones, the first NaN.
template <class Scalar>
struct RowOfLargest {
  struct Value {
    accumulator_t<Scalar> largest = 0;
    std::int32_t row = -1;  // none
  };
  static constexpr int pack = 1;
  [[nodiscard]] TESSERA_HOST_DEVICE static constexpr Value identity() { return {}; }

  Scalar const* features;  // [rows, channels]
  int channels;

  [[nodiscard]] TESSERA_HOST_DEVICE Value at(std::int64_t row, int, int channel) const
  {
    return {static_cast<accumulator_t<Scalar>>(features[row * channels + channel]),
            static_cast<std::int32_t>(row)};
  }
  /// @pre  the rows of `a` come before those of `b`
  [[nodiscard]] TESSERA_HOST_DEVICE static Value combine(Value const& a, Value const& b)
  {
    if (a.row < 0 || b.row < 0) { return b.row < 0 ? a : b; }
    return is_nan(a.largest) || (a.largest >= b.largest && !is_nan(b.largest)) ? a : b;
  }
};

/// dx[i, c] = grad[entry of i, c] / rows of the entry, 0 in channels that are not averaged.
template <int Dim, class Scalar>
struct SpreadMean {
  CoordinateView<Dim> rows;
  Scalar const* grad;          // [entries, averaged]
  std::int32_t const* counts;  // [entries]
  Scalar* dx;                  // [capacity, channels]
  std::int64_t entries;
  std::int64_t averaged;
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    using Sum = accumulator_t<Scalar>;
    auto const row = n / channels;
    auto const c = n - row * channels;
    auto const entry = row < rows.size() ? std::int64_t{rows[row].batch} : -1;
    bool const takes_part = entry >= 0 && entry < entries && c < averaged;
    dx[n] = takes_part ? static_cast<Scalar>(static_cast<Sum>(grad[entry * averaged + c]) /
                                             static_cast<Sum>(counts[entry]))
                       : Scalar(0.0F);
  }
};

/// dx[i, c] = grad[entry of i, c] where i is the winner, else 0.
template <int Dim, class Scalar>
struct GiveToWinners {
  CoordinateView<Dim> rows;
  Scalar const* grad;                                   // [entries, channels]
  typename RowOfLargest<Scalar>::Value const* winners;  // [entries, channels]
  Scalar* dx;                                           // [capacity, channels]
  std::int64_t entries;
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / channels;
    auto const entry = row < rows.size() ? std::int64_t{rows[row].batch} : -1;
    bool const has_entry = entry >= 0 && entry < entries;
    auto const at = entry * channels + (n - row * channels);
    dx[n] = has_entry && winners[at].row == row ? grad[at] : Scalar(0.0F);
  }
};

/// @param channels  of `x`, whose features are not read
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> global_average_gradient(MatrixView<Scalar const> const& grad,
                                                            SparseTensor<Dim, Scalar, Space> const& x,
                                                            int channels, Execution<Space> const& exec)
{
  constexpr auto const* who = "global_average_pool_backward";
  expect_coordinates(x, who);
  auto& set = *x.coordinates();
  expects(grad.rows == set.num_batches() && grad.columns <= channels, who, ": a gradient of ", grad.rows,
          " x ", grad.columns, " for ", set.num_batches(), " batch entries of ", channels, " channels");
  auto const counts = rows_of_entries(set, "global_average_pool_backward: ", exec);
  Matrix<Scalar, Space> dx{set.capacity(), channels, exec};
  for_each(dx.size(),
           SpreadMean<Dim, Scalar>{set.view(), grad.data, counts->data(), dx.data(), grad.rows, grad.columns,
                                   channels},
           exec);
  return dx;
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> global_max_gradient(MatrixView<Scalar const> const& grad,
                                                        SparseTensor<Dim, Scalar, Space> const& x,
                                                        Execution<Space> const& exec)
{
  constexpr auto const* who = "global_max_pool_backward";
  expect_coordinates(x, who);
  auto const& set = *x.coordinates();
  expects(grad.rows == set.num_batches() && grad.columns == x.channels(), who, ": a gradient of ", grad.rows,
          " x ", grad.columns, " for ", set.num_batches(), " batch entries of ", x.channels(), " channels");
  check_num_entries(set.num_batches(), set.capacity(), "global_max_pool_backward: ");
  auto const winners = reduce_rows(RowOfLargest<Scalar>{x.features().data, x.channels()}, set.data(),
                                   set.row_count(), set.num_batches(), x.channels(), exec);
  Matrix<Scalar, Space> dx{set.capacity(), x.channels(), exec};
  for_each(
      dx.size(),
      GiveToWinners<Dim, Scalar>{set.view(), grad.data, winners.data(), dx.data(), grad.rows, grad.columns},
      exec);
  return dx;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
