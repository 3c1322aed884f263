// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/matrix.hpp>
#include <tessera/tensor/point_tensor.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

// What operations of rows see of a SparseTensor, a PointTensor and a Matrix.

template <int Dim, class Scalar, class Space>
[[nodiscard]] MatrixView<Scalar const> rows_of(SparseTensor<Dim, Scalar, Space> const& x)
{
  return x.features();
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] MatrixView<Scalar const> rows_of(PointTensor<Dim, Scalar, Space> const& x)
{
  return x.features();
}
template <class Scalar, class Space>
[[nodiscard]] MatrixView<Scalar const> rows_of(Matrix<Scalar, Space> const& x)
{
  return x.view();
}

/// `rows` in place of those of `x`.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> with_rows(SparseTensor<Dim, Scalar, Space> const& x,
                                                         Matrix<Scalar, Space>&& rows)
{
  return x.with_features(std::move(rows));
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> with_rows(PointTensor<Dim, Scalar, Space> const& x,
                                                        Matrix<Scalar, Space>&& rows)
{
  return x.with_features(std::move(rows));
}
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> with_rows(Matrix<Scalar, Space> const&, Matrix<Scalar, Space>&& rows)
{
  return std::move(rows);
}

/// Throws if the value is a tensor that was made by default.
template <int Dim, class Scalar, class Space>
void expect_rows(SparseTensor<Dim, Scalar, Space> const& x, char const* who)
{
  expect_coordinates(x, who);
}
template <int Dim, class Scalar, class Space>
void expect_rows(PointTensor<Dim, Scalar, Space> const& x, char const* who)
{
  expect_points(x, who);
}
template <class Scalar, class Space>
void expect_rows(Matrix<Scalar, Space> const&, char const*)
{}

/// Rows in use. Waits where the host does not know.
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::int64_t count_rows(SparseTensor<Dim, Scalar, Space> const& x)
{
  return x.coordinates()->num_rows();
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::int64_t count_rows(PointTensor<Dim, Scalar, Space> const& x)
{
  return x.num_points();
}
template <class Scalar, class Space>
[[nodiscard]] std::int64_t count_rows(Matrix<Scalar, Space> const& x)
{
  return x.rows();
}

/// Rows in use, for kernels.
template <int Dim, class Scalar, class Space>
[[nodiscard]] RowCount used_rows(SparseTensor<Dim, Scalar, Space> const& x)
{
  return x.coordinates()->row_count();
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] RowCount used_rows(PointTensor<Dim, Scalar, Space> const& x)
{
  return x.points() != nullptr ? x.points()->row_count() : RowCount{0, nullptr};
}
template <class Scalar, class Space>
[[nodiscard]] RowCount used_rows(Matrix<Scalar, Space> const& x)
{
  return {x.rows(), nullptr};
}

/// Where kernels note what is wrong with the rows, [2]: see DataError. Null of rows that nobody asks about.
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::uint32_t* data_errors(SparseTensor<Dim, Scalar, Space> const& x)
{
  return access(*x.coordinates()).errors();
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::uint32_t* data_errors(PointTensor<Dim, Scalar, Space> const& x)
{
  auto const voxels = x.points() != nullptr ? x.points()->voxels() : nullptr;
  return voxels != nullptr ? access(*voxels).errors() : nullptr;
}
template <class Scalar, class Space>
[[nodiscard]] std::uint32_t* data_errors(Matrix<Scalar, Space> const&)
{
  return nullptr;
}

template <class Value>
struct ScalarOfRows;
template <int Dim, class Scalar, class Space>
struct ScalarOfRows<SparseTensor<Dim, Scalar, Space>> {
  using type = Scalar;
};
template <int Dim, class Scalar, class Space>
struct ScalarOfRows<PointTensor<Dim, Scalar, Space>> {
  using type = Scalar;
};
template <class Scalar, class Space>
struct ScalarOfRows<Matrix<Scalar, Space>> {
  using type = Scalar;
};
/// The scalar of a SparseTensor or a Matrix.
template <class Value>
using scalar_of_rows = typename ScalarOfRows<Value>::type;

}  // namespace detail
}  // namespace v0
}  // namespace tessera
