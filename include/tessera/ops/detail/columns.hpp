// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/elementwise.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// to[row, c] = from[row, c] for the first columns of both; item number n is pack n of them.
template <class Scalar, int Size>
struct CopyColumns {
  Scalar const* from;  // [rows, from_columns]
  Scalar* to;          // [rows, to_columns]
  std::int64_t packs;  // of a row that are copied
  std::int64_t from_columns;
  std::int64_t to_columns;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / packs;
    auto const column = (n - row * packs) * Size;
    store_pack(to + row * to_columns + column, load_pack<Size>(from + row * from_columns + column));
  }
};

/// The columns [first, first + count) of a matrix.
/// Stream: enqueues one kernel, does not wait.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> take_columns(MatrixView<Scalar const> const& from, std::int64_t first,
                                                 std::int64_t count, Execution<Space> const& exec)
{
  Matrix<Scalar, Space> result{from.rows, count, exec};
  auto const is_whole = [](std::int64_t columns) { return columns % pack_size<Scalar> == 0; };
  bool const in_packs = is_whole(first) && is_whole(count) && moves_in_packs(from.data, from.columns);
  with_pack_size<Scalar>(in_packs, [&](auto size) {
    auto const packs = count / size();
    CopyColumns<Scalar, size()> const body{from.data + first, result.data(), packs, from.columns, count};
    for_each(from.rows * packs, body, exec);
  });
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
