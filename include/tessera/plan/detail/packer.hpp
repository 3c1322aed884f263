// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/int_array.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Lays blocks of memory that live at different times into one range, each at the lowest place that is free.
///
/// The same sequence of calls gives the same places, which is how memory is measured before it is there.
class Packer {
 public:
  static constexpr std::size_t alignment = 256;

  /// The offset of a new block of `bytes` > 0.
  [[nodiscard]] std::size_t take(std::size_t bytes)
  {
    auto const size = ceil_div(bytes, alignment) * alignment;
    std::size_t offset = 0;
    for (auto const& [begin, length] : blocks_) {
      if (begin - offset >= size) { break; }
      offset = begin + length;
    }
    blocks_.emplace(offset, size);
    most_ = std::max(most_, offset + size);
    return offset;
  }

  /// Ends the block at `offset`.
  void give_back(std::size_t offset) { blocks_.erase(offset); }

  /// Bytes that every block so far fits into.
  [[nodiscard]] std::size_t bytes() const noexcept { return most_; }
  /// Blocks that live now.
  [[nodiscard]] std::size_t num_blocks() const noexcept { return blocks_.size(); }

 private:
  std::map<std::size_t, std::size_t> blocks_;  // offset -> bytes
  std::size_t most_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
