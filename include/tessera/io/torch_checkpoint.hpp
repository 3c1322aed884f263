// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/pickle_value.hpp>
#include <tessera/io/detail/torch_file.hpp>
#include <tessera/io/raw_tensor.hpp>

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
namespace io {

/// One value of a PyTorch checkpoint; refers to the TorchCheckpoint it comes from.
///
/// Values may contain themselves, as Python's can: who walks them must bound the depth.
class TorchValue {
 public:
  TorchValue(detail::TorchFile const& file, detail::PickleIndex index) : file_{&file}, index_{index} {}

  [[nodiscard]] ValueKind kind() const noexcept { return node().kind; }

  /// Its place among the values of the checkpoint: the same value has the same, wherever it is met.
  [[nodiscard]] std::uint32_t number() const noexcept { return index_; }

  /// Entries of a list or tuple, members of a dict; 0 for everything else.
  [[nodiscard]] std::size_t size() const noexcept
  {
    return kind() == ValueKind::dict ? node().items.size() / 2 : node().items.size();
  }

  /// Entry `i` of a list or tuple.
  [[nodiscard]] TorchValue item(std::size_t i) const
  {
    bool const sequence = kind() == ValueKind::list || kind() == ValueKind::tuple;
    detail::expects(sequence && i < size(), "TorchValue: item ", i, " of a value with ", size());
    return {*file_, node().items[i]};
  }

  /// Key and value of member `i` of a dict, in the order of the file.
  [[nodiscard]] std::pair<TorchValue, TorchValue> member(std::size_t i) const
  {
    detail::expects(kind() == ValueKind::dict && i < size(), "TorchValue: member ", i, " of a value with ",
                    size());
    return {{*file_, node().items[2 * i]}, {*file_, node().items[2 * i + 1]}};
  }

  /// The member of a dict under the text `key`; nothing if this is no dict or has none.
  [[nodiscard]] std::optional<TorchValue> find(std::string_view key) const
  {
    if (kind() != ValueKind::dict) { return std::nullopt; }
    for (std::size_t i = size(); i-- > 0;) {  // the last one counts, as in Python
      auto const [name, value] = member(i);
      if (name.kind() == ValueKind::text && name.text() == key) { return value; }
    }
    return std::nullopt;
  }

  /// The attributes of a dict's or an opaque value's Python object, e.g. `_metadata` of a state_dict, as a
  /// dict; nothing if it has none.
  [[nodiscard]] std::optional<TorchValue> attributes() const
  {
    if (node().state == detail::no_value) { return std::nullopt; }
    return TorchValue{*file_, node().state};
  }

  /// A text, bytes, or the name of an opaque value's class, "module.Name" without the module; as in the file.
  [[nodiscard]] std::string_view text() const noexcept { return node().text; }
  /// The module of an opaque value's class.
  [[nodiscard]] std::string_view module() const noexcept { return node().module; }
  /// A whole number, or 0 or 1 of a boolean.
  [[nodiscard]] std::int64_t integer() const noexcept { return node().integer; }
  [[nodiscard]] double real() const noexcept { return node().real; }

  /// A tensor, row-major; the view refers to the checkpoint.
  /// @throws invalid_argument  this is no tensor
  [[nodiscard]] RawTensor const& tensor() const
  {
    detail::expects(kind() == ValueKind::tensor, "TorchValue: this is no tensor");
    return file_->tensors[node().number];
  }

 private:
  [[nodiscard]] detail::PickleNode const& node() const noexcept { return file_->values.nodes[index_]; }

  detail::TorchFile const* file_;
  detail::PickleIndex index_;
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
  TorchCheckpoint(std::vector<std::uint8_t> bytes, std::string name)
      : name_{std::move(name)}, bytes_{std::move(bytes)}
  {
    detail::FileContext const file{"read_torch_checkpoint", name_};
    content_ = std::make_unique<detail::TorchFile>(detail::TorchFileReader{bytes_, file}.read());
  }

  /// What was saved, most often a dict. It refers to the checkpoint, which therefore needs a name.
  [[nodiscard]] TorchValue root() const& { return {*content_, content_->values.root}; }
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
[[nodiscard]] inline TorchCheckpoint read_torch_checkpoint(std::string const& path)
{
  return {detail::read_file(detail::FileContext{"read_torch_checkpoint", path}), path};
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
