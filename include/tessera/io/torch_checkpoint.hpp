// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/io/value_kind.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

struct PickleNode;
struct TorchFile;

}  // namespace detail

namespace io {

/// One value of a PyTorch checkpoint; refers to the TorchCheckpoint it comes from.
///
/// Values may contain themselves, as Python's can: who walks them must bound the depth.
class TorchValue {
 public:
  TorchValue(detail::TorchFile const& file, std::uint32_t index) : file_{&file}, index_{index} {}

  [[nodiscard]] ValueKind kind() const noexcept;

  /// Its place among the values of the checkpoint: the same value has the same, wherever it is met.
  [[nodiscard]] std::uint32_t number() const noexcept { return index_; }

  /// Entries of a list or tuple, members of a dict; 0 for everything else.
  [[nodiscard]] std::size_t size() const noexcept;

  /// Entry `i` of a list or tuple.
  [[nodiscard]] TorchValue item(std::size_t i) const;

  /// Key and value of member `i` of a dict, in the order of the file.
  [[nodiscard]] std::pair<TorchValue, TorchValue> member(std::size_t i) const;

  /// The member of a dict under the text `key`; nothing if this is no dict or has none.
  [[nodiscard]] std::optional<TorchValue> find(std::string_view key) const;

  /// The attributes of a dict's or an opaque value's Python object, e.g. `_metadata` of a state_dict, as a
  /// dict; nothing if it has none.
  [[nodiscard]] std::optional<TorchValue> attributes() const;

  /// A text, bytes, or the name of an opaque value's class, "module.Name" without the module; as in the file.
  [[nodiscard]] std::string_view text() const noexcept;
  /// The module of an opaque value's class.
  [[nodiscard]] std::string_view module() const noexcept;
  /// A whole number, or 0 or 1 of a boolean.
  [[nodiscard]] std::int64_t integer() const noexcept;
  [[nodiscard]] double real() const noexcept;

  /// A tensor, row-major; the view refers to the checkpoint.
  /// @throws invalid_argument  this is no tensor
  [[nodiscard]] RawTensor const& tensor() const;

 private:
  [[nodiscard]] detail::PickleNode const& node() const noexcept;

  detail::TorchFile const* file_;
  std::uint32_t index_;
};

/// A PyTorch checkpoint, in host memory: everything that torch.save() wrote, as values.
///
/// Nothing in the file is called or imported. Tensors, numbers, texts, bytes, booleans, None, lists, tuples
/// and dictionaries (also collections.OrderedDict) are values; an object of any other class is an opaque
/// value that knows its name and attributes. Tensors are row-major whatever their strides were.
class TorchCheckpoint {
 public:
  /// The content of a file that is in memory already; `name` stands for the path in error sentences.
  /// @throws invalid_argument  it is no valid checkpoint: a sentence with name and byte
  TorchCheckpoint(std::vector<std::uint8_t> bytes, std::string name);
  TorchCheckpoint(TorchCheckpoint&& other) noexcept;
  TorchCheckpoint& operator=(TorchCheckpoint&& other) noexcept;
  ~TorchCheckpoint();

  /// What was saved, most often a dict. It refers to the checkpoint, which therefore needs a name.
  [[nodiscard]] TorchValue root() const&;
  TorchValue root() const&& = delete;

  /// The path, or the name given instead.
  [[nodiscard]] std::string const& path() const noexcept { return name_; }
  /// Size of the file.
  [[nodiscard]] std::size_t num_bytes() const noexcept { return bytes_.size(); }

 private:
  std::string name_;
  std::vector<std::uint8_t> bytes_;  // tensors and texts refer to its memory, which stays when it moves
  std::unique_ptr<detail::TorchFile> content_;  // values refer to it
};

/// Reads a PyTorch checkpoint (.pth, .pt): the zip format of PyTorch 1.6 and later, or the stream before it.
///
/// @throws invalid_argument  the file cannot be read, or is no valid checkpoint; the sentence names file and
///                           byte
/// Cost: one pass over the pickle; tensors are not copied unless their elements do not lie in a row.
/// Memory: the file, and at most 150 bytes for each byte of its pickle.
[[nodiscard]] TorchCheckpoint read_torch_checkpoint(std::string const& path);

}  // namespace io
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/torch_checkpoint_body.hpp>
#endif
