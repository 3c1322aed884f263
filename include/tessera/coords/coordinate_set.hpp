// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate.hpp>
#include <tessera/coords/detail/bounds_and_count.hpp>
#include <tessera/coords/detail/coordinate_manager.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/cache.hpp>
#include <tessera/core/recorder.hpp>

#include <algorithm>
#include <climits>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// A set that lives as long as its manager: all sets derived from one input share an owner, so a transposed
/// convolution always finds the set it goes back to.
template <int Dim, class Space>
using CoordinateSetPointer = std::shared_ptr<CoordinateSet<Dim, Space>>;

/// The occupied voxels of one tensor: unique integer coordinates, batch first, in units of `tensor_stride`.
///
/// Rows are `(batch, x, y, ...)`; a set made from another by a strided convolution has them in lexicographic
/// order. A set also owns, by key, what later stages derive from it (hash table, kernel maps, derived sets),
/// so that layers share it. One manager's sets belong to one stream: maps made on a stream are used on that
/// stream.
template <int Dim, class Space>
class CoordinateSet {
 public:
  static constexpr int dim = Dim;
  using space = Space;

  /// Rows [capacity, 1 + Dim] in `Space`, of which the first row_count().size() are in use.
  [[nodiscard]] CoordinateView<Dim> view() const noexcept { return {rows_.data(), row_count()}; }
  [[nodiscard]] Coordinate<Dim> const* data() const noexcept { return rows_.data(); }

  /// Rows there is room for, known to the host: all that launches and buffers need.
  [[nodiscard]] std::int64_t capacity() const noexcept { return rows_.size(); }

  /// Whether only `Space` knows the number of rows.
  [[nodiscard]] bool has_device_count() const noexcept { return !count_.empty(); }

  /// Rows in use, for kernels.
  [[nodiscard]] RowCount row_count() const noexcept { return {rows_.size(), count_.data()}; }

  /// Rows in use.
  /// Stream: waits for everything enqueued so far on the manager's stream if only the
  /// space knows the number, else never.
  [[nodiscard]] std::int64_t num_rows() const
  {
    detail::report_host_read("num_rows");
    if (!has_device_count()) { return rows_.size(); }
    return std::clamp<std::int64_t>(download(count_, manager_->exec)[0], 0, rows_.size());
  }

  /// Bounds known to the host: the declared range, or those of the rows themselves.
  [[nodiscard]] CoordinateBox<Dim> const& box() const noexcept { return box_; }
  [[nodiscard]] int num_batches() const noexcept { return box_.batches; }
  [[nodiscard]] IntArray<Dim> const& tensor_stride() const noexcept { return options_.tensor_stride; }
  [[nodiscard]] std::optional<SpatialRange<Dim>> const& spatial_range() const noexcept
  {
    return options_.spatial_range;
  }
  /// The batch entry that all rows are in, of a set that is one scan: as declared, or as found where no range
  /// was declared. Of a batch nothing.
  [[nodiscard]] std::optional<int> const& only_entry() const noexcept { return options_.only_entry; }
  /// Room for derived sets, where nothing may wait for their numbers of rows.
  [[nodiscard]] std::optional<FixedCapacity> const& fixed_capacity() const noexcept
  {
    return options_.fixed_capacity;
  }

  /// Reports what only the space could see: rows outside the range, duplicates, more rows than fit, labels
  /// that are no class, one row alone where training needs a variance.
  /// @throws invalid_argument  there was such a row in this coordinate manager
  /// Stream: waits for everything enqueued so far.
  void check(Execution<Space> const& exec) const
  {
    auto const errors = download(manager_->errors, exec);
    detail::report(errors[0], errors[1]);
  }

  /// Calls `body(set)` for the input of this manager and every set derived from it, in the order they were
  /// made.
  template <class Body>
  void for_each_in_manager(Body const& body) const
  {
    std::lock_guard lock{manager_->mutex};
    for (auto const& set : manager_->sets) { body(set); }
  }

  /// The set this one was derived from by a strided convolution, or null for an input.
  [[nodiscard]] CoordinateSet* origin() const noexcept { return origin_; }

  /// A pointer that keeps the whole coordinate manager alive.
  [[nodiscard]] CoordinateSetPointer<Dim, Space> shared()
  {
    return CoordinateSetPointer<Dim, Space>{manager_->shared_from_this(), this};
  }

  /// Rows of a set and, where only the space knows how many are in use, their number [1].
  struct Rows {
    Buffer<Coordinate<Dim>, Space> rows;
    Buffer<std::int32_t, Space> count = {};
  };

  /// Made by make() and derive().
  CoordinateSet(detail::CoordinateManager<Dim, Space>* manager, Rows&& rows, CoordinateBox<Dim> const& box,
                CoordinateSetOptions<Dim> const& options, CoordinateSet* origin)
      : manager_{manager},
        rows_{std::move(rows.rows)},
        count_{std::move(rows.count)},
        box_{box},
        options_{options},
        origin_{origin}
  {}

  /// A new coordinate manager whose first set has `rows`. See make_coordinate_set().
  [[nodiscard]] static CoordinateSetPointer<Dim, Space> make(Rows&& rows,
                                                             CoordinateSetOptions<Dim> const& options,
                                                             Execution<Space> const& exec);

  /// The same where bounds of the rows are known already.
  /// Stream: does not wait.
  [[nodiscard]] static CoordinateSetPointer<Dim, Space> make(Rows&& rows, CoordinateBox<Dim> const& box,
                                                             CoordinateSetOptions<Dim> const& options,
                                                             Execution<Space> const& exec);

  /// A further set of this coordinate manager. `rows` are unique and inside `box`.
  /// @throws invalid_argument  the box reaches beyond 2^30
  [[nodiscard]] CoordinateSetPointer<Dim, Space> derive(Rows&& rows, CoordinateBox<Dim> const& box,
                                                        CoordinateSetOptions<Dim> const& options,
                                                        Execution<Space> const& exec)
  {
    detail::check_box(box);
    std::lock_guard lock{manager_->mutex};
    auto& set = manager_->sets.emplace_back(manager_, std::move(rows), box, options, this);
    if (exec.stream() == manager_->exec.stream()) { detail::wait_for_main_on_map_streams(manager_->exec); }
    return set.shared();
  }

 private:
  template <class Set>
  friend class detail::CoordinateSetAccess;

  detail::CoordinateManager<Dim, Space>* manager_;
  Buffer<Coordinate<Dim>, Space> rows_;
  Buffer<std::int32_t, Space> count_;  // [1], or none: all rows are in use
  CoordinateBox<Dim> box_;
  CoordinateSetOptions<Dim> options_;
  CoordinateSet* origin_;
  detail::Cache cache_;
};

namespace detail {

/// What the stages of the library may do with a set and its users may not.
template <class Set>
class CoordinateSetAccess {
 public:
  using Space = typename Set::space;

  explicit CoordinateSetAccess(Set& set) : set_{set} {}

  /// What is derived from the set. @pre  the caller holds mutex()
  [[nodiscard]] Cache& cache() const noexcept { return set_.cache_; }
  /// The coordinate manager's.
  [[nodiscard]] std::recursive_mutex& mutex() const noexcept { return set_.manager_->mutex; }
  /// Where the kernels of the set's coordinate manager set bits of DataError, and the code of a row. [2]
  [[nodiscard]] std::uint32_t* errors() const noexcept { return set_.manager_->errors.data(); }

  /// From here on the manager's sets, tables and maps are made on the map streams of `exec`, if it has any
  /// and the manager has none yet. @throws invalid_argument  it has others
  void take_map_streams([[maybe_unused]] Execution<Space> const& exec) const
  {
    if constexpr (std::is_same_v<Space, Device>) {
      auto& own = set_.manager_->exec;
      if (exec.map_streams() == nullptr || exec.map_streams() == own.map_streams()) { return; }
      expects(own.map_streams() == nullptr,
              "coordinates: made with other MapStreams than they are used with");
      own = exec;
      access(*exec.map_streams()).wait_for_main();
    }
  }
  /// Where the coordinate manager's sets and tables are made.
  [[nodiscard]] MapStream<Space> map_stream_for_sets() const
  {
    return detail::map_stream_for_sets(set_.manager_->exec);
  }
  /// The map stream of the coordinate manager's next kernel map.
  [[nodiscard]] MapStream<Space> next_map_stream() const
  {
    return detail::next_map_stream(set_.manager_->exec);
  }

 private:
  Set& set_;
};

template <int Dim, class Space>
[[nodiscard]] CoordinateSetAccess<CoordinateSet<Dim, Space>> access(CoordinateSet<Dim, Space>& set)
{
  return CoordinateSetAccess<CoordinateSet<Dim, Space>>{set};
}
template <int Dim, class Space>
[[nodiscard]] CoordinateSetAccess<CoordinateSet<Dim, Space> const> access(
    CoordinateSet<Dim, Space> const& set)
{
  return CoordinateSetAccess<CoordinateSet<Dim, Space> const>{set};
}

}  // namespace detail

template <int Dim, class Space>
CoordinateSetPointer<Dim, Space> CoordinateSet<Dim, Space>::make(Rows&& rows,
                                                                 CoordinateSetOptions<Dim> const& options,
                                                                 Execution<Space> const& exec)
{
  detail::check_options(options, rows.rows.size());
  detail::check_alignment(rows.rows.data(), rows.rows.size());
  CoordinateBox<Dim> box;
  auto known = options;
  if (options.spatial_range) {
    box = box_of(*options.spatial_range);  // rows outside are reported when the table is filled
  } else {
    CoordinateView<Dim> const view{rows.rows.data(), {rows.rows.size(), rows.count.data()}};
    auto const found = detail::gather_bounds(view, exec);
    detail::expects(found.lowest_batch >= 0, "coordinates: batch entry ", found.lowest_batch,
                    " is negative; columns are (batch, x, y, ...)");
    detail::expects(found.highest_batch < INT_MAX, "coordinates: batch entry ", found.highest_batch,
                    " is the largest integer, one too many for the entries to be counted");
    box = found.box();
    bool const is_one = found.lowest_batch == found.highest_batch;
    detail::expects(
        !options.only_entry || box.empty() || (is_one && found.lowest_batch == *options.only_entry),
        "coordinates: rows of batch entries ", found.lowest_batch, " to ", found.highest_batch,
        " in a set of entry ", options.only_entry.value_or(0), " alone");
    if (is_one) { known.only_entry = found.lowest_batch; }
  }
  return make(std::move(rows), box, known, exec);
}

template <int Dim, class Space>
CoordinateSetPointer<Dim, Space> CoordinateSet<Dim, Space>::make(Rows&& rows, CoordinateBox<Dim> const& box,
                                                                 CoordinateSetOptions<Dim> const& options,
                                                                 Execution<Space> const& exec)
{
  detail::check_options(options, rows.rows.size());
  detail::check_alignment(rows.rows.data(), rows.rows.size());
  detail::check_box(box);
  auto manager = std::make_shared<detail::CoordinateManager<Dim, Space>>(exec);
  manager->errors = Buffer<std::uint32_t, Space>{2, exec};
  fill_bytes(manager->errors, 0, exec);
  auto& set = manager->sets.emplace_back(manager.get(), std::move(rows), box, options, nullptr);
  if (set.has_device_count()) {
    for_each(1, detail::CheckCapacity{set.row_count(), detail::access(set).errors()}, exec);
  }
  detail::wait_for_main_on_map_streams(exec);
  return set.shared();
}

/// make_coordinate_set() of rows of which only the space knows how many are in use: `num_rows.count` [1] in
/// `Space`. The same rules hold as for the form below.
///
/// @pre     `num_rows.capacity` rows may be read; those past the count hold anything.
/// @throws  invalid_argument  as below. A count below 0 or above the capacity is reported where the host
/// waits next.
///
/// Stream: as below; CoordinateSet::num_rows() of the result waits.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> make_coordinate_set(std::int32_t const* rows,
                                                                   RowCount const& num_rows,
                                                                   CoordinateSetOptions<Dim> const& options,
                                                                   Execution<Space> const& exec)
{
  detail::expects(num_rows.capacity >= 0 && (rows != nullptr || num_rows.capacity == 0),
                  "make_coordinate_set: ", num_rows.capacity, " rows at ", static_cast<void const*>(rows));
  detail::check_options(options, num_rows.capacity);
  auto owned = copy(reinterpret_cast<Coordinate<Dim> const*>(rows), num_rows.capacity, exec);
  auto count = num_rows.count != nullptr ? copy(num_rows.count, 1, exec) : Buffer<std::int32_t, Space>{};
  return CoordinateSet<Dim, Space>::make({std::move(owned), std::move(count)}, options, exec);
}

/// Makes the coordinate set of an input from rows in the same space, which are copied.
///
/// | name     | shape                       | memory | holds                                          |
/// |----------|-----------------------------|--------|------------------------------------------------|
/// | rows     | [num_rows, 1 + Dim] int32   | Space  | (batch, x, y, ...), each row once              |
///
/// @pre     Rows are unique. Duplicates are found when the set's table is made, by the first kernel map of
/// more than one offset or SparseTensor::features_on_host(), and reported where the host waits next.
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
  return make_coordinate_set<Dim>(rows, RowCount{num_rows, nullptr}, options, exec);
}

/// The same of rows that the set takes over without a copy, also adopted ones (Buffer::adopt). Rows of adopted
/// memory must not change while the set lives: what is derived from them is kept. Those of three dimensions begin
/// at a multiple of 16 bytes.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> make_coordinate_set(Buffer<Coordinate<Dim>, Space>&& rows,
                                                                   CoordinateSetOptions<Dim> const& options,
                                                                   Execution<Space> const& exec)
{
  return CoordinateSet<Dim, Space>::make({std::move(rows)}, options, exec);
}

/// The same from host rows.
template <int Dim, class Space>
[[nodiscard]] CoordinateSetPointer<Dim, Space> make_coordinate_set(std::vector<Coordinate<Dim>> const& rows,
                                                                   CoordinateSetOptions<Dim> const& options,
                                                                   Execution<Space> const& exec)
{
  return CoordinateSet<Dim, Space>::make({upload(rows, exec)}, options, exec);
}

}  // namespace v0
}  // namespace tessera
