// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/hash/detail/hash_table.hpp>

#include <climits>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// FNV-1a over the words of a row, to which an offset is added but for the batch entry.
struct HashRow {
  std::int32_t const* rows;     // [num_rows, columns]
  std::int32_t const* offsets;  // [num_offsets, columns - 1], or null: one offset of zeros
  std::int64_t num_rows;
  std::int64_t columns;
  std::uint64_t* hashes;  // [num_offsets, num_rows]

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const offset = n / num_rows;
    auto const* const row = rows + (n - offset * num_rows) * columns;
    std::uint64_t hash = 14695981039346656037ULL;
    for (std::int64_t c = 0; c < columns; ++c) {
      auto word = static_cast<std::uint32_t>(row[c]);
      if (offsets != nullptr && c > 0) {
        word += static_cast<std::uint32_t>(offsets[offset * (columns - 1) + c - 1]);
      }
      hash = (hash ^ word) * 1099511628211ULL;
    }
    hashes[n] = hash;
  }
};

/// Enters references; the one key that marks an empty slot has a place of its own.
struct InsertHash {
  std::uint64_t const* references;
  HashTableRef<std::uint64_t> table;
  std::int32_t* row_of_empty;  // [1], starts as INT_MAX

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (references[i] == table.empty) {
      atomic_minimum(row_of_empty, static_cast<std::int32_t>(i));
    } else {
      table.insert(references[i], static_cast<std::int32_t>(i));
    }
  }
};

struct FindHash {
  std::uint64_t const* queries;
  HashTableRef<std::uint64_t> table;
  std::int32_t const* row_of_empty;  // [1]
  std::int32_t* rows;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (queries[i] == table.empty) {
      rows[i] = *row_of_empty == INT_MAX ? -1 : *row_of_empty;
    } else {
      rows[i] = table.find(queries[i]);
    }
  }
};

struct CountIndex {
  std::int32_t const* index;
  std::int64_t num;
  std::int32_t* counts;  // [num], starts as 0

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (index[i] >= 0 && index[i] < num) { atomic_add(&counts[index[i]], 1); }
  }
};

}  // namespace detail

/// A 64-bit hash of each row: `hash = (hash ^ word) * 1099511628211` over its words, FNV-1a. TorchSparse's
/// `sphash`.
///
/// | name    | shape                                  | memory | holds                                          |
/// |---------|----------------------------------------|--------|------------------------------------------------|
/// | rows    | [num_rows, 1 + Dim] int32              | Space  | (batch, x, y, ...)                             |
/// | offsets | [num_offsets, Dim] int32               | Space  | added to the positions; not given: none        |
/// | returns | [num_offsets * num_rows]               | Space  | offset after offset; [num_rows] without        |
///
/// Different rows may have one hash: coordinate_table() compares the coordinates themselves.
/// @throws invalid_argument  offsets without a column for each axis
/// Cost: one pass for each offset.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <class Space>
[[nodiscard]] Buffer<std::uint64_t, Space> hash_coordinates(
    MatrixView<std::int32_t const> const& rows, Execution<Space> const& exec,
    MatrixView<std::int32_t const> const& offsets = {})
{
  bool const is_moved = offsets.columns > 0;
  detail::expects(!is_moved || offsets.columns + 1 == rows.columns, "hash_coordinates: offsets of ",
                  offsets.columns, " columns for rows of ", rows.columns, " (batch first)");
  Buffer<std::uint64_t, Space> hashes{rows.rows * (is_moved ? offsets.rows : 1), exec};
  for_each(
      hashes.size(),
      detail::HashRow{rows.data, is_moved ? offsets.data : nullptr, rows.rows, rows.columns, hashes.data()},
      exec);
  return hashes;
}

/// Where each query stands among the references: its lowest index, or -1. TorchSparse's `sphashquery`.
///
/// | name       | shape            | memory | holds              |
/// |------------|------------------|--------|--------------------|
/// | queries    | [num_queries]    | Space  | any numbers        |
/// | references | [num_references] | Space  | any numbers        |
/// | returns    | [num_queries]    | Space  |                    |
///
/// @throws invalid_argument  2^31 references or more
/// Cost: one insertion per reference and one look-up per query.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same result.
template <class Space>
[[nodiscard]] Buffer<std::int32_t, Space> hash_query(Buffer<std::uint64_t, Space> const& queries,
                                                     Buffer<std::uint64_t, Space> const& references,
                                                     Execution<Space> const& exec)
{
  detail::expects(references.size() < INT_MAX, "hash_query: ", references.size(), " references");
  detail::HashTable<std::uint64_t, Space> table{references.size(), exec};
  Buffer<std::int32_t, Space> row_of_empty{1, exec};
  Buffer<std::int32_t, Space> rows{queries.size(), exec};
  for_each(1, detail::StoreValue<std::int32_t>{row_of_empty.data(), INT_MAX}, exec);
  for_each(references.size(), detail::InsertHash{references.data(), table.ref(), row_of_empty.data()}, exec);
  for_each(queries.size(), detail::FindHash{queries.data(), table.ref(), row_of_empty.data(), rows.data()},
           exec);
  return rows;
}

/// How often each number of [0, num) occurs in `index`; others are left out. TorchSparse's `spcount`.
/// @returns [num] in `Space`
/// @throws invalid_argument  `num` is negative
/// Cost: one pass.
/// Stream: enqueues a fill and a kernel, does not wait.
/// Determinism: same input, same result.
template <class Space>
[[nodiscard]] Buffer<std::int32_t, Space> count_indices(Buffer<std::int32_t, Space> const& index,
                                                        std::int64_t num, Execution<Space> const& exec)
{
  detail::expects(num >= 0, "count_indices: ", num, " numbers");
  Buffer<std::int32_t, Space> counts{num, exec};
  fill_bytes(counts, 0, exec);
  for_each(index.size(), detail::CountIndex{index.data(), num, counts.data()}, exec);
  return counts;
}

}  // namespace v0
}  // namespace tessera
