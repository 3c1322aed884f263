// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/key_packing.hpp>
#include <tessera/hash/detail/hash_table.hpp>

#include <memory>
#include <type_traits>
#include <variant>

namespace tessera {
inline namespace v0 {

/// Handle of a coordinate table in kernels: finds the row of a coordinate.
template <int Dim, class Key>
struct CoordinateTableRef {
  KeyPacking<Dim, Key> packing;
  detail::HashTableRef<Key> table;

  /// The row that holds `c`, or -1.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t find(Coordinate<Dim> const& c) const
  {
    return packing.contains(c) ? table.find(packing.pack(c)) : -1;
  }
};

namespace detail {

/// Inserts row i of `coordinates`; reports rows outside the box and duplicates.
template <int Dim, class Key>
struct InsertRows {
  CoordinateView<Dim> coordinates;
  CoordinateTableRef<Dim, Key> table;
  std::uint32_t* errors;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    if (row >= coordinates.size()) { return; }
    auto const c = coordinates.load(row);
    if (!table.packing.contains(c)) {
      atomic_or(errors, std::uint32_t{DataError::out_of_range});
      return;
    }
    if (table.table.insert(table.packing.pack(c), static_cast<std::int32_t>(row))) {
      atomic_or(errors, std::uint32_t{DataError::duplicate});
    }
  }
};

}  // namespace detail

/// Finds rows of a coordinate set by coordinate; its key is 32 or 64 bits wide, as the set's box needs.
template <int Dim, class Space>
class CoordinateTable {
 public:
  /// Enters every row of `set`. With duplicates the smallest row is kept and the set's manager notes the error.
  /// @throws invalid_argument  a key of the set's box needs more than 63 bits
  CoordinateTable(CoordinateSet<Dim, Space> const& set, Execution<Space> const& exec)
  {
    detail::with_packing(set.box(), [&](auto const& packing) {
      using Key = typename std::decay_t<decltype(packing)>::KeyType;
      detail::HashTable<Key, Space> table{set.capacity(), exec};
      for_each(set.capacity(),
               detail::InsertRows<Dim, Key>{set.view(), {packing, table.ref()}, detail::access(set).errors()},
               exec);
      table_ = std::make_unique<Variant>(Entry<Key>{packing, std::move(table)});
    });
  }

  /// Calls `body(ref)` with the handle of this table's key type.
  template <class Body>
  decltype(auto) visit(Body&& body)
  {
    return std::visit(
        [&](auto& entry) {
          using Key = typename std::decay_t<decltype(entry)>::KeyType;
          return body(CoordinateTableRef<Dim, Key>{entry.packing, entry.table.ref()});
        },
        *table_);
  }

 private:
  template <class Key>
  struct Entry {
    using KeyType = Key;
    KeyPacking<Dim, Key> packing;
    detail::HashTable<Key, Space> table;
  };
  using Variant = std::variant<Entry<std::uint32_t>, Entry<std::uint64_t>>;
  std::unique_ptr<Variant> table_;
};

namespace detail {

/// The hash table of a set.
template <int Dim, class Space>
struct CoordinateTableKey {
  using Value = CoordinateTable<Dim, Space>;
  friend bool operator==(CoordinateTableKey, CoordinateTableKey) { return true; }
};

}  // namespace detail

/// The table of `set`, made at the first call and kept by the set.
///
/// Cost: one insertion per row, the first time.
/// Stream: enqueues a fill and a kernel; on the host errors in the rows are thrown here, on the device they are
/// reported where the host next waits.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<CoordinateTable<Dim, Space>> coordinate_table(CoordinateSet<Dim, Space>& set,
                                                                            Execution<Space> const& exec)
{
  std::lock_guard lock{detail::access(set).mutex()};
  detail::access(set).take_map_streams(exec);
  return detail::access(set).cache().get_or_make(detail::CoordinateTableKey<Dim, Space>{}, [&] {
    auto table = detail::on_map_stream(
        detail::access(set).map_stream_for_sets(), exec,
        [&](Execution<Space> const& own) { return std::make_shared<CoordinateTable<Dim, Space>>(set, own); });
    if constexpr (std::is_same_v<Space, Host>) { set.check(exec); }
    return table;
  });
}

}  // namespace v0
}  // namespace tessera
