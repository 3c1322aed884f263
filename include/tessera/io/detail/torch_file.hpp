// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/file_kind.hpp>
#include <tessera/io/detail/pickle.hpp>
#include <tessera/io/detail/pickle_value.hpp>
#include <tessera/io/detail/zip.hpp>
#include <tessera/io/raw_tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A stretch of the file.
struct TorchBytes {
  std::size_t begin = 0;
  std::size_t size = 0;
};

/// A PyTorch checkpoint taken apart: values, and tensors as views of the file or of `copies`.
struct TorchFile {
  PickleValues values;
  std::vector<RawTensor> tensors;  ///< by PickleNode::number
  std::vector<Bytes> copies;       ///< of tensors whose elements do not lie in a row
};

/// Finds the pickle and the storages in a file, in either of PyTorch's formats.
///
/// Since 1.6: a zip archive of NAME/data.pkl, a pickle, and NAME/data/KEY, the memory of each storage.
/// Before: pickles of a magic number, a version, facts about the machine, the checkpoint and the list of
/// storages, then each storage's number of elements (64 bits) and its memory.
/// Source: torch/serialization.py of PyTorch 2.
class TorchFileReader {
 public:
  TorchFileReader(Bytes const& bytes, FileContext const& file)
      : bytes_{bytes}, file_{file}, text_{reinterpret_cast<char const*>(bytes.data()), bytes.size()}
  {}

  [[nodiscard]] TorchFile read()
  {
    check_torch_beginning(bytes_, file_);
    if (text_.front() == '\x80') {
      read_stream();
    } else {
      read_zip();
    }
    for (auto const& tensor : result_.values.tensors) { result_.tensors.push_back(view(tensor)); }
    return std::move(result_);
  }

 private:
  void read_zip()
  {
    std::map<std::string_view, TorchBytes> entries;
    std::string_view pickle;
    for (auto const& entry : ZipReader{bytes_, file_}.read()) {
      entries.emplace(entry.name, TorchBytes{entry.begin, entry.end - entry.begin});
      constexpr std::string_view end = "/data.pkl";
      auto const name = entry.name;
      bool const found = name.size() > end.size() && name.substr(name.size() - end.size()) == end &&
                         name.find('/') == name.size() - end.size();
      if (found && !pickle.empty()) { file_.fail("a zip archive of two checkpoints"); }
      if (found) { pickle = name; }
    }
    if (pickle.empty()) { file_.fail("a zip archive, but without NAME/data.pkl no checkpoint of PyTorch's"); }
    std::string const folder{pickle.substr(0, pickle.size() - 8)};
    if (entries.count(folder + "constants.pkl") != 0) {
      file_.fail("holds a TorchScript program; save the model's state_dict() instead");
    }
    auto const order = entries.find(folder + "byteorder");
    if (order != entries.end() && text_.substr(order->second.begin, order->second.size) != "little") {
      file_.fail("was written on a big-endian machine, which is not supported");
    }
    auto const at = entries.at(pickle);
    result_.values = PickleReader{text_.substr(0, at.begin + at.size), at.begin, file_}.read();
    for (auto const& storage : result_.values.storages) {
      auto const found = entries.find(folder + "data/" + std::string{storage.key});
      storages_.push_back(found == entries.end() ? std::nullopt : std::optional{found->second});
    }
  }

  void read_stream()
  {
    std::size_t at = 0;
    auto const next = [&] {
      auto values = PickleReader{text_, at, file_}.read();
      at = values.end;
      return values;
    };
    auto const magic = next();
    auto const& root = magic.nodes[magic.root];
    if (root.kind != ValueKind::opaque || root.text != torch_stream_magic) {
      file_.fail("is a pickle, but does not begin with PyTorch's magic number");
    }
    auto const version = next();
    if (version.nodes[version.root].kind != ValueKind::integer ||
        version.nodes[version.root].integer != 1001) {
      file_.fail("is of another version of PyTorch's stream format than 1001");
    }
    check_machine(next());
    result_.values = next();
    auto const keys = next();
    auto const& list = keys.nodes[keys.root];
    if (list.kind != ValueKind::list) { file_.fail("has no list of storages behind the checkpoint"); }

    std::map<std::string_view, TorchBytes> found;
    std::map<std::string_view, std::string_view> types;
    for (auto const& storage : result_.values.storages) { types.emplace(storage.key, storage.type); }
    for (auto const index : list.items) {
      auto const& key = keys.nodes[index];
      auto const type = types.find(key.kind == ValueKind::text ? key.text : std::string_view{});
      if (type == types.end()) { file_.fail("holds a storage that nothing in the checkpoint uses"); }
      auto const element = element_bytes(type->second);
      if (element == 0) {
        file_.fail("holds a storage of type ", in_quotes(type->second), ", whose size is not known");
      }
      if (text_.size() - at < 8) { file_.fail("ends at byte ", at, ", before its storages do"); }
      auto const count = load_bytes<std::uint64_t>(bytes_.data() + at);
      at += 8;
      if (count > (text_.size() - at) / element) {
        file_.fail("storage ", in_quotes(key.text), " is said to have ", count, " elements at byte ", at,
                   ", but ", text_.size() - at, " bytes follow");
      }
      auto const size = static_cast<std::size_t>(count) * element;
      if (!found.emplace(type->first, TorchBytes{at, size}).second) {
        file_.fail("lists the storage ", in_quotes(key.text), " twice");
      }
      at += size;
    }
    for (auto const& storage : result_.values.storages) {
      auto const place = found.find(storage.key);
      storages_.push_back(place == found.end() ? std::nullopt : std::optional{place->second});
    }
    if (at != text_.size()) { file_.fail("has ", text_.size() - at, " bytes left behind its last storage"); }
  }

  void check_machine(PickleValues const& values) const
  {
    auto const& facts = values.nodes[values.root];
    for (std::size_t i = 0; i + 1 < facts.items.size(); i += 2) {
      auto const& value = values.nodes[facts.items[i + 1]];
      bool const big = value.kind == ValueKind::boolean && value.integer == 0;
      if (values.nodes[facts.items[i]].text == "little_endian" && big) {
        file_.fail("was written on a big-endian machine, which is not supported");
      }
    }
  }

  /// Bytes of an element of a storage; 0 if its type is unknown.
  [[nodiscard]] static std::size_t element_bytes(std::string_view type) noexcept
  {
    for (auto const& known : torch_types) {
      if (type == known.storage) { return size_of(known.dtype); }
    }
    if (type == "ComplexDoubleStorage") { return 16; }
    if (type == "ComplexFloatStorage") { return 8; }
    if (type == "QInt32Storage") { return 4; }
    return type == "UntypedStorage" || type == "QInt8Storage" || type == "QUInt8Storage" ? 1 : 0;
  }

  /// The bytes of the storage that `tensor` lies in, held against all that the pickle says of it.
  [[nodiscard]] TorchBytes memory_of(PickleTensor const& tensor) const
  {
    auto const& storage = result_.values.storages[tensor.storage];
    auto const& found = storages_[tensor.storage];
    if (!found) { fail(tensor, "lies in the storage ", in_quotes(storage.key), ", which the file lacks"); }
    auto memory = *found;
    auto const element = element_bytes(storage.type);
    if (element == 0 || storage.count > memory.size / element) {
      fail(tensor, "lies in the storage ", in_quotes(storage.key), " of ", storage.count,
           " elements, for which the file has ", memory.size, " bytes");
    }
    memory.size = static_cast<std::size_t>(storage.count) * element;
    if (storage.is_view) {
      if (storage.first > memory.size / element) { fail(tensor, "lies outside of its storage"); }
      memory.begin += static_cast<std::size_t>(storage.first) * element;
      memory.size -= static_cast<std::size_t>(storage.first) * element;
    }
    return memory;
  }

  /// The tensor in rows: a view of the file where its elements lie in a row, else of a copy.
  [[nodiscard]] RawTensor view(PickleTensor const& tensor)
  {
    auto const memory = memory_of(tensor);
    auto const element = size_of(tensor.dtype);
    std::size_t bytes = 0;
    if (!count_bytes(tensor.shape, element, bytes)) { fail(tensor, "has more elements than can be counted"); }
    RawTensor result{tensor.dtype, tensor.shape, bytes_.data() + memory.begin, bytes};
    if (bytes == 0) { return result; }
    std::uint64_t last = static_cast<std::uint64_t>(tensor.offset);  // its place in the storage
    std::uint64_t const elements = memory.size / element;
    bool in_a_row = true;
    std::int64_t row = 1;
    for (std::size_t axis = tensor.shape.size(); axis-- > 0;) {
      if (tensor.shape[axis] == 1) { continue; }
      in_a_row = in_a_row && tensor.strides[axis] == row;
      row *= tensor.shape[axis];
      auto const steps = static_cast<std::uint64_t>(tensor.shape[axis] - 1);
      auto const stride = static_cast<std::uint64_t>(tensor.strides[axis]);
      if (last < elements) { last = stride > elements / steps ? elements : last + steps * stride; }
    }
    if (last >= elements) {
      fail(tensor, "of shape ", shown_shape(tensor.shape), ", strides ", shown_shape(tensor.strides),
           " and offset ", tensor.offset, " lies outside of its storage of ", elements, " elements");
    }
    result.bytes += static_cast<std::size_t>(tensor.offset) * element;
    if (in_a_row) { return result; }

    // A stride of 0 makes much of little, and many tensors may be views of one storage.
    std::size_t const allowance = (std::size_t{1} << 20) + 8 * text_.size();
    if (bytes > allowance - copied_) {
      fail(tensor, "of shape ", shown_shape(tensor.shape),
           " is a view that would take more memory than the file");
    }
    copied_ += bytes;
    result_.copies.push_back(in_rows(tensor, result.bytes, bytes));
    result.bytes = result_.copies.back().data();
    return result;
  }

  [[nodiscard]] static Bytes in_rows(PickleTensor const& tensor, std::uint8_t const* from, std::size_t bytes)
  {
    // Axes that are one row together count as one, those of extent 1 as none: each step then moves an
    // element.
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;
    for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
      auto const extent = tensor.shape[axis];
      auto const stride = tensor.strides[axis];
      if (extent == 1) { continue; }
      if (!shape.empty() && strides.back() == extent * stride) {
        shape.back() *= extent;
        strides.back() = stride;
      } else {
        shape.push_back(extent);
        strides.push_back(stride);
      }
    }
    auto const element = size_of(tensor.dtype);
    Bytes rows(bytes);
    std::vector<std::int64_t> index(shape.size(), 0);
    std::int64_t at = 0;
    for (std::size_t to = 0; to < bytes; to += element) {
      std::copy_n(from + static_cast<std::size_t>(at) * element, element, rows.data() + to);
      for (std::size_t axis = index.size(); axis-- > 0;) {
        at += strides[axis];
        if (++index[axis] < shape[axis]) { break; }
        at -= shape[axis] * strides[axis];
        index[axis] = 0;
      }
    }
    return rows;
  }

  template <class... Parts>
  [[noreturn]] void fail(PickleTensor const& tensor, Parts const&... parts) const
  {
    file_.fail("the tensor at byte ", tensor.position, " ", parts...);
  }

  Bytes const& bytes_;
  FileContext const& file_;
  std::string_view text_;
  TorchFile result_;
  std::vector<std::optional<TorchBytes>> storages_;  ///< where each of the pickle's storages is
  std::size_t copied_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
