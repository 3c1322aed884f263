// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/matrix.hpp>

#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// A matrix in memory that it does not own, whose rows and columns need not be contiguous: element (i, c) is
/// `data[i * row_stride + c * column_stride]`, strides in elements.
///
/// A MatrixView or a Matrix is one by itself. rows_at() makes one of rows that are some bytes apart
/// (PointCloud2, cv::Mat), columns_at() one of a column-major matrix (Eigen).
template <class T>
struct StridedView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;

  StridedView() = default;
  StridedView(T* first, std::int64_t num_rows, std::int64_t num_columns, std::int64_t step_of_rows,
              std::int64_t step_of_columns = 1)
      : data{first},
        rows{num_rows},
        columns{num_columns},
        row_stride{step_of_rows},
        column_stride{step_of_columns}
  {}
  /// Rows that follow each other.
  StridedView(T* first, std::int64_t num_rows, std::int64_t num_columns)
      : StridedView{first, num_rows, num_columns, num_columns}
  {}
  template <class U, class = std::enable_if_t<std::is_same_v<U, T> || std::is_same_v<U const, T>>>
  StridedView(MatrixView<U> const& other)  // NOLINT(google-explicit-constructor)
      : StridedView{other.data, other.rows, other.columns}
  {}
  template <class U, class Space, class = std::enable_if_t<std::is_same_v<U const, T>>>
  StridedView(Matrix<U, Space> const& other)  // NOLINT(google-explicit-constructor)
      : StridedView{other.view()}
  {}

  [[nodiscard]] TESSERA_HOST_DEVICE T& operator()(std::int64_t row, std::int64_t column) const
  {
    return data[row * row_stride + column * column_stride];
  }

  /// Columns [first, first + count). @pre  there are that many
  [[nodiscard]] StridedView columns_from(std::int64_t first, std::int64_t count) const
  {
    return {moved(first * column_stride), rows, count, row_stride, column_stride};
  }
  /// The columns the other way round.
  [[nodiscard]] StridedView reversed_columns() const
  {
    return {moved((columns - 1) * column_stride), rows, columns, row_stride, -column_stride};
  }

 private:
  [[nodiscard]] T* moved(std::int64_t elements) const { return data == nullptr ? data : data + elements; }
};

/// Rows that begin `bytes_per_row` bytes apart, each with `columns` numbers in a row: the x, y, z of a
/// PointCloud2 (`first` at the offset of x, `point_step`), the rows of a cv::Mat (`step`).
///
/// @param first  in either space; read only
/// @throws invalid_argument  rows that are no multiple of sizeof(T) apart or begin at no multiple of it, or
///                           that have no room for the columns
template <class T>
[[nodiscard]] StridedView<T const> rows_at(void const* first, std::int64_t rows, std::int64_t columns,
                                           std::int64_t bytes_per_row)
{
  constexpr auto size = static_cast<std::int64_t>(sizeof(T));
  detail::expects(rows >= 0 && columns >= 0, "rows_at: ", rows, " rows of ", columns, " columns");
  detail::expects(bytes_per_row >= 0 && bytes_per_row % size == 0, "rows_at: rows of ", bytes_per_row,
                  " bytes are no whole number of elements of ", size, " bytes; copy the points");
  detail::expects(columns <= bytes_per_row / size, "rows_at: rows of ", bytes_per_row, " bytes do not hold ",
                  columns, " elements of ", size, " bytes");
  detail::expects(reinterpret_cast<std::uintptr_t>(first) % sizeof(T) == 0, "rows_at: the first element at ",
                  first, " is not aligned to its ", size, " bytes; copy the points");
  return {static_cast<T const*>(first), rows, columns, bytes_per_row / size};
}

/// A column-major matrix, such as Eigen's by default: `columns_at(m.data(), m.rows(), m.cols())`.
/// @param column_stride  elements from a column to the next, at least `rows` (`m.outerStride()`); 0: `rows`
/// @throws invalid_argument  a column stride that has no room for the rows
template <class T>
[[nodiscard]] StridedView<T const> columns_at(T const* first, std::int64_t rows, std::int64_t columns,
                                              std::int64_t column_stride = 0)
{
  detail::expects(rows >= 0 && columns >= 0, "columns_at: ", rows, " rows of ", columns, " columns");
  auto const step = column_stride == 0 ? rows : column_stride;
  detail::expects(step >= rows, "columns_at: columns of ", rows, " rows do not fit ", step, " elements");
  return {first, rows, columns, 1, step};
}

namespace detail {

/// Throws unless a kernel can index the view; `who` begins the sentence, `what` names the view.
template <class T>
void check_view(StridedView<T> const& view, char const* who, char const* what)
{
  expects(view.rows >= 0 && view.columns >= 0, who, what, " of ", view.rows, " rows and ", view.columns,
          " columns");
  if (view.rows == 0 || view.columns == 0) { return; }
  expects(view.data != nullptr, who, what, " of ", view.rows, " rows and ", view.columns,
          " columns at a null pointer");
  constexpr std::int64_t most = std::int64_t{1} << 60;
  auto const fits = [](std::int64_t count, std::int64_t stride) {
    return stride > -most && stride < most && (stride < 0 ? -stride : stride) <= most / count;
  };
  expects(fits(view.rows, view.row_stride) && fits(view.columns, view.column_stride), who, what, " of ",
          view.rows, " rows and ", view.columns, " columns with strides of ", view.row_stride, " and ",
          view.column_stride, " cannot be in memory");
}

/// A column of a view.
template <class T>
struct StridedColumn {
  T const* data;
  std::int64_t stride;

  [[nodiscard]] TESSERA_HOST_DEVICE T operator[](std::int64_t row) const { return data[row * stride]; }
};

/// The columns of `first`, then those of `second`, of the same rows.
template <class T>
struct JoinedColumns {
  StridedView<T const> first;
  StridedView<T const> second;

  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t columns() const { return first.columns + second.columns; }
  [[nodiscard]] TESSERA_HOST_DEVICE StridedColumn<T> column(std::int64_t c) const
  {
    bool const is_first = c < first.columns;
    auto const& view = is_first ? first : second;
    return {view.data + (is_first ? c : c - first.columns) * view.column_stride, view.row_stride};
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
