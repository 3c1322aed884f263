// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/hash/coordinate_table.hpp>

#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Features on the voxels of a coordinate set: row i of the features belongs to row i of the coordinates.
///
/// A value that is cheap to copy: copies share coordinates and features, neither of which ever changes.
/// Layers make new tensors; layers that keep the coordinates share the set and with it every map.
///
/// @tparam Dim     1 to 6 spatial axes
/// @tparam Scalar  float, double, __half or __nv_bfloat16
/// @tparam Space   Device (default) or Host
template <int Dim, class Scalar, class Space = Device>
class SparseTensor {
  static_assert(Dim >= 1 && Dim <= 6, "SparseTensor: Dim must be 1 to 6");
  static_assert(
      ScalarTraits<Scalar>::is_feature,
      "SparseTensor: Scalar must be float, double, __half or __nv_bfloat16 (include core/scalar.cuh)");
  static_assert(is_space<Space>::value, "SparseTensor: Space must be Host or Device");

 public:
  static constexpr int dim = Dim;
  using scalar = Scalar;
  using space = Space;

  /// No coordinates, no voxels, no channels; to be assigned to, copied, and asked for its sizes, which are 0.
  /// Every function or layer that reads its rows throws invalid_argument: "relu: the tensor has no
  /// coordinates", or what a layer says of 0 channels.
  SparseTensor() = default;

  /// A tensor from coordinates and features in `Space`, both copied.
  ///
  /// | name        | shape                | memory | holds                                                  |
  /// |-------------|----------------------|--------|--------------------------------------------------------|
  /// | coordinates | [num_rows, 1 + Dim]  | Space  | (batch, x, y, ...) int32, rows unique                  |
  /// | features    | [num_rows, channels] | Space  | any values; NaN flows through                          |
  ///
  /// @throws invalid_argument  the numbers of rows differ, columns are not 1 + Dim, or what
  /// make_coordinate_set() says
  /// Cost: two copies.
  /// Stream: as make_coordinate_set().
  SparseTensor(MatrixView<std::int32_t const> coordinates, MatrixView<Scalar const> features,
               Execution<Space> const& exec, CoordinateSetOptions<Dim> const& options = {})
  {
    detail::expects(coordinates.columns == Dim + 1, "SparseTensor: coordinates have ", coordinates.columns,
                    " columns but ", Dim, " dimensions need ", Dim + 1, " (batch first)");
    detail::expects(coordinates.rows == features.rows, "SparseTensor: ", coordinates.rows,
                    " coordinates but ", features.rows, " rows of features");
    coordinates_ = make_coordinate_set<Dim>(coordinates.data, coordinates.rows, options, exec);
    features_ = {copy(features.data, features.size(), exec), features.rows, features.columns};
  }

  /// A tensor on the voxels of `coordinates`; takes `features` [num_rows, channels].
  /// @throws invalid_argument  the numbers of rows differ (of `features` and the set's capacity)
  SparseTensor(CoordinateSetPointer<Dim, Space> coordinates, Matrix<Scalar, Space>&& features)
      : coordinates_{std::move(coordinates)}, features_{std::move(features)}
  {
    detail::expects(coordinates_ != nullptr, "SparseTensor: no coordinates");
    detail::expects(coordinates_->capacity() == features_.rows(), "SparseTensor: ", coordinates_->capacity(),
                    " coordinates but ", features_.rows(), " rows of features");
  }

  /// Rows in use; waits only if the host does not know (CoordinateSet::num_rows()).
  [[nodiscard]] std::int64_t num_rows() const
  {
    detail::report_host_read("num_rows");
    return coordinates_ ? coordinates_->num_rows() : 0;
  }
  /// Rows there is room for: those of features().
  [[nodiscard]] std::int64_t capacity() const noexcept { return coordinates_ ? coordinates_->capacity() : 0; }
  [[nodiscard]] int channels() const noexcept { return static_cast<int>(features_.columns()); }

  /// [capacity, channels] in `Space`, of which the first num_rows() are in use.
  [[nodiscard]] MatrixView<Scalar const> features() const noexcept { return features_.view(); }
  [[nodiscard]] CoordinateSetPointer<Dim, Space> const& coordinates() const noexcept { return coordinates_; }
  [[nodiscard]] IntArray<Dim> tensor_stride() const
  {
    return coordinates_ ? coordinates_->tensor_stride() : IntArray<Dim>(1);
  }

  /// The identity of the features, which copies of the tensor share; 0 of a tensor made by default.
  [[nodiscard]] VariableId id() const noexcept { return features_.id(); }
  /// How often mark_written() was called on these features.
  [[nodiscard]] std::uint64_t version() const noexcept { return features_.version(); }
  /// Call it after writing the features in place, as a plan does with its output and an owner may with memory
  /// that the tensor borrows: what was recorded of them before is then out of date.
  void mark_written() const noexcept { features_.mark_written(); }
  /// The same voxels and features, not copied, as another variable, which no recorder has been told of:
  /// gradients stop at it.
  [[nodiscard]] SparseTensor detached() const
  {
    auto result = *this;
    result.features_ = features_.detached();
    return result;
  }

  /// The same voxels with other features.
  [[nodiscard]] SparseTensor with_features(Matrix<Scalar, Space>&& features) const
  {
    return SparseTensor{coordinates_, std::move(features)};
  }

  /// Features on the host, row-major.
  /// Stream: waits; reports errors in the coordinates too: duplicates, and
  /// what CoordinateSet::check() does.
  [[nodiscard]] std::vector<Scalar> features_on_host(Execution<Space> const& exec) const
  {
    if (!coordinates_) { return {}; }
    auto result = download(features_.data(), num_rows() * channels(), exec);
    check_rows(exec);
    return result;
  }
  /// Coordinates on the host.
  /// Stream: waits; reports errors in the coordinates too.
  [[nodiscard]] std::vector<Coordinate<Dim>> coordinates_on_host(Execution<Space> const& exec) const
  {
    if (!coordinates_) { return {}; }
    auto result = download(coordinates_->data(), coordinates_->num_rows(), exec);
    check_rows(exec);
    return result;
  }

 private:
  /// Throws if the rows are invalid. Duplicates of an input show when its table is made, which layers of one
  /// voxel never need.
  void check_rows(Execution<Space> const& exec) const
  {
    bool const is_input = coordinates_->origin() == nullptr;
    if (is_input && detail::key_bits(coordinates_->box()) <= 63) {
      static_cast<void>(coordinate_table(*coordinates_, exec));
    }
    coordinates_->check(exec);
  }

  CoordinateSetPointer<Dim, Space> coordinates_;
  Matrix<Scalar, Space> features_;
};

namespace detail {

/// Throws if `x` was made by default; `who` begins the sentence.
template <int Dim, class Scalar, class Space>
void expect_coordinates(SparseTensor<Dim, Scalar, Space> const& x, char const* who)
{
  expects(x.coordinates() != nullptr, who, ": the tensor has no coordinates");
}

/// Throws unless both tensors are on one coordinate set, which is how their rows are known to agree.
/// @param instead  the function that matches voxels by coordinate
template <int Dim, class A, class B, class Space>
void expect_same_voxels(SparseTensor<Dim, A, Space> const& a, SparseTensor<Dim, B, Space> const& b,
                        char const* who, char const* instead = "add_by_coordinate()")
{
  expect_coordinates(a, who);
  expect_coordinates(b, who);
  expects(a.coordinates() == b.coordinates(), who, ": the tensors are on different coordinate sets (",
          a.capacity(), " rows at tensor stride ", a.tensor_stride(), " and ", b.capacity(), " at ",
          b.tensor_stride(), "), whose rows need not agree even if they hold the same voxels; ", instead,
          " matches voxels by coordinate");
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
