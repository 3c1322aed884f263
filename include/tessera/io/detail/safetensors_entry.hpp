// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A type of the format. Those without DType are known by their size, so that a file with them can be
/// checked.
struct SafetensorsType {
  char const* name;
  std::size_t bytes;
  bool readable;
  DType dtype;
};

/// One tensor: its bytes are [begin, end) of the data after the header.
struct SafetensorsEntry {
  SafetensorsType const* type = nullptr;
  std::vector<std::int64_t> shape;
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// What the header of a file says.
struct SafetensorsHeader {
  std::vector<std::string> names;  ///< in the order of the header
  std::map<std::string, SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
  std::size_t data_begin = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
