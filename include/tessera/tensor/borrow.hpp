// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/matrix.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// A coordinate set on rows of the caller's, which are not copied.
///
/// | name        | shape               | memory | holds                                                       |
/// |-------------|---------------------|--------|-------------------------------------------------------------|
/// | coordinates | [num_rows, 1 + Dim] | Space  | (batch, x, y, ...) int32, rows unique; never written; with  |
/// |             |                     |        | three dimensions from a multiple of 16 bytes on             |
/// | owner       |                     | host   | as Buffer::adopt() takes it, or nullptr                     |
///
/// @pre     The rows stay as they are until the owner is released; without one, until work has finished that
///          was enqueued for any set of the coordinate manager, whose maps and tables are kept.
/// @throws  invalid_argument  columns are not 1 + Dim, rows of three dimensions are not aligned to 16 bytes, and
///                            what make_coordinate_set() throws
/// Cost: one pass over the rows when no spatial range is declared.
/// Stream: as make_coordinate_set().
template <int Dim, class Space, class Owner>
[[nodiscard]] CoordinateSetPointer<Dim, Space> borrow_coordinates(
    MatrixView<std::int32_t const> coordinates, Owner owner, Execution<Space> const& exec,
    CoordinateSetOptions<Dim> const& options = {})
{
  static_assert(sizeof(Coordinate<Dim>) == (Dim + 1) * sizeof(std::int32_t));
  auto* const rows = const_cast<std::int32_t*>(coordinates.data);  // sets do not write to their rows
  auto buffer = Buffer<Coordinate<Dim>, Space>::adopt(reinterpret_cast<Coordinate<Dim>*>(rows),
                                                      coordinates.rows, std::move(owner), exec);
  detail::expects(coordinates.columns == Dim + 1, "borrow_coordinates: ", coordinates.columns,
                  " columns, but ", Dim, " dimensions need ", Dim + 1, " (batch first)");
  return make_coordinate_set<Dim>(std::move(buffer), options, exec);
}

/// A tensor on coordinates and features of the caller's, neither of which is copied.
///
/// | name        | shape                | memory | holds                                                      |
/// |-------------|----------------------|--------|------------------------------------------------------------|
/// | coordinates | [num_rows, 1 + Dim]  | Space  | (batch, x, y, ...) int32, rows unique; never written       |
/// | features    | [num_rows, channels] | Space  | any values, from a multiple of 16 bytes on; never written  |
/// | owner       |                      | host   | a shared_ptr or another copyable object that keeps both    |
/// |             |                      |        | alive, or nullptr; one copy is kept with the coordinates   |
/// |             |                      |        | and one with the features                                  |
///
/// The coordinates' owner is released when the last tensor on any set of the manager is gone, that of the
/// features with the last tensor that shares them. Until then, and without an owner until the work has
/// finished that was enqueued with such tensors, the caller keeps both arrays alive and as they are.
///
/// @throws  invalid_argument  the numbers of rows differ, features are not aligned to 16 bytes (copy them: the
///                            constructor of SparseTensor does), and what borrow_coordinates() says
/// Cost: one pass over the coordinates when no spatial range is declared.
/// Stream: as make_coordinate_set().
template <int Dim, class Scalar, class Space, class Owner>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> borrow_tensor(MatrixView<std::int32_t const> coordinates,
                                                             MatrixView<Scalar const> features, Owner owner,
                                                             Execution<Space> const& exec,
                                                             CoordinateSetOptions<Dim> const& options = {})
{
  static_assert(std::is_copy_constructible_v<Owner> && !detail::is_release<Owner>,
                "borrow_tensor: the owner is kept twice, so it is copied and not called: a shared_ptr");
  detail::expects(coordinates.rows == features.rows, "borrow_tensor: ", coordinates.rows, " coordinates but ",
                  features.rows, " rows of features");
  auto* const first = const_cast<Scalar*>(features.data);  // tensors do not write to their features
  Matrix<Scalar, Space> matrix{Buffer<Scalar, Space>::adopt(first, features.size(), owner, exec),
                               features.rows, features.columns};
  return {borrow_coordinates<Dim>(coordinates, std::move(owner), exec, options), std::move(matrix)};
}

}  // namespace v0
}  // namespace tessera
