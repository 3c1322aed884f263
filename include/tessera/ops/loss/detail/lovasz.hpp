// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/sort.hpp>
#include <tessera/ops/loss/detail/softmax_gradient.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

// Items are (class, row), the classes one after the other. Sorting them by (class, error descending) leaves
// each class its own places, of which those of rows that have no part are the last.

/// Sorts items by a fixed-point key: `class << width | one - error * one`, all ones below the class where a
/// row has no part. Of equal keys the first row comes first; NaN counts as the largest error.
template <class Scalar>
struct SortErrors {
  using Sum = accumulator_t<Scalar>;
  using KeyType = std::uint64_t;
  static constexpr int fraction = sizeof(Sum) == 8 ? 52 : 30;
  static constexpr int width = fraction + 2;
  static constexpr std::uint64_t one = std::uint64_t{1} << fraction;

  ClassRows<Scalar> rows;
  Sum const* p;         // [capacity, classes]
  std::int32_t* order;  // [classes, capacity] the item at each place

  [[nodiscard]] TESSERA_HOST_DEVICE static Sum error(Sum p, bool is_own) { return is_own ? Sum{1} - p : p; }

  [[nodiscard]] TESSERA_HOST_DEVICE std::uint64_t key(std::int64_t item) const
  {
    auto const c = item / rows.rows.capacity;
    auto const row = item - c * rows.rows.capacity;
    auto const of_class = static_cast<std::uint64_t>(c) << width;
    int const y = rows.class_of(row);
    if (y < 0) { return of_class | ((std::uint64_t{1} << width) - 1); }
    auto const e = static_cast<double>(error(p[row * rows.classes + c], y == c));
    if (is_nan(e) || e >= 1) { return of_class; }
    auto const fixed = e > 0 ? static_cast<std::uint64_t>(e * static_cast<double>(one)) : 0;
    return of_class | (one - fixed);
  }
  TESSERA_HOST_DEVICE void store(std::int64_t place, std::uint64_t, std::int32_t item) const
  {
    order[place] = item;
  }
};

/// own[place] = 1 where the row there is of the place's class; one further 0 closes the array.
template <class Scalar>
struct MarkOwn {
  ClassRows<Scalar> rows;
  std::int32_t const* order;  // [classes, capacity]
  std::int32_t* own;          // [classes * capacity + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t place) const
  {
    own[place] = 0;
    if (place >= rows.rows.capacity * rows.classes) { return; }
    auto const c = place / rows.rows.capacity;
    auto const row = order[place] - c * rows.rows.capacity;
    own[place] = rows.class_of(row) == c ? 1 : 0;
  }
};

/// Walks down the errors of each class, largest first. With n rows of the class, b of them before place k,
/// the Jaccard index 1 - (n - b) / (n + k - b) grows by `1 / (n + k - b)` where the row is of the class, else
/// by `(n - b) / ((n + k - b) (n + k - b + 1))`. That growth is the gradient for the error there.
template <class Scalar>
struct LovaszExtension {
  using Sum = accumulator_t<Scalar>;

  ClassRows<Scalar> rows;
  Sum const* p;               // [capacity, classes]
  std::int32_t const* order;  // [classes, capacity]
  std::int32_t const*
      before;     // [classes * capacity + 1] rows of their class before each place, of all classes
  Sum* terms;     // [capacity, classes] error times growth, by place
  Sum* gradient;  // [capacity, classes] for each probability, by row
  bool present_alone;

  TESSERA_HOST_DEVICE void operator()(std::int64_t place) const
  {
    auto const capacity = rows.rows.capacity;
    auto const c = static_cast<int>(place / capacity);
    auto const k = place - c * capacity;
    auto const row = order[place] - c * capacity;
    auto const at = row * rows.classes + c;
    int const y = rows.class_of(row);
    auto const begin = before[c * capacity];
    auto const of_class = static_cast<Sum>(before[(c + 1) * capacity] - begin);
    Sum growth{0};
    if (y >= 0 && (of_class > 0 || !present_alone)) {
      auto const left = of_class - static_cast<Sum>(before[place] - begin);
      auto const either = left + static_cast<Sum>(k);
      if (of_class == 0) {
        growth = k == 0 ? Sum{1} : Sum{0};
      } else {
        growth = y == c ? Sum{1} / either : left / (either * (either + Sum{1}));
      }
    }
    bool const is_own = y == c;
    terms[k * rows.classes + c] = y >= 0 ? SortErrors<Scalar>::error(p[at], is_own) * growth : Sum{0};
    gradient[at] = is_own ? -growth : growth;
  }
};

/// loss = the sum of those of the classes over the number of classes that count; 0 where none does.
template <class Sum>
struct FinishLovasz {
  Sum const* of_class;         // [classes]
  std::int32_t const* before;  // [classes * capacity + 1]
  Sum* loss;                   // [1]
  Sum* counted;                // [1]
  std::int64_t capacity;
  int classes;
  bool present_alone;

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    int count = 0;
    Sum sum{0};
    for (int c = 0; c < classes; ++c) {
      bool const is_present = before[(c + 1) * capacity] > before[c * capacity];
      if (present_alone && !is_present) { continue; }
      ++count;
      sum += of_class[c];
    }
    *counted = static_cast<Sum>(count);
    *loss = count > 0 ? sum / static_cast<Sum>(count) : Sum{0};
  }
};

/// The gradient of the loss for a probability.
template <class Sum>
struct LovaszGradient {
  Sum const* gradient;  // [capacity, classes]
  Sum const* counted;   // [1]
  int classes;

  [[nodiscard]] TESSERA_HOST_DEVICE Sum operator()(std::int64_t row, int, int c, Sum) const
  {
    auto const count = *counted;
    return count > 0 ? gradient[row * classes + c] / count : Sum{0};
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
