// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// The voxels that tensors on different coordinate sets are combined on.
enum class Join : std::uint8_t {
  outer,  ///< those of any tensor, the union, in lexicographic order (batch, x, y, ...)
  inner,  ///< those of every tensor, the intersection, in lexicographic order
  left,   ///< those of the first tensor: its coordinate set itself, with its maps and the order of its rows
};

}  // namespace v0
}  // namespace tessera
