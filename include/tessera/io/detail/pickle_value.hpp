// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>
#include <tessera/io/value_kind.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

using io::ValueKind;

/// A value by its place among all values of a pickle. Values refer to each other by number, not by pointer:
/// cycles and depth cost nothing, and nothing that walks them needs to recurse.
using PickleIndex = std::uint32_t;
inline constexpr PickleIndex no_value = std::numeric_limits<PickleIndex>::max();

/// Parts of a pickle that stand for code or memory. They end up as opaque values if nothing takes them.
enum class PickleRole : std::uint8_t { plain, global, storage };

struct PickleNode {
  ValueKind kind = ValueKind::none;
  PickleRole role = PickleRole::plain;
  PickleIndex state = no_value;  ///< of a dict or an opaque value: the attributes of the Python object
  std::uint32_t number = 0;      ///< of a storage or a tensor: its place among those
  std::int64_t integer = 0;      ///< of an integer or a boolean
  double real = 0.0;             ///< of a real
  std::string_view text;         ///< text, bytes, or an opaque value's class; lies in the file or in `texts`
  std::string_view module;       ///< of an opaque value: the module of the class
  std::vector<PickleIndex> items;  ///< of a list or tuple; of a dict keys and values in turn
};

/// Memory that tensors lie in.
struct PickleStorage {
  std::string_view key;
  std::string_view type;    ///< e.g. "FloatStorage"
  std::uint64_t count = 0;  ///< as the pickle says: elements, of an UntypedStorage bytes
  std::uint64_t first = 0;  ///< the first element of a view into the storage of the same key
  bool is_view = false;
};

/// A tensor as the pickle describes it.
struct PickleTensor {
  std::uint32_t storage = 0;
  DType dtype = DType::float32;
  std::int64_t offset = 0;  ///< elements
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  std::size_t position = 0;  ///< in the pickle, for sentences about it
};

/// Everything that one pickle holds.
struct PickleValues {
  std::vector<PickleNode> nodes;
  std::vector<PickleStorage> storages;
  std::vector<PickleTensor> tensors;
  std::deque<std::string> texts;  ///< those that the file holds in another form
  PickleIndex root = no_value;
  std::size_t end = 0;  ///< the byte behind the pickle
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
