// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>
#include <tessera/coords/detail/statistics.hpp>
#include <tessera/coords/object_cache.hpp>
#include <tessera/core/buffer.hpp>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace tessera {
inline namespace v0 {

template <int Dim, class Space>
class CoordinateSet;

/// A set that lives as long as its frame: all sets derived from one input share an owner, so a transposed
/// convolution always finds the set it goes back to.
template <int Dim, class Space>
using CoordinateSetPointer = std::shared_ptr<CoordinateSet<Dim, Space>>;

/// Options of a coordinate set that do not follow from its rows.
template <int Dim>
struct CoordinateSetOptions {
  IntArray<Dim> tensor_stride = IntArray<Dim>(1);  ///< voxels of the finest grid in one step of this set
  std::optional<SpatialRange<Dim>> spatial_range;  ///< the grid; without it the grid is unbounded
};

namespace detail {

/// Owns every set that was derived from one input; not public, since sets refer to it by themselves.
template <int Dim, class Space>
struct Frame : std::enable_shared_from_this<Frame<Dim, Space>> {
  std::recursive_mutex mutex;  // maps may be asked for from several threads
  std::deque<CoordinateSet<Dim, Space>> sets;
  Buffer<std::uint32_t, Space> errors;  // [1] bits of DataError, set by kernels
};

/// Throws what the bits of DataError mean.
inline void report(std::uint32_t errors)
{
  expects((errors & DataError::out_of_range) == 0,
          "coordinates: a row lies outside the declared spatial range or has a negative batch entry");
  expects((errors & DataError::duplicate) == 0,
          "coordinates: two rows hold the same coordinate; rows must be unique (see sparse_quantize)");
  expects((errors & DataError::capacity) == 0, "coordinates: more rows than the capacity given");
}

/// Throws where sums of a coordinate and a kernel offset could overflow.
template <int Dim>
void check_box(CoordinateBox<Dim> const& box)
{
  for (int i = 0; i < Dim && !box.empty(); ++i) {
    expects(box.lower[i] >= -(1 << 30) && box.upper[i] <= 1 << 30, "coordinates: ", box.lower[i], " to ",
            box.upper[i], " on axis ", i, " exceed 2^30, beyond which offsets would overflow");
  }
}

}  // namespace detail

/// The occupied voxels of one tensor: unique integer coordinates, batch first, in units of `tensor_stride`.
///
/// Rows are `(batch, x, y, ...)`; a set made from another by a strided convolution has them in lexicographic
/// order. A set also owns, by name, what later stages derive from it (hash table, kernel maps, derived sets),
/// so that layers share it. One frame's sets belong to one stream: maps made on a stream are used on that
/// stream.
template <int Dim, class Space>
class CoordinateSet {
 public:
  static constexpr int dim = Dim;
  using space = Space;

  /// Rows [num_rows, 1 + Dim] in `Space`, in use up to `capacity()`.
  [[nodiscard]] CoordinateView<Dim> view() const noexcept { return {rows_.data(), rows_.size(), nullptr}; }
  [[nodiscard]] Coordinate<Dim> const* data() const noexcept { return rows_.data(); }

  /// Rows in use. Never waits: an eager set is made with the count known to the host.
  [[nodiscard]] std::int64_t num_rows() const noexcept { return rows_.size(); }
  [[nodiscard]] std::int64_t capacity() const noexcept { return rows_.size(); }

  /// Bounds known to the host: the declared range, or those of the rows themselves.
  [[nodiscard]] CoordinateBox<Dim> const& box() const noexcept { return box_; }
  [[nodiscard]] int num_batches() const noexcept { return box_.batches; }
  [[nodiscard]] IntArray<Dim> const& tensor_stride() const noexcept { return options_.tensor_stride; }
  [[nodiscard]] std::optional<SpatialRange<Dim>> const& spatial_range() const noexcept
  {
    return options_.spatial_range;
  }

  /// Reports what only the space could see: rows outside the range, duplicates.
  /// @throws invalid_argument  there was such a row in this frame
  /// Stream: waits for everything enqueued so far.
  void check(Execution<Space> const& exec) const { detail::report(download(frame_->errors, exec)[0]); }

  /// @name For later stages
  /// @{

  /// Where the kernels of this frame set bits of detail::DataError. [1]
  [[nodiscard]] std::uint32_t* errors() const noexcept { return frame_->errors.data(); }
  [[nodiscard]] detail::ObjectCache& cache() noexcept { return cache_; }
  [[nodiscard]] std::recursive_mutex& mutex() const noexcept { return frame_->mutex; }

  /// The set this one was derived from by a strided convolution, or null for an input.
  [[nodiscard]] CoordinateSet* origin() const noexcept { return origin_; }

  /// A pointer that keeps the whole frame alive.
  [[nodiscard]] CoordinateSetPointer<Dim, Space> shared()
  {
    return CoordinateSetPointer<Dim, Space>{frame_->shared_from_this(), this};
  }
  /// @}

  /// Made by make_coordinate_set() and derive_coordinate_set().
  CoordinateSet(detail::Frame<Dim, Space>* frame, Buffer<Coordinate<Dim>, Space>&& rows,
                CoordinateBox<Dim> const& box, CoordinateSetOptions<Dim> const& options,
                CoordinateSet* origin)
      : frame_{frame}, rows_{std::move(rows)}, box_{box}, options_{options}, origin_{origin}
  {}

  /// A new frame whose first set has `rows`. See make_coordinate_set().
  [[nodiscard]] static CoordinateSetPointer<Dim, Space> make(Buffer<Coordinate<Dim>, Space>&& rows,
                                                             CoordinateSetOptions<Dim> const& options,
                                                             Execution<Space> const& exec);

  /// The same where bounds of the rows are known already. Stream: does not wait.
  [[nodiscard]] static CoordinateSetPointer<Dim, Space> make(Buffer<Coordinate<Dim>, Space>&& rows,
                                                             CoordinateBox<Dim> const& box,
                                                             CoordinateSetOptions<Dim> const& options,
                                                             Execution<Space> const& exec);

  /// A further set of this frame. `rows` are unique and lie in `box`.
  /// @throws invalid_argument  the box reaches beyond 2^30
  [[nodiscard]] CoordinateSetPointer<Dim, Space> derive(Buffer<Coordinate<Dim>, Space>&& rows,
                                                        CoordinateBox<Dim> const& box,
                                                        CoordinateSetOptions<Dim> const& options)
  {
    detail::check_box(box);
    std::lock_guard lock{frame_->mutex};
    auto& set = frame_->sets.emplace_back(frame_, std::move(rows), box, options, this);
    return set.shared();
  }

 private:
  detail::Frame<Dim, Space>* frame_;
  Buffer<Coordinate<Dim>, Space> rows_;
  CoordinateBox<Dim> box_;
  CoordinateSetOptions<Dim> options_;
  CoordinateSet* origin_;
  detail::ObjectCache cache_;
};

namespace detail {

template <int Dim>
void check_options(CoordinateSetOptions<Dim> const& options, std::int64_t num_rows)
{
  expects(num_rows <= INT_MAX, "coordinates: ", num_rows, " rows are more than the ", INT_MAX,
          " that row indices hold");
  expects(min_element(options.tensor_stride) >= 1, "coordinates: tensor stride ", list(options.tensor_stride),
          " must be at least 1 on every axis");
  if (options.spatial_range) {
    expects(options.spatial_range->batches >= 1 && min_element(options.spatial_range->extent) >= 1,
            "coordinates: spatial range ", options.spatial_range->batches, " x ",
            list(options.spatial_range->extent), " must be at least 1 on every axis");
  }
}

}  // namespace detail

template <int Dim, class Space>
CoordinateSetPointer<Dim, Space> CoordinateSet<Dim, Space>::make(Buffer<Coordinate<Dim>, Space>&& rows,
                                                                 CoordinateSetOptions<Dim> const& options,
                                                                 Execution<Space> const& exec)
{
  detail::check_options(options, rows.size());
  CoordinateBox<Dim> box;
  if (options.spatial_range) {
    box = box_of(*options.spatial_range);  // rows outside are reported when the table is filled
  } else {
    auto const found = detail::gather_bounds(CoordinateView<Dim>{rows.data(), rows.size(), nullptr}, exec);
    detail::expects(rows.empty() || found.lowest_batch >= 0, "coordinates: batch entry ", found.lowest_batch,
                    " is negative; columns are (batch, x, y, ...)");
    box = found.box();
  }
  return make(std::move(rows), box, options, exec);
}

template <int Dim, class Space>
CoordinateSetPointer<Dim, Space> CoordinateSet<Dim, Space>::make(Buffer<Coordinate<Dim>, Space>&& rows,
                                                                 CoordinateBox<Dim> const& box,
                                                                 CoordinateSetOptions<Dim> const& options,
                                                                 Execution<Space> const& exec)
{
  detail::check_options(options, rows.size());
  detail::check_box(box);
  auto frame = std::make_shared<detail::Frame<Dim, Space>>();
  frame->errors = Buffer<std::uint32_t, Space>{1, exec};
  fill_bytes(frame->errors, 0, exec);
  auto& set = frame->sets.emplace_back(frame.get(), std::move(rows), box, options, nullptr);
  return set.shared();
}

/// Makes the coordinate set of an input from rows in the same space, which are copied.
///
/// | name     | shape                       | memory | holds                                          |
/// |----------|-----------------------------|--------|------------------------------------------------|
/// | rows     | [num_rows, 1 + Dim] int32   | Space  | (batch, x, y, ...), each row once              |
///
/// @pre     Rows are unique. Duplicates are found when the set's table is made, by the first kernel map of
/// more
///          than one offset, and reported where the host waits next (check()).
/// @throws  invalid_argument  negative batch entry, tensor stride or range below 1, 2^31 rows or more
///
/// Cost: one copy, and one pass over the rows when no spatial range is declared.
/// Stream: enqueues on `exec`; waits once for the bounds unless a spatial range is declared.
/// Determinism: same input, same set.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> make_coordinate_set(std::int32_t const* rows,
                                                                   std::int64_t num_rows,
                                                                   CoordinateSetOptions<Dim> const& options,
                                                                   Execution<Space> const& exec)
{
  static_assert(sizeof(Coordinate<Dim>) == (Dim + 1) * sizeof(std::int32_t));
  detail::expects(num_rows >= 0 && (rows != nullptr || num_rows == 0), "make_coordinate_set: ", num_rows,
                  " rows at ", static_cast<void const*>(rows));
  detail::check_options(options, num_rows);
  auto owned = copy(reinterpret_cast<Coordinate<Dim> const*>(rows), num_rows, exec);
  return CoordinateSet<Dim, Space>::make(std::move(owned), options, exec);
}

/// The same from host rows.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> make_coordinate_set(std::vector<Coordinate<Dim>> const& rows,
                                                                   CoordinateSetOptions<Dim> const& options,
                                                                   Execution<Space> const& exec)
{
  return CoordinateSet<Dim, Space>::make(upload(rows, exec), options, exec);
}

}  // namespace v0
}  // namespace tessera
