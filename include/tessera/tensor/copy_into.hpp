// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/matrix.hpp>
#include <tessera/tensor/dense.hpp>
#include <tessera/tensor/detail/copy_rows.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Memory of the caller's for a tensor, in the tensor's space; what is left out is not written.
template <class Scalar>
struct TensorDestination {
  MatrixView<Scalar> features{};           ///< [rows, channels]
  MatrixView<std::int32_t> coordinates{};  ///< [rows, 1 + Dim]
  std::int32_t* num_rows = nullptr;        ///< [1] rows in use
};

namespace detail {

/// to[0] = rows in use.
struct StoreNumRows {
  RowCount rows;
  std::int32_t* to;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const { *to = static_cast<std::int32_t>(rows.size()); }
};

}  // namespace detail

/// Copies the rows in use to the caller's memory, whose further rows stay as they are.
///
/// | name | shape                | memory | holds                                                                |
/// |------|----------------------|--------|----------------------------------------------------------------------|
/// | x    | [capacity, channels] | Space  | a tensor                                                             |
/// | to   | [rows, ...]          | Space  | see TensorDestination; room for x.capacity() rows, apart from x      |
///
/// @throws invalid_argument  no coordinates, too few rows, or another number of columns
/// Cost: one copy of what is asked for.
/// Stream: enqueues a copy or a kernel for each, does not wait, not even where only the space knows the number
/// of rows.
/// Determinism: the same bits.
template <int Dim, class Scalar, class Space>
void copy_into(SparseTensor<Dim, Scalar, Space> const& x, TensorDestination<Scalar> const& to,
               Execution<Space> const& exec)
{
  detail::expect_coordinates(x, "copy_into");
  auto const check = [&](auto const& view, std::int64_t columns, char const* what) {
    if (view.data == nullptr) { return; }
    detail::expects(view.columns == columns && view.rows >= x.capacity(), "copy_into: ", what, " of ",
                    view.rows, " x ", view.columns, " have no room for ", x.capacity(), " x ", columns);
  };
  check(to.features, x.channels(), "features");
  check(to.coordinates, Dim + 1, "coordinates");
  auto const rows = x.coordinates()->row_count();
  auto const copy = [&](auto const* from, auto* into, std::int64_t row_bytes) {
    if (into != nullptr) { detail::copy_rows_in_use(from, into, rows, row_bytes, exec); }
  };
  copy(x.features().data, to.features.data, x.channels() * std::int64_t{sizeof(Scalar)});
  copy(x.coordinates()->data(), to.coordinates.data, std::int64_t{sizeof(Coordinate<Dim>)});
  if (to.num_rows != nullptr) { for_each(1, detail::StoreNumRows{rows, to.num_rows}, exec); }
}

/// Copies the features alone.
template <int Dim, class Scalar, class Space>
void copy_into(SparseTensor<Dim, Scalar, Space> const& x, MatrixView<Scalar> features,
               Execution<Space> const& exec)
{
  copy_into(x, TensorDestination<Scalar>{features}, exec);
}

/// Copies a dense tensor to `size` elements of the caller's, in the order of its layout.
/// @throws invalid_argument  `size` is not that of the tensor, or `to` is null
/// Cost: one copy.
/// Stream: enqueues it, does not wait.
/// Determinism: the same bits.
template <int Dim, class Scalar, class Space>
void copy_into(DenseTensor<Dim, Scalar, Space> const& x, Scalar* to, std::int64_t size,
               Execution<Space> const& exec)
{
  detail::expects(size == x.size() && (to != nullptr || size == 0), "copy_into: a dense tensor of ", x.size(),
                  " elements and a destination of ", size, " at ", static_cast<void const*>(to));
  detail::Transfer<Space>::copy(to, x.data(), static_cast<std::size_t>(size) * sizeof(Scalar), exec);
}

}  // namespace v0
}  // namespace tessera
