// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/sort.hpp>
#include <tessera/tensor/detail/dense_cells.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <climits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

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

template <int Dim, class Scalar, class Space = Device>
class DenseTensor;

namespace detail {

/// Makes a second handle on a dense tensor's values, for records, which only read them.
struct ShareDense {
  template <int Dim, class Scalar, class Space>
  [[nodiscard]] static DenseTensor<Dim, Scalar, Space> share(DenseTensor<Dim, Scalar, Space> const& tensor)
  {
    return tensor;
  }
};

}  // namespace detail

/// A value for every cell of a grid, zero where there is no voxel; moves, never copies, and has no cells and
/// no channels once moved from.
template <int Dim, class Scalar, class Space>
class DenseTensor {
 public:
  /// Uninitialised.
  /// @throws invalid_argument  a range below 1 on an axis, channels below 0, or too many elements
  DenseTensor(SpatialRange<Dim> const& range, int channels, DenseLayout layout, Execution<Space> const& exec)
      : shape_{range, channels, layout},
        values_{Buffer<Scalar, Space>{detail::count_cells(range, channels, "DenseTensor") * channels, exec}}
  {}

  DenseTensor(DenseTensor&& other) noexcept
      : shape_{std::exchange(other.shape_, {{0, IntArray<Dim>(0)}, 0, other.shape_.layout})},
        values_{std::move(other.values_)}
  {}
  DenseTensor& operator=(DenseTensor&& other) noexcept
  {
    DenseTensor moved{std::move(other)};
    std::swap(shape_, moved.shape_);
    std::swap(values_, moved.values_);
    return *this;
  }

  [[nodiscard]] Scalar* data() noexcept { return values_.data(); }
  [[nodiscard]] Scalar const* data() const noexcept { return values_.data(); }
  [[nodiscard]] std::int64_t size() const noexcept { return values_.size(); }
  [[nodiscard]] SpatialRange<Dim> const& range() const noexcept { return shape_.range; }
  [[nodiscard]] int channels() const noexcept { return static_cast<int>(shape_.channels); }
  [[nodiscard]] DenseLayout layout() const noexcept { return shape_.layout; }

  /// Extents of all axes in the order of the layout.
  [[nodiscard]] std::vector<std::int64_t> shape() const
  {
    std::vector<std::int64_t> result(shape_.range.extent.begin(), shape_.range.extent.end());
    bool const last = layout() == DenseLayout::channels_last;
    result.insert(last ? result.end() : result.begin(), shape_.channels);
    result.insert(result.begin(), shape_.range.batches);
    return result;
  }

  /// Zeros everywhere.
  /// Stream: enqueues one fill.
  void set_zero(Execution<Space> const& exec)
  {
    auto const bytes = static_cast<std::size_t>(size()) * sizeof(Scalar);
    detail::Transfer<Space>::fill_bytes(data(), 0, bytes, exec);
  }

  /// The identity of the values, which moves with them; 0 once moved from.
  [[nodiscard]] VariableId id() const noexcept { return values_.id(); }
  /// How often mark_written() was called on these values.
  [[nodiscard]] std::uint64_t version() const noexcept { return values_.version(); }
  /// To be called by whoever writes values that a recorder may have been told of.
  void mark_written() const noexcept { values_.mark_written(); }

  /// For kernels.
  [[nodiscard]] detail::DenseShape<Dim> const& indexing() const noexcept { return shape_; }

 private:
  friend struct detail::ShareDense;

  DenseTensor(DenseTensor const&) = default;  // shares the values
  DenseTensor& operator=(DenseTensor const&) = default;

  detail::DenseShape<Dim> shape_;
  detail::VariableStorage<Scalar, Space> values_;
};

/// How dense() lays out; without a range that of the tensor is taken.
template <int Dim>
struct DenseOptions {
  std::optional<SpatialRange<Dim>> range;
  DenseLayout layout = DenseLayout::channels_last;
};

/// `dense[b, x, y, ..., c] = features[row of (b, x, y, ...), c]`, zero where there is no voxel.
///
/// @throws invalid_argument  neither the tensor nor the options have a range; a voxel lies outside it; the
///                           elements are too many for 63 bits
/// Cost: a fill of all elements and one pass over the features.
/// Stream: enqueues a fill and a kernel; waits only where the range asked for is smaller than the tensor's
/// bounds. A row that breaks the tensor's own range is left out and reported where the host next waits.
/// Determinism: same input, same bits. Source: TorchSparse's to_dense, which does not check.
template <int Dim, class Scalar, class Space>
[[nodiscard]] DenseTensor<Dim, Scalar, Space> dense(SparseTensor<Dim, Scalar, Space> const& x,
                                                    DenseOptions<Dim> const& options,
                                                    Execution<Space> const& exec)
{
  detail::expect_coordinates(x, "dense");
  auto& set = *x.coordinates();
  detail::expects(options.range || set.spatial_range(),
                  "dense: the tensor has no spatial range, so one must be given");
  auto const range = options.range ? *options.range : *set.spatial_range();
  static_cast<void>(detail::count_cells(range, x.channels(), "dense"));
  detail::check_inside(set, range, "dense", exec);
  DenseTensor<Dim, Scalar, Space> result{range, x.channels(), options.layout, exec};
  result.set_zero(exec);
  for_each(x.features().size(),
           detail::CopyCells<Dim, Scalar, true>{set.view(), result.indexing(), x.features().data,
                                                result.data(), set.errors()},
           exec);
  if constexpr (std::is_same_v<Space, Host>) { set.check(exec); }
  return result;
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
/// Cost: 8 bytes and two passes a cell. Stream: enqueues on `exec`; waits once, for the number of voxels.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sparse(DenseTensor<Dim, Scalar, Space> const& x,
                                                      IntArray<Dim> const& tensor_stride,
                                                      Execution<Space> const& exec)
{
  auto const cells = detail::count_cells(x.range(), x.channels(), "sparse");
  Buffer<std::int64_t, Space> place{cells + 1, exec};
  for_each(cells + 1, detail::MarkCells<Dim, Scalar>{x.indexing(), x.data(), cells, place.data()}, exec);
  detail::Scan<Space>::exclusive(place.data(), place.data(), cells + 1, exec);
  auto const num_rows = download(place.data() + cells, 1, exec)[0];
  detail::expects(num_rows <= INT_MAX, "sparse: ", num_rows, " voxels are more than row indices hold");
  Buffer<Coordinate<Dim>, Space> rows{num_rows, exec};
  Matrix<Scalar, Space> features{num_rows, x.channels(), exec};
  for_each(
      cells,
      detail::CollectCells<Dim, Scalar>{x.indexing(), x.data(), place.data(), rows.data(), features.data()},
      exec);
  CoordinateSetOptions<Dim> const options{tensor_stride, x.range()};
  return {CoordinateSet<Dim, Space>::make({std::move(rows)}, options, exec), std::move(features)};
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
/// Cost: one pass over the features. Stream: as dense(), but for the fill. Determinism: same input, same
/// bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> gather_from_dense(SparseTensor<Dim, Scalar, Space> const& x,
                                                                 DenseTensor<Dim, Scalar, Space> const& from,
                                                                 Execution<Space> const& exec)
{
  detail::expect_coordinates(x, "gather_from_dense");
  auto& set = *x.coordinates();
  detail::check_inside(set, from.range(), "gather_from_dense", exec);
  Matrix<Scalar, Space> features{x.capacity(), from.channels(), exec};
  for_each(features.size(),
           detail::CopyCells<Dim, Scalar, false>{set.view(), from.indexing(), features.data(), from.data(),
                                                 set.errors()},
           exec);
  if constexpr (std::is_same_v<Space, Host>) { set.check(exec); }
  return x.with_features(std::move(features));
}

}  // namespace v0
}  // namespace tessera
