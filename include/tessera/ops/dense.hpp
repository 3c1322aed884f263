// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/sort.hpp>
#include <tessera/ops/record.hpp>
#include <tessera/tensor/dense.hpp>

#include <climits>
#include <memory>
#include <optional>
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

}  // namespace detail

/// How dense() lays out; without a range that of the tensor is taken.
template <int Dim>
struct DenseOptions {
  std::optional<SpatialRange<Dim>> range;
  DenseLayout layout = DenseLayout::channels_last;
};

namespace detail {

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

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> gather_from_dense_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, DenseTensor<Dim, Scalar, Space> const& from,
    Execution<Space> const& exec)
{
  expect_coordinates(x, "gather_from_dense");
  auto& set = *x.coordinates();
  check_inside(set, from.range(), "gather_from_dense", exec);
  Matrix<Scalar, Space> features{x.capacity(), from.channels(), exec};
  for_each(features.size(),
           CopyCells<Dim, Scalar, false>{set.view(), from.indexing(), features.data(), from.data(),
                                         access(set).errors()},
           exec);
  if constexpr (std::is_same_v<Space, Host>) { set.check(exec); }
  return x.with_features(std::move(features));
}

}  // namespace detail

namespace ops {

/// `y = dense(x)`.
template <int Dim, class Scalar, class Space>
struct DenseRecord final : FunctionRecord<DenseRecord<Dim, Scalar, Space>, Space,
                                          DenseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using DenseRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "dense"; }
  [[nodiscard]] DenseTensor<Dim, Scalar, Space> compute(SparseTensor<Dim, Scalar, Space> const& x,
                                                        Execution<Space> const& exec) const
  {
    return detail::dense_unrecorded(x, options, exec);
  }

  DenseOptions<Dim> options;
};

/// `y = sparse(x)`.
template <int Dim, class Scalar, class Space>
struct SparseRecord final
    : FunctionRecord<SparseRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     DenseTensor<Dim, Scalar, Space>> {
  using SparseRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "sparse"; }
  [[nodiscard]] SparseTensor<Dim, Scalar, Space> compute(DenseTensor<Dim, Scalar, Space> const& x,
                                                         Execution<Space> const& exec) const
  {
    return detail::sparse_unrecorded(x, tensor_stride, exec);
  }

  IntArray<Dim> tensor_stride = IntArray<Dim>(1);
};

/// `y = gather_from_dense(x, from)`; of `x` the voxels count alone.
template <int Dim, class Scalar, class Space>
struct GatherFromDenseRecord final
    : FunctionRecord<GatherFromDenseRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, DenseTensor<Dim, Scalar, Space>> {
  using GatherFromDenseRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "gather_from_dense"; }
  [[nodiscard]] SparseTensor<Dim, Scalar, Space> compute(SparseTensor<Dim, Scalar, Space> const& x,
                                                         DenseTensor<Dim, Scalar, Space> const& from,
                                                         Execution<Space> const& exec) const
  {
    return detail::gather_from_dense_unrecorded(x, from, exec);
  }
};

}  // namespace ops

/// `dense[b, x, y, ..., c] = features[row of (b, x, y, ...), c]`, zero where there is no voxel.
///
/// @throws invalid_argument  neither the tensor nor the options have a range; a voxel lies outside it; the
///                           elements are too many for 63 bits
/// Cost: a fill of all elements and one pass over the features.
/// Stream: enqueues a fill and a kernel; waits only where the range asked for is smaller than the tensor's
/// bounds. A row that breaks the tensor's own range is left out and reported where the host next waits.
/// Determinism: same input, same bits.
/// Source: TorchSparse's to_dense, which does not check.
template <int Dim, class Scalar, class Space>
[[nodiscard]] DenseTensor<Dim, Scalar, Space> dense(SparseTensor<Dim, Scalar, Space> const& x,
                                                    DenseOptions<Dim> const& options,
                                                    Execution<Space> const& exec)
{
  using Record = ops::DenseRecord<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::dense_unrecorded(x, options, inside); },
      [&](auto const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<DenseTensor<Dim, Scalar, Space>>{y},
                                               ops::Recorded<SparseTensor<Dim, Scalar, Space>>{x});
        record->options = options;
        return record;
      });
}

/// The same on the tensor's own spatial range, channels last.
template <int Dim, class Scalar, class Space>
[[nodiscard]] DenseTensor<Dim, Scalar, Space> dense(SparseTensor<Dim, Scalar, Space> const& x,
                                                    Execution<Space> const& exec)
{
  return dense(x, DenseOptions<Dim>{}, exec);
}

/// The cells of which a channel is not zero, as voxels in lexicographic order (batch, x, y, ...); undoes
/// dense() but for voxels whose channels are all zero. NaN is not zero. The result has the grid as its range.
///
/// @throws invalid_argument  2^31 voxels or more, tensor stride below 1
/// Cost: 8 bytes and two passes per cell.
/// Stream: enqueues on `exec`; waits once, for the number of voxels.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sparse(DenseTensor<Dim, Scalar, Space> const& x,
                                                      IntArray<Dim> const& tensor_stride,
                                                      Execution<Space> const& exec)
{
  using Record = ops::SparseRecord<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::sparse_unrecorded(x, tensor_stride, inside); },
      [&](auto const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<SparseTensor<Dim, Scalar, Space>>{y},
                                               ops::Recorded<DenseTensor<Dim, Scalar, Space>>{x});
        record->tensor_stride = tensor_stride;
        return record;
      });
}

/// The same at tensor stride 1.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sparse(DenseTensor<Dim, Scalar, Space> const& x,
                                                      Execution<Space> const& exec)
{
  return sparse(x, IntArray<Dim>(1), exec);
}

/// What a dense tensor holds at the voxels of `x`: `features[row, c] = dense[coordinate of row, c]`, on x's
/// coordinates; the gradient of dense().
///
/// @throws invalid_argument  a voxel lies outside the dense tensor
/// Cost: one pass over the features.
/// Stream: as dense(), but for the fill.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> gather_from_dense(SparseTensor<Dim, Scalar, Space> const& x,
                                                                 DenseTensor<Dim, Scalar, Space> const& from,
                                                                 Execution<Space> const& exec)
{
  using Record = ops::GatherFromDenseRecord<Dim, Scalar, Space>;
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::gather_from_dense_unrecorded(x, from, inside); },
      [&](Tensor const& y) {
        return std::make_shared<Record>(ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{x},
                                        ops::Recorded<DenseTensor<Dim, Scalar, Space>>{from});
      });
}

}  // namespace v0
}  // namespace tessera
