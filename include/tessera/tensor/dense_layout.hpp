// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Order of a dense tensor's axes, row-major.
enum class DenseLayout : std::uint8_t {
  channels_last,   ///< [batches, x, y, ..., channels]
  channels_first,  ///< [batches, channels, x, y, ...], PyTorch's
};

}  // namespace v0
}  // namespace tessera
