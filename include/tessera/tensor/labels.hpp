// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>

#include <climits>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// to[row] = where the largest element of the row is.
template <class Scalar>
struct FindLargest {
  Scalar const* values;  // [rows, columns]
  std::int32_t columns;
  std::int32_t* to;  // [rows]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    using Value = accumulator_t<Scalar>;
    auto const* const own = values + row * columns;
    std::int32_t best = -1;
    Value largest{};
    for (std::int32_t c = 0; c < columns; ++c) {
      auto const value = static_cast<Value>(own[c]);
      if (!is_nan(value) && (best < 0 || value > largest)) {
        best = c;
        largest = value;
      }
    }
    to[row] = best;
  }
};

/// to[i] = from[index[i]], or `none` where there is no such row.
template <class T>
struct GatherValues {
  T const* from;  // [num_rows]
  std::int64_t num_rows;
  std::int32_t const* index;  // [count]
  T none;
  T* to;  // [count]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const row = index[i];
    to[i] = row >= 0 && row < num_rows ? from[row] : none;
  }
};

}  // namespace detail

/// The column of each row's largest element: labels of logits.
///
/// | name    | shape           | memory | holds                                                     |
/// |---------|-----------------|--------|-----------------------------------------------------------|
/// | x       | [rows, columns] | Space  | any values                                                |
/// | returns | [rows]          | Space  | 0 to columns - 1; -1 where every element is NaN           |
///
/// Of equal elements the first counts; NaN is never the largest.
/// @throws invalid_argument  2^31 columns or more
/// Cost: one pass.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same labels.
template <class Element, class Space>
[[nodiscard]] Buffer<std::int32_t, Space> argmax(MatrixView<Element> x, Execution<Space> const& exec)
{
  detail::expects(x.columns <= INT_MAX, "argmax: ", x.columns, " columns");
  Buffer<std::int32_t, Space> result{x.rows, exec};
  using Body = detail::FindLargest<std::remove_const_t<Element>>;
  for_each(x.rows, Body{x.data, static_cast<std::int32_t>(x.columns), result.data()}, exec);
  return result;
}

/// `result[i] = from[index[i]]`, or `none` where the index is negative or no row of `from`: labels of points
/// from those of their voxels, `gather(labels, voxels.inverse, -1, exec)`.
///
/// Cost: one pass.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same result.
template <class T, class Space>
[[nodiscard]] Buffer<T, Space> gather(Buffer<T, Space> const& from, Buffer<std::int32_t, Space> const& index,
                                      T none, Execution<Space> const& exec)
{
  Buffer<T, Space> result{index.size(), exec};
  for_each(index.size(), detail::GatherValues<T>{from.data(), from.size(), index.data(), none, result.data()},
           exec);
  return result;
}

}  // namespace v0
}  // namespace tessera
