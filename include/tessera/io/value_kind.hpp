// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace io {

/// What a value of a PyTorch checkpoint is.
enum class ValueKind : std::uint8_t {
  none,
  boolean,
  integer,
  real,
  text,
  bytes,
  list,
  tuple,
  dict,
  tensor,
  opaque  ///< anything else: an object of some class, of which the name is known and nothing was made
};

}  // namespace io

}  // namespace v0
}  // namespace tessera
