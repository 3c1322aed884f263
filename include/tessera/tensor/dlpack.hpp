// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/matrix.hpp>
#include <tessera/tensor/borrow.hpp>
#include <tessera/tensor/dense.hpp>
#include <tessera/tensor/detail/dlpack_array.hpp>
#include <tessera/tensor/dlpack_types.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <climits>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Arrays of other libraries (PyTorch, JAX, CuPy, NumPy, TVM) without a copy, by DLPack.
///
/// What is imported is `DLManagedTensorVersioned*` or `DLManagedTensor*`, of <dlpack/dlpack.h> or of
/// tensor/dlpack_types.hpp. An import takes the tensor: its deleter is called exactly once, when the last
/// object that uses its memory is gone, or before the import throws. The host does not wait for that, so the
/// deleter must free in the order of the execution's stream, as PyTorch's does on its current stream.
///
/// Every import throws invalid_argument for a version other than 1 (of which nothing else is read), another
/// element type, number of axes, device type or device, strides that are not row-major without gaps (none at
/// all are row-major), memory that is not aligned, and tensors that are read-only where the result is not.
///
/// An export is valid for work that is ordered after what the execution's stream has been given so far; the
/// consumer must order its own. The memory goes back to its resource, which must still be there, when the
/// consumer calls the deleter, on any thread.
namespace dlpack {

/// A matrix [rows, columns] of another library's.
/// @throws invalid_argument  as above; read-only, or not aligned to 16 bytes
/// Cost: a small allocation on the host.
/// Stream: enqueues nothing.
template <class T, class Space, class Managed>
[[nodiscard]] Matrix<T, Space> import_matrix(Managed* tensor, Execution<Space> const& exec)
{
  auto array = detail::import_dlpack<T>(tensor, 2, true, "dlpack::import_matrix", exec);
  return {std::move(array.elements), array.shape[0], array.shape[1]};
}

/// A coordinate set on rows of another library's: int32 [num_rows, 1 + Dim], (batch, x, y, ...), unique.
/// @pre  the rows do not change while the set lives
/// @throws invalid_argument  as above, and what borrow_coordinates() throws
/// Cost, stream: as borrow_coordinates().
template <int Dim, class Space, class Managed>
[[nodiscard]] CoordinateSetPointer<Dim, Space> import_coordinates(
    Managed* tensor, Execution<Space> const& exec, CoordinateSetOptions<Dim> const& options = {})
{
  auto array = detail::import_dlpack<std::int32_t>(tensor, 2, false, "dlpack::import_coordinates", exec);
  MatrixView<std::int32_t const> const view{array.elements.data(), array.shape[0], array.shape[1]};
  using Elements = decltype(array.elements);
  return borrow_coordinates<Dim>(view, std::make_unique<Elements>(std::move(array.elements)), exec, options);
}

/// A tensor on `coordinates` with features of another library's, [capacity, channels], which may be read-only.
/// @pre  the features do not change while tensors share them, or mark_written() is called
/// @throws invalid_argument  as above; the numbers of rows differ; not aligned to 16 bytes
/// Cost: a small allocation on the host.
/// Stream: enqueues nothing.
template <class Scalar, int Dim, class Space, class Managed>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> import_features(
    CoordinateSetPointer<Dim, Space> const& coordinates, Managed* tensor, Execution<Space> const& exec)
{
  auto array = detail::import_dlpack<Scalar>(tensor, 2, false, "dlpack::import_features", exec);
  return {coordinates, Matrix<Scalar, Space>{std::move(array.elements), array.shape[0], array.shape[1]}};
}

/// A tensor on coordinates and features of another library's; takes both, also where it throws.
/// @throws invalid_argument  what import_coordinates() and import_features() throw
/// Cost, stream: as import_coordinates().
template <int Dim, class Scalar, class Space, class ManagedCoordinates, class ManagedFeatures>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> import_tensor(ManagedCoordinates* coordinates,
                                                             ManagedFeatures* features,
                                                             Execution<Space> const& exec,
                                                             CoordinateSetOptions<Dim> const& options = {})
{
  Handle<ManagedFeatures> kept{features};
  auto const set = import_coordinates<Dim>(coordinates, exec, options);
  return import_features<Scalar>(set, kept.release(), exec);
}

/// A dense tensor of another library's, of shape [batches, x, y, ..., channels] or, channels first,
/// [batches, channels, x, y, ...].
/// @throws invalid_argument  as above; read-only, not aligned to 16 bytes, or what DenseTensor says
/// Cost: a small allocation on the host.
/// Stream: enqueues nothing.
template <int Dim, class Scalar, class Space, class Managed>
[[nodiscard]] DenseTensor<Dim, Scalar, Space> import_dense(Managed* tensor, DenseLayout layout,
                                                           Execution<Space> const& exec)
{
  auto array = detail::import_dlpack<Scalar>(tensor, Dim + 2, true, "dlpack::import_dense", exec);
  for (auto const extent : array.shape) {
    detail::expects(extent <= INT_MAX, "dlpack::import_dense: the shape ", detail::list(array.shape));
  }
  auto const at = [&](int axis) { return static_cast<int>(array.shape[static_cast<std::size_t>(axis)]); };
  bool const last = layout == DenseLayout::channels_last;
  SpatialRange<Dim> range;
  range.batches = at(0);
  for (int i = 0; i < Dim; ++i) { range.extent[i] = at(last ? i + 1 : i + 2); }
  return {std::move(array.elements), range, at(last ? Dim + 1 : 1), layout};
}

/// Hands a matrix to another library, which may write to it: what was recorded of its elements counts as written.
/// Cost: a small allocation on the host.
/// Stream: enqueues nothing.
template <class Managed = ManagedTensorVersioned, class T, class Space>
[[nodiscard]] Handle<Managed> export_matrix(Matrix<T, Space>&& matrix, Execution<Space> const& exec)
{
  matrix.mark_written();
  auto const* const data = matrix.data();
  std::vector<std::int64_t> shape{matrix.rows(), matrix.columns()};
  return detail::export_dlpack<Managed>(data, std::move(shape), std::move(matrix), true, exec);
}

/// The features of a tensor for another library: [num_rows, channels], read-only, since tensors share them.
/// Cost: a small allocation on the host.
/// Stream: enqueues nothing; waits where only the space knows the number of rows.
template <class Managed = ManagedTensorVersioned, int Dim, class Scalar, class Space>
[[nodiscard]] Handle<Managed> export_features(SparseTensor<Dim, Scalar, Space> const& x,
                                              Execution<Space> const& exec)
{
  return detail::export_dlpack<Managed>(x.features().data, {x.num_rows(), x.channels()}, x, false, exec);
}

/// The coordinates of a set for another library: int32 [num_rows, 1 + Dim], (batch, x, y, ...), read-only.
/// @throws invalid_argument  the pointer is null
/// Cost: a small allocation on the host.
/// Stream: as export_features().
template <class Managed = ManagedTensorVersioned, int Dim, class Space>
[[nodiscard]] Handle<Managed> export_coordinates(CoordinateSetPointer<Dim, Space> const& coordinates,
                                                 Execution<Space> const& exec)
{
  detail::expects(coordinates != nullptr, "dlpack::export_coordinates: no coordinates");
  auto const* const rows = reinterpret_cast<std::int32_t const*>(coordinates->data());
  return detail::export_dlpack<Managed>(rows, {coordinates->num_rows(), Dim + 1}, coordinates, false, exec);
}

/// Hands a dense tensor to another library, which may write to it, as export_matrix() does; the axes are those of
/// shape().
/// Cost: a small allocation on the host.
/// Stream: enqueues nothing.
template <class Managed = ManagedTensorVersioned, int Dim, class Scalar, class Space>
[[nodiscard]] Handle<Managed> export_dense(DenseTensor<Dim, Scalar, Space>&& x, Execution<Space> const& exec)
{
  x.mark_written();
  auto const* const data = x.data();
  auto shape = x.shape();
  return detail::export_dlpack<Managed>(data, std::move(shape), std::move(x), true, exec);
}

}  // namespace dlpack
}  // namespace v0
}  // namespace tessera
