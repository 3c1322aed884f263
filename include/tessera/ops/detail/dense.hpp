// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/sort.hpp>
#include <tessera/ops/dense_options.hpp>
#include <tessera/tensor/dense.hpp>

#include <climits>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Throws if voxels of `set` are known to lie outside `range`. What is left for kernels to find are rows that
/// break the set's own range.
template <int Dim, class Space>
void check_inside(CoordinateSet<Dim, Space>& set, SpatialRange<Dim> const& range, char const* who,
                  Execution<Space> const& exec)
{
  auto const within = [&](CoordinateBox<Dim> const& box) {
    bool inside = box.batches <= range.batches;
    for (int i = 0; i < Dim; ++i) { inside = inside && box.lower[i] >= 0 && box.upper[i] < range.extent[i]; }
    return inside || box.empty();
  };
  if (within(set.box())) { return; }
  // A declared range says what there may be, not what there is. Sets without one know their bounds, but may
  // count batch entries without voxels.
  auto const box = gather_bounds(set.view(), exec).box();
  expects(within(box), who, ": voxels in ", box.batches, " batch entries from ", list(box.lower), " to ",
          list(box.upper), " are not all inside the range ", range.batches, " x ", list(range.extent));
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] DenseTensor<Dim, Scalar, Space> dense_unrecorded(SparseTensor<Dim, Scalar, Space> const& x,
                                                               DenseOptions<Dim> const& options,
                                                               Execution<Space> const& exec)
{
  expect_coordinates(x, "dense");
  auto& set = *x.coordinates();
  expects(options.range || set.spatial_range(),
          "dense: the tensor has no spatial range, so one must be given");
  auto const range = options.range ? *options.range : *set.spatial_range();
  static_cast<void>(count_cells(range, x.channels(), "dense"));
  check_inside(set, range, "dense", exec);
  DenseTensor<Dim, Scalar, Space> result{range, x.channels(), options.layout, exec};
  result.set_zero(exec);
  for_each(x.features().size(),
           CopyCells<Dim, Scalar, true>{set.view(), result.indexing(), x.features().data, result.data(),
                                        access(set).errors()},
           exec);
  if constexpr (std::is_same_v<Space, Host>) { set.check(exec); }
  return result;
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sparse_unrecorded(DenseTensor<Dim, Scalar, Space> const& x,
                                                                 IntArray<Dim> const& tensor_stride,
                                                                 Execution<Space> const& exec)
{
  auto const cells = count_cells(x.range(), x.channels(), "sparse");
  Buffer<std::int64_t, Space> place{cells + 1, exec};
  for_each(cells + 1, MarkCells<Dim, Scalar>{x.indexing(), x.data(), cells, place.data()}, exec);
  Scan<Space>::exclusive(place.data(), place.data(), cells + 1, exec);
  auto const num_rows = download(place.data() + cells, 1, exec)[0];
  expects(num_rows <= INT_MAX, "sparse: ", num_rows, " voxels are more than row indices hold");
  Buffer<Coordinate<Dim>, Space> rows{num_rows, exec};
  Matrix<Scalar, Space> features{num_rows, x.channels(), exec};
  for_each(cells,
           CollectCells<Dim, Scalar>{x.indexing(), x.data(), place.data(), rows.data(), features.data()},
           exec);
  CoordinateSetOptions<Dim> const options{tensor_stride, x.range()};
  return {CoordinateSet<Dim, Space>::make({std::move(rows)}, options, exec), std::move(features)};
}

/// features[row, c] = dense[coordinate of row, c], 0 in rows that are not in use.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> gather_cells(CoordinateSet<Dim, Space>& set, DenseShape<Dim> const& shape,
                                                 Scalar const* dense, Execution<Space> const& exec)
{
  Matrix<Scalar, Space> features{set.capacity(), shape.channels, exec};
  for_each(features.size(),
           CopyCells<Dim, Scalar, false>{set.view(), shape, features.data(), dense, access(set).errors()},
           exec);
  return features;
}

/// The gradient of gather_cells() for the dense tensor, [1, size].
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> scatter_cells(MatrixView<Scalar const> const& features,
                                                  CoordinateSet<Dim, Space>& set,
                                                  DenseShape<Dim> const& shape, char const* who,
                                                  Execution<Space> const& exec)
{
  expects(features.rows == set.capacity() && features.columns == shape.channels, who, ": a gradient of ",
          features.rows, " x ", features.columns, " for ", set.capacity(), " rows of ", shape.channels,
          " channels");
  auto const cells = count_cells(shape.range, shape.channels, who);
  Buffer<Scalar, Space> dense{cells * shape.channels, exec};
  fill_bytes(dense, 0, exec);
  for_each(features.size(),
           CopyCells<Dim, Scalar, true>{set.view(), shape, features.data, dense.data(), access(set).errors()},
           exec);
  return {std::move(dense), 1, cells * shape.channels};
}

/// The gradient of dense(): @param grad  [1, size], from which the channels of `x` follow
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> dense_gradient(MatrixView<Scalar const> const& grad,
                                                   SparseTensor<Dim, Scalar, Space> const& x,
                                                   DenseOptions<Dim> const& options,
                                                   Execution<Space> const& exec)
{
  constexpr auto const* who = "dense_backward";
  expect_coordinates(x, who);
  auto& set = *x.coordinates();
  expects(options.range || set.spatial_range(), who,
          ": the tensor has no spatial range, so one must be given");
  auto const range = options.range ? *options.range : *set.spatial_range();
  auto const cells = count_cells(range, 1, who);
  expects(grad.size() % cells == 0, who, ": a gradient of ", grad.size(), " elements for ", cells, " cells");
  return gather_cells(set, {range, grad.size() / cells, options.layout}, grad.data, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> gather_from_dense_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, DenseTensor<Dim, Scalar, Space> const& from,
    Execution<Space> const& exec)
{
  expect_coordinates(x, "gather_from_dense");
  auto& set = *x.coordinates();
  check_inside(set, from.range(), "gather_from_dense", exec);
  auto features = gather_cells(set, from.indexing(), from.data(), exec);
  if constexpr (std::is_same_v<Space, Host>) { set.check(exec); }
  return x.with_features(std::move(features));
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
