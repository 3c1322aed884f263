// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Most bytes that LZF makes of one: three bytes of a file repeat up to 264.
inline constexpr std::size_t most_lzf_growth = 88;

/// Appends to `to` what the LZF data `from` hold; false unless they are `size` bytes, no more and no fewer.
///
/// A byte c below 32 precedes c + 1 bytes as they are. Any other precedes a repetition of bytes written
/// before: (c >> 5)
/// + 2 of them, plus a further byte where c >> 5 is 7, from ((c & 31) << 8) + one byte + 1 bytes back.
/// Source: M. Lehmann, LibLZF, lzf.h and lzf_d.c (the format).
[[nodiscard]] inline bool decompress_lzf(std::string_view from, std::size_t size, Bytes& to)
{
  auto const begin = to.size();
  auto const end = begin + size;
  to.reserve(end);
  std::size_t at = 0;
  auto const byte = [&] { return static_cast<std::size_t>(static_cast<unsigned char>(from[at++])); };
  while (at < from.size()) {
    auto const control = byte();
    if (control < 32) {
      auto const length = control + 1;
      if (from.size() - at < length || end - to.size() < length) { return false; }
      auto const literals = from.substr(at, length);
      to.insert(to.end(), literals.begin(), literals.end());
      at += length;
      continue;
    }
    auto length = (control >> 5) + 2;
    if (from.size() - at < (length == 9 ? 2U : 1U)) { return false; }
    if (length == 9) { length += byte(); }
    auto const back = ((control & 31) << 8) + byte() + 1;
    if (back > to.size() - begin || end - to.size() < length) { return false; }
    for (std::size_t i = 0; i < length; ++i) { to.push_back(to[to.size() - back]); }  // may repeat itself
  }
  return to.size() == end;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
