// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/plan/destination.hpp>
#include <tessera/plan/detail/model_point_input.cuh>
#include <tessera/plan/detail/plan_input.cuh>
#include <tessera/plan/detail/point_input.cuh>
#include <tessera/plan/detail/steps.cuh>
#include <tessera/plan/planned_points.hpp>
#include <tessera/tensor/copy_into.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {

namespace detail {

/// Marks the output as written again, for what was recorded of it. Outputs that are no variables are not
/// recorded.
template <int Dim, class Scalar>
void mark_output(SparseTensor<Dim, Scalar, Device> const& output) noexcept
{
  output.mark_written();
}
template <int Dim, class Scalar>
void mark_output(DenseTensor<Dim, Scalar, Device> const& output) noexcept
{
  output.mark_written();
}
template <int Dim, class Scalar>
void mark_output(PointTensor<Dim, Scalar, Device> const& output) noexcept
{
  output.mark_written();
}
template <class T>
void mark_output(Matrix<T, Device> const& output) noexcept
{
  output.mark_written();
}
template <class Output>
void mark_output(Output const&) noexcept
{}

/// copy_rows_in_use() of a run, which does not throw.
[[nodiscard]] inline cudaError_t try_copy_rows_in_use(void const* from, void* to, RowCount const& rows,
                                                      std::int64_t row_bytes, cudaStream_t stream) noexcept
{
  if (to == nullptr) { return cudaSuccess; }
  return with_copy_word(from, to, [&](auto word) {
    constexpr auto bytes = static_cast<std::int64_t>(sizeof(word));
    return try_for_each(ceil_div(rows.capacity * row_bytes, bytes),
                        CopyRowsInUse<decltype(word)>{from, to, rows, row_bytes}, stream);
  });
}

/// Whether the destination has room for what a scan of `rows` may become.
template <int Dim, class Scalar, class Input>
[[nodiscard]] RunStatus check_destination(SparseTensor<Dim, Scalar, Device> const& output,
                                          PlanDestination<Scalar> const& to, Input const& input,
                                          RowCount const& rows) noexcept
{
  auto const most = input.most_rows(output, rows);
  auto const fits = [&](auto const& view, std::int64_t columns) -> RunStatus {
    if (view.data == nullptr) { return {}; }
    if (view.columns != columns) { return {RunError::wrong_destination, view.columns, columns}; }
    if (view.rows < most) { return {RunError::small_destination, view.rows, most}; }
    return {};
  };
  auto const features = fits(to.features, output.channels());
  if (!features.ok()) { return features; }
  auto const coordinates = fits(to.coordinates, Dim + 1);
  return coordinates.ok() ? input.check_labels(to, rows) : coordinates;
}

/// The same of points, which have no coordinates.
template <int Dim, class Scalar, class Input>
[[nodiscard]] RunStatus check_destination(PointTensor<Dim, Scalar, Device> const& output,
                                          PlanDestination<Scalar> const& to, Input const& input,
                                          RowCount const& rows) noexcept
{
  auto const room = input.used_points().capacity;
  bool const takes_rows = to.features.data != nullptr || to.num_rows != nullptr;
  if (to.coordinates.data != nullptr || (takes_rows && output.num_points() != room)) {
    return {RunError::wrong_destination};
  }
  auto const most = std::min(rows.capacity, room);
  if (to.features.data != nullptr) {
    if (to.features.columns != output.channels()) {
      return {RunError::wrong_destination, to.features.columns, output.channels()};
    }
    if (to.features.rows < most) { return {RunError::small_destination, to.features.rows, most}; }
  }
  return input.check_labels(to, rows);
}

/// The same of a map, which has neither rows nor labels.
template <int Dim, class Scalar, class Input>
[[nodiscard]] RunStatus check_destination(DenseTensor<Dim, Scalar, Device> const& output,
                                          PlanDestination<Scalar> const& to, Input const&,
                                          RowCount const&) noexcept
{
  bool const has_rows = to.coordinates.data != nullptr || to.num_rows != nullptr;
  if (has_rows || to.labels.data != nullptr) { return {RunError::wrong_destination}; }
  auto const room = to.features.size();
  if (to.features.data == nullptr || room >= output.size()) { return {}; }
  return {RunError::small_destination, room, output.size()};
}

/// Other outputs have no destination.
template <class Output, class Input>
[[nodiscard]] RunStatus check_destination(Output const&, typename DestinationOf<Output>::type const&,
                                          Input const&, RowCount const&) noexcept
{
  return {};
}

/// Enqueues the copies of an output that is a tensor.
template <int Dim, class Scalar, class Input>
[[nodiscard]] cudaError_t copy_output(SparseTensor<Dim, Scalar, Device> const& output,
                                      PlanDestination<Scalar> const& to, Input const& input,
                                      RowCount const& rows, cudaStream_t stream) noexcept
{
  auto used = output.coordinates()->row_count();
  used.capacity = input.most_rows(output, rows);
  return in_order(
      [&] {
        auto const row_bytes = output.channels() * static_cast<std::int64_t>(sizeof(Scalar));
        return try_copy_rows_in_use(output.features().data, to.features.data, used, row_bytes, stream);
      },
      [&] {
        return try_copy_rows_in_use(output.coordinates()->data(), to.coordinates.data, used,
                                    sizeof(Coordinate<Dim>), stream);
      },
      [&] {
        return try_for_each(to.num_rows != nullptr ? 1 : 0, StoreNumRows{used, to.num_rows}, stream);
      },
      [&] { return input.copy_labels(to, rows, stream); });
}

/// The same of points.
template <int Dim, class Scalar, class Input>
[[nodiscard]] cudaError_t copy_output(PointTensor<Dim, Scalar, Device> const& output,
                                      PlanDestination<Scalar> const& to, Input const& input,
                                      RowCount const& rows, cudaStream_t stream) noexcept
{
  auto used = input.used_points();
  used.capacity = std::min(rows.capacity, used.capacity);
  return in_order(
      [&] {
        auto const row_bytes = output.channels() * static_cast<std::int64_t>(sizeof(Scalar));
        return try_copy_rows_in_use(output.features().data, to.features.data, used, row_bytes, stream);
      },
      [&] {
        return try_for_each(to.num_rows != nullptr ? 1 : 0, StoreNumRows{used, to.num_rows}, stream);
      },
      [&] { return input.copy_labels(to, rows, stream); });
}

/// The same of a map.
template <int Dim, class Scalar, class Input>
[[nodiscard]] cudaError_t copy_output(DenseTensor<Dim, Scalar, Device> const& output,
                                      PlanDestination<Scalar> const& to, Input const&, RowCount const&,
                                      cudaStream_t stream) noexcept
{
  if (to.features.data == nullptr) { return cudaSuccess; }
  return cudaMemcpyAsync(to.features.data, output.data(),
                         static_cast<std::size_t>(output.size()) * sizeof(Scalar), cudaMemcpyDeviceToDevice,
                         stream);
}

/// Others have no destination.
template <class Output, class Input>
[[nodiscard]] cudaError_t copy_output(Output const&, typename DestinationOf<Output>::type const&,
                                      Input const&, RowCount const&, cudaStream_t) noexcept
{
  return cudaSuccess;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
