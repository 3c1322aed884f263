// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/kernel_map.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Which offsets a split owns, for the functors of tile maps.
struct SplitOffsets {
  int volume;
  int length;  // of a split: ceil(volume / splits)

  [[nodiscard]] TESSERA_HOST_DEVICE int begin(std::int64_t split) const
  {
    auto const first = split * length;
    return first < volume ? static_cast<int>(first) : volume;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE int end(std::int64_t split) const { return begin(split + 1); }
};

/// Bits of a key of `split`'s masks: `bit(k - begin)`, the rarest offset's the highest. Of long splits the
/// last offsets have bits alone.
struct MaskBits {
  std::uint8_t bit_of[OffsetOrder::most] = {};
  int begin;
  int end;
  int bits;
  bool by_order;  // else by number

  MaskBits(OffsetOrder const& order, SplitOffsets const& offsets, std::int64_t split, int most)
      : begin{offsets.begin(split)},
        end{offsets.end(split)},
        bits{std::min(offsets.length, most)},
        by_order{offsets.volume <= OffsetOrder::most}
  {
    std::uint8_t bit = 0;
    for (int place = 0; by_order && place < offsets.volume; ++place) {
      int const k = order.offset_at[place];
      if (k >= begin && k < end) { bit_of[k - begin] = bit++; }
    }
  }

  /// The bit of offset begin + i, or -1.
  [[nodiscard]] TESSERA_HOST_DEVICE int bit(int i) const
  {
    if (by_order) { return bit_of[i]; }
    return bits - 1 - (end - begin - 1 - i);
  }
};

/// The place of `code` in the Gray code, the order of all numbers in which neighbours differ in one bit:
/// bit i of it is the parity of code's bits from i on.
template <class Key>
[[nodiscard]] TESSERA_HOST_DEVICE constexpr Key gray_place(Key code)
{
  for (int shift = static_cast<int>(sizeof(Key)) * 4; shift > 0; shift /= 2) { code ^= code >> shift; }
  return code;
}

/// keys[row] = the complement of the row's mask in a split, as KernelMapParts::mask_keys.
template <class Key>
struct WriteMaskKeys {
  std::int32_t const* out_in;  // [num_out, volume]
  Key* keys;                   // [num_out]
  int volume;
  MaskBits mask;

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    auto const* const entries = out_in + row * volume + mask.begin;
    Key bits{0};
    for (int i = 0; i < mask.end - mask.begin; ++i) {
      int const bit = mask.bit(i);
      if (entries[i] >= 0 && bit >= 0) { bits = static_cast<Key>(bits | Key{1} << bit); }
    }
    keys[row] = static_cast<Key>(~bits);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
