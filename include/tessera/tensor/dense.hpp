// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/sort.hpp>
#include <tessera/tensor/detail/dense_cells.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <climits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
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

  /// Takes `values` of all cells and channels, also ones that were adopted.
  /// @throws invalid_argument  as above; another number of elements, or they do not begin at a multiple of 16
  ///                           bytes
  DenseTensor(Buffer<Scalar, Space>&& values, SpatialRange<Dim> const& range, int channels,
              DenseLayout layout)
      : shape_{range, channels, layout}, values_{std::move(values)}
  {
    auto const count = detail::count_cells(range, channels, "DenseTensor") * channels;
    detail::expects(values_.size() == count, "DenseTensor: ", count, " elements, but ", values_.size(),
                    " are given");
    detail::expects(reinterpret_cast<std::uintptr_t>(values_.data()) % 16 == 0, "DenseTensor: the address ",
                    static_cast<void const*>(values_.data()),
                    " is not aligned to 16 bytes, which kernels read at once; copy the elements");
  }

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

  /// Zeros everywhere; counts as a write.
  /// Stream: enqueues one fill.
  void set_zero(Execution<Space> const& exec)
  {
    auto const bytes = static_cast<std::size_t>(size()) * sizeof(Scalar);
    detail::Transfer<Space>::fill_bytes(data(), 0, bytes, exec);
    mark_written();
  }

  /// The identity of the values, which moves with them; 0 once moved from.
  [[nodiscard]] VariableId id() const noexcept { return values_.id(); }
  /// How often mark_written() was called on these values.
  [[nodiscard]] std::uint64_t version() const noexcept { return values_.version(); }
  /// Call it after writing values that may have been recorded.
  void mark_written() const noexcept { values_.mark_written(); }
  /// The same values, not copied, as another variable: see SparseTensor::detached().
  [[nodiscard]] DenseTensor detached() const
  {
    auto result = *this;
    result.values_ = values_.alias();
    return result;
  }

  /// For kernels.
  [[nodiscard]] detail::DenseShape<Dim> const& indexing() const noexcept { return shape_; }

 private:
  friend struct detail::ShareDense;

  DenseTensor(DenseTensor const&) = default;  // shares the values
  DenseTensor& operator=(DenseTensor const&) = default;

  detail::DenseShape<Dim> shape_;
  detail::VariableStorage<Scalar, Space> values_;
};

}  // namespace v0
}  // namespace tessera
