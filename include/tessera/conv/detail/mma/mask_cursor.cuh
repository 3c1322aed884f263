// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Walks the offsets of a tile's mask, ascending: the set bits of words that `mask_of(word)` reads, one at a
/// time.
class MaskCursor {
 public:
  /// Goes back to the first word.
  __device__ void begin(std::uint32_t first_word)
  {
    word_ = 0;
    bits_ = first_word;
  }

  /// Whether the current word has further offsets.
  [[nodiscard]] __device__ bool has_offset() const { return bits_ != 0; }

  /// Takes the next offset of the current word, which has one.
  [[nodiscard]] __device__ int take()
  {
    int const offset = word_ * 32 + __ffs(static_cast<int>(bits_)) - 1;
    bits_ &= bits_ - 1;
    return offset;
  }

  /// Goes on to the next word of `words` that has an offset, if the current one has none.
  template <class MaskOf>
  __device__ void skip_empty_words(int words, MaskOf const& mask_of)
  {
    while (bits_ == 0 && word_ + 1 < words) { bits_ = mask_of(++word_); }
  }

  /// Takes the next offset of all words; -1 past the last.
  template <class MaskOf>
  [[nodiscard]] __device__ int next(int words, MaskOf const& mask_of)
  {
    skip_empty_words(words, mask_of);
    return has_offset() ? take() : -1;
  }

 private:
  int word_ = 0;
  std::uint32_t bits_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
