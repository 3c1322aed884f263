// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/variable.hpp>

#include <cstdint>
#include <utility>

namespace tessera {
inline namespace v0 {

/// A row-major matrix in memory that it does not own.
template <class T>
struct MatrixView {
  T* data = nullptr;  // [rows, columns]
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  MatrixView() = default;
  MatrixView(T* first, std::int64_t num_rows, std::int64_t num_columns)
      : data{first}, rows{num_rows}, columns{num_columns}
  {}
  /// A view to read from one to write to.
  template <class U, class = std::enable_if_t<std::is_same_v<U const, T>>>
  MatrixView(MatrixView<U> const& other)  // NOLINT(google-explicit-constructor)
      : data{other.data}, rows{other.rows}, columns{other.columns}
  {}

  [[nodiscard]] std::int64_t size() const noexcept { return rows * columns; }
};

template <class T, class Space>
class Matrix;
template <int Dim, class Scalar, class Space>
class SparseTensor;
template <int Dim, class Scalar, class Space>
class PointTensor;

namespace detail {

/// Makes a second handle on a matrix's elements, for those that only read them: tensors and records.
struct ShareMatrix {
  template <class T, class Space>
  [[nodiscard]] static Matrix<T, Space> share(Matrix<T, Space> const& matrix)
  {
    return matrix;
  }
  /// The same elements as another variable.
  template <class T, class Space>
  [[nodiscard]] static Matrix<T, Space> alias(Matrix<T, Space> const& matrix)
  {
    auto result = matrix;
    result.storage_ = matrix.storage_.alias();
    return result;
  }
};

}  // namespace detail

/// A row-major matrix [rows, columns] that owns its memory; moves, never copies, and has no rows once moved
/// from.
template <class T, class Space>
class Matrix {
 public:
  Matrix() = default;

  /// Uninitialised. @throws invalid_argument  a negative number of rows or columns
  Matrix(std::int64_t rows, std::int64_t columns, Execution<Space> const& exec)
      : rows_{rows}, columns_{columns}, storage_{Buffer<T, Space>{checked_size(rows, columns), exec}}
  {}
  /// Takes `buffer` of rows * columns elements, also one that was adopted.
  /// @throws invalid_argument  another number of elements, or they do not begin at a multiple of 16 bytes
  Matrix(Buffer<T, Space>&& buffer, std::int64_t rows, std::int64_t columns)
      : rows_{rows}, columns_{columns}, storage_{std::move(buffer)}
  {
    detail::expects(storage_.size() == checked_size(rows, columns), "Matrix: ", rows, " x ", columns,
                    " does not have the ", storage_.size(), " elements given");
    detail::expects(reinterpret_cast<std::uintptr_t>(storage_.data()) % 16 == 0, "Matrix: the address ",
                    static_cast<void const*>(storage_.data()),
                    " is not aligned to 16 bytes, which kernels read at once; copy the elements");
  }

  Matrix(Matrix&& other) noexcept
      : rows_{std::exchange(other.rows_, 0)},
        columns_{std::exchange(other.columns_, 0)},
        storage_{std::move(other.storage_)}
  {}
  Matrix& operator=(Matrix&& other) noexcept
  {
    Matrix moved{std::move(other)};
    std::swap(rows_, moved.rows_);
    std::swap(columns_, moved.columns_);
    std::swap(storage_, moved.storage_);
    return *this;
  }
  ~Matrix() = default;

  [[nodiscard]] T* data() noexcept { return storage_.data(); }
  [[nodiscard]] T const* data() const noexcept { return storage_.data(); }
  [[nodiscard]] std::int64_t rows() const noexcept { return rows_; }
  [[nodiscard]] std::int64_t columns() const noexcept { return columns_; }
  [[nodiscard]] std::int64_t size() const noexcept { return storage_.size(); }
  [[nodiscard]] MatrixView<T> view() noexcept { return {data(), rows_, columns_}; }
  [[nodiscard]] MatrixView<T const> view() const noexcept { return {data(), rows_, columns_}; }
  operator MatrixView<T const>() const noexcept { return view(); }  // NOLINT(google-explicit-constructor)

  /// The identity of the elements, which moves with them; 0 of a matrix made by default or moved from.
  [[nodiscard]] VariableId id() const noexcept { return storage_.id(); }
  /// How often mark_written() was called on these elements.
  [[nodiscard]] std::uint64_t version() const noexcept { return storage_.version(); }
  /// Call it after writing elements that may have been recorded: what was recorded before no longer matches
  /// them.
  void mark_written() const noexcept { storage_.mark_written(); }
  /// The same elements, not copied, as another variable, which no recorder has been told of: gradients stop
  /// at it.
  [[nodiscard]] Matrix detached() const { return detail::ShareMatrix::alias(*this); }

 private:
  friend struct detail::ShareMatrix;
  template <int Dim, class Scalar, class OfSpace>
  friend class SparseTensor;
  template <int Dim, class Scalar, class OfSpace>
  friend class PointTensor;

  Matrix(Matrix const&) = default;  // shares the elements
  Matrix& operator=(Matrix const&) = default;

  static std::int64_t checked_size(std::int64_t rows, std::int64_t columns)
  {
    detail::expects(rows >= 0 && columns >= 0 && (columns == 0 || rows <= INT64_MAX / columns),
                    "Matrix: ", rows, " x ", columns, " elements cannot be allocated");
    return rows * columns;
  }

  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  detail::VariableStorage<T, Space> storage_;
};

/// A matrix in `Space` with the elements of a host vector, row-major. No elements in no columns are a matrix
/// of 0 x 0, such as the features of points that have none.
/// @throws invalid_argument  the elements do not fill rows of so many columns
/// Stream: enqueues one copy; waits only as long as it reads `from`.
template <class T, class Space>
[[nodiscard]] Matrix<T, Space> upload_matrix(std::vector<T> const& from, std::int64_t columns,
                                             Execution<Space> const& exec)
{
  auto const size = static_cast<std::int64_t>(from.size());
  detail::expects(columns >= 1 || (columns == 0 && size == 0), "upload_matrix: ", size,
                  " elements in rows of ", columns, " columns; say how many columns the rows have");
  detail::expects(columns == 0 || size % columns == 0, "upload_matrix: ", size,
                  " elements do not make rows of ", columns);
  return Matrix<T, Space>{upload(from, exec), columns == 0 ? 0 : size / columns, columns};
}

}  // namespace v0
}  // namespace tessera
