// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/row_count.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Copies the rows in use by words of the widest kind that both places begin at a multiple of.
template <class Word>
struct CopyRowsInUse {
  void const* from;
  void* to;
  RowCount rows;
  std::int64_t row_bytes;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    constexpr auto word = static_cast<std::int64_t>(sizeof(Word));
    auto const size = rows.size() * row_bytes;
    if ((i + 1) * word <= size) {
      static_cast<Word*>(to)[i] = static_cast<Word const*>(from)[i];
      return;
    }
    for (auto at = i * word; at < size; ++at) {
      static_cast<unsigned char*>(to)[at] = static_cast<unsigned char const*>(from)[at];
    }
  }
};

/// The widest word.
struct alignas(16) CopyWord {
  std::uint32_t parts[4];
};

/// Calls `copy(word)` with a word that both places begin at a multiple of.
template <class Copy>
decltype(auto) with_copy_word(void const* from, void const* to, Copy const& copy)
{
  auto const places = reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to);
  if (places % sizeof(CopyWord) == 0) { return copy(CopyWord{}); }
  return places % sizeof(std::uint16_t) == 0 ? copy(std::uint16_t{}) : copy(std::uint8_t{});
}

/// Copies the rows in use.
/// Stream: enqueues one copy, or one kernel where only the space knows the number of rows; does not wait.
template <class Space>
void copy_rows_in_use(void const* from, void* to, RowCount const& rows, std::int64_t row_bytes,
                      Execution<Space> const& exec)
{
  bool constexpr host = std::is_same_v<Space, Host>;
  if (host || rows.count == nullptr) {
    auto const used = host ? rows.size() : rows.capacity;
    return Transfer<Space>::copy(to, from, static_cast<std::size_t>(used * row_bytes), exec);
  }
  with_copy_word(from, to, [&](auto word) {
    constexpr auto bytes = static_cast<std::int64_t>(sizeof(word));
    for_each(ceil_div(rows.capacity * row_bytes, bytes),
             CopyRowsInUse<decltype(word)>{from, to, rows, row_bytes}, exec);
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
