// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/core/matrix.hpp>
#include <tessera/core/row_count.hpp>
#include <tessera/hash/coordinate_table.hpp>
#include <tessera/plan/limits.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Puts a scan where the graph reads it; item number n is one number of a coordinate or one feature.
template <class Scalar>
struct IngestRows {
  std::int32_t const* from_coordinates;  // [rows.capacity, width]
  Scalar const* from_features;           // [rows.capacity, channels]
  RowCount rows;
  std::int32_t* coordinates;  // [capacity, width]
  Scalar* features;           // [capacity, channels]
  std::int32_t* count;        // [1]; above the capacity when the scan is, which the graph reports
  std::int64_t capacity;
  int width;
  int channels;

  __device__ void operator()(std::int64_t n) const
  {
    auto const used = rows.count != nullptr ? std::int64_t{*rows.count} : rows.capacity;
    auto const size = used < capacity ? used : capacity;
    if (n == 0) { *count = static_cast<std::int32_t>(used); }
    if (n < size * width) { coordinates[n] = from_coordinates[n]; }
    if (n < size * channels) { features[n] = from_features[n]; }
  }
};

/// Channels that the model's options name, or 0.
template <class Model, class = void>
struct ChannelsOf {
  static int get(Model const&) { return 0; }
};
template <class Model>
struct ChannelsOf<Model, std::void_t<decltype(std::declval<Model const&>().options().in_channels)>> {
  static int get(Model const& model) { return model.options().in_channels; }
};

/// The input of a plan in the memory of `exec`.
template <int Dim, class Scalar>
struct PlanInput {
  std::int32_t* count = nullptr;
  Coordinate<Dim>* coordinates = nullptr;
  Scalar* features = nullptr;
  SparseTensor<Dim, Scalar, Device> tensor;

  PlanInput() = default;
  /// @param empty  enqueue that there are no rows
  PlanInput(PlanLimits const& limits, int channels, bool empty, Execution<Device> const& exec)
  {
    typename CoordinateSet<Dim, Device>::Rows rows{{limits.voxels(), exec}, {1, exec}};
    Matrix<Scalar, Device> matrix{limits.voxels(), channels, exec};
    count = rows.count.data();
    coordinates = rows.rows.data();
    features = matrix.data();
    if (empty) { fill_bytes(rows.count, 0, exec); }
    auto set =
        CoordinateSet<Dim, Device>::make(std::move(rows), limits.box<Dim>(), limits.set_options<Dim>(), exec);
    static_cast<void>(coordinate_table(*set, exec));  // duplicates are found whatever the layers
    tensor = {std::move(set), std::move(matrix)};
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
