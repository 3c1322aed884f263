// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// How the numbers of a PLY file are written.
enum class PlyFormat : std::uint8_t { ascii, binary_little_endian, binary_big_endian };

}  // namespace v0
}  // namespace tessera
