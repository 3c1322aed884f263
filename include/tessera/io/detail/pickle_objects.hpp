// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/pickle_value.hpp>
#include <tessera/io/raw_tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Most values of one pickle: a byte of pickle can ask for a value of 150 bytes.
inline constexpr std::size_t max_pickle_values = std::size_t{1} << 22;

/// Longest name of a storage; PyTorch's are numbers.
inline constexpr std::size_t max_storage_key = 64;

struct TorchType {
  std::string_view storage;
  std::string_view name;
  DType dtype;
};

inline constexpr TorchType torch_types[] = {
    {"DoubleStorage", "float64", DType::float64}, {"FloatStorage", "float32", DType::float32},
    {"HalfStorage", "float16", DType::float16},   {"BFloat16Storage", "bfloat16", DType::bfloat16},
    {"LongStorage", "int64", DType::int64},       {"IntStorage", "int32", DType::int32},
    {"ShortStorage", "int16", DType::int16},      {"CharStorage", "int8", DType::int8},
    {"ByteStorage", "uint8", DType::uint8},       {"BoolStorage", "bool", DType::boolean}};

/// What a pickle says of objects, turned into values: dictionaries and tensors are understood by what their
/// classes are called, everything else stays opaque. No name leads to code, here or anywhere.
class PickleObjects {
 public:
  /// @param num_bytes  of the file, which bound what may be made of it
  PickleObjects(FileContext const& file, std::size_t num_bytes)
      : file_{file}, max_copies_{8 * num_bytes + 4096}
  {}

  [[nodiscard]] PickleValues& values() noexcept { return values_; }

  /// The byte that error sentences name.
  void set_position(std::size_t at) noexcept { at_ = at; }

  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    file_.fail("not a valid pickle at byte ", at_, ": ", parts...);
  }

  [[nodiscard]] PickleNode& node(PickleIndex index) { return values_.nodes[index]; }

  [[nodiscard]] PickleIndex add(PickleNode node)
  {
    if (values_.nodes.size() >= max_pickle_values) { fail("more than ", max_pickle_values, " values"); }
    values_.nodes.push_back(std::move(node));
    return static_cast<PickleIndex>(values_.nodes.size() - 1);
  }

  [[nodiscard]] PickleIndex add_opaque(std::string_view module, std::string_view name,
                                       PickleRole role = PickleRole::plain)
  {
    PickleNode made;
    made.kind = ValueKind::opaque;
    made.role = role;
    made.module = module;
    made.text = name;
    return add(std::move(made));
  }

  [[nodiscard]] PickleIndex add_items(ValueKind kind, std::vector<PickleIndex> items)
  {
    PickleNode made;
    made.kind = kind;
    made.items = std::move(items);
    return add(std::move(made));
  }

  /// What `callable(*arguments)` stands for.
  [[nodiscard]] PickleIndex reduce(PickleIndex callable, PickleIndex arguments)
  {
    auto const& function = node(callable);
    if (function.kind != ValueKind::opaque) { fail("something that is no function is called"); }
    if (node(arguments).kind != ValueKind::tuple) { fail("a function is called with something but a tuple"); }
    auto const module = function.module;
    auto const name = function.text;
    bool const few = node(arguments).items.size() <= 16;  // as all that is known here
    if (function.role != PickleRole::global || !few) { return add_opaque(module, name); }
    auto const items = node(arguments).items;
    if (module == "torch._utils") {
      if (name == "_rebuild_tensor" || name == "_rebuild_tensor_v2" || name == "_rebuild_tensor_v3") {
        return tensor(items, name == "_rebuild_tensor_v3");
      }
      if (name == "_rebuild_parameter" || name == "_rebuild_parameter_with_state") {
        return items.empty() ? fail_arguments(name) : items[0];
      }
    }
    if (module == "torch._tensor" && (name == "_rebuild_from_type_v2" || name == "_rebuild_from_type")) {
      // (function, type, arguments, state): a tensor that had attributes. One step, so no recursion.
      if (items.size() < 3) { fail_arguments(name); }
      auto const& inner = node(items[0]);
      bool const nested = inner.kind == ValueKind::opaque && inner.module == module;
      return nested ? add_opaque(module, name) : reduce(items[0], items[2]);
    }
    if (module == "torch" && name == "Size" && items.size() == 1 && node(items[0]).kind == ValueKind::tuple) {
      return items[0];
    }
    if (is_dict(module, name)) { return dict_of(name, items); }
    if (module == "_codecs" && name == "encode" && items.size() == 2) { return encoded(items); }
    return add_opaque(module, name);
  }

  /// `cls.__new__(cls, *arguments)`.
  [[nodiscard]] PickleIndex make(PickleIndex cls)
  {
    auto const& type = node(cls);
    if (type.kind != ValueKind::opaque) { fail("an object is made of something that is no class"); }
    auto const module = type.module;
    auto const name = type.text;
    if (is_dict(module, name)) { return add_items(ValueKind::dict, {}); }
    return add_opaque(module, name);
  }

  /// What a persistent id stands for: ('storage', type, key, location, count) is memory of a tensor.
  [[nodiscard]] PickleIndex persistent(PickleIndex id)
  {
    auto const& entries = node(id).items;
    bool const storage = node(id).kind == ValueKind::tuple && !entries.empty() && entries.size() <= 16 &&
                         node(entries[0]).kind == ValueKind::text && node(entries[0]).text == "storage";
    if (!storage) { return add_opaque({}, "persistent id"); }
    auto const items = entries;
    if (items.size() < 5) { fail("a storage with ", items.size(), " entries; 5 are needed"); }
    auto const& type = node(items[1]);
    auto const& key = node(items[2]);
    auto const& count = node(items[4]);
    if (type.kind != ValueKind::opaque || key.kind != ValueKind::text || count.kind != ValueKind::integer ||
        count.integer < 0) {
      fail("a storage whose type, key or size is something else");
    }
    if (key.text.size() > max_storage_key) {
      fail("a storage whose key has ", key.text.size(), " characters; at most ", max_storage_key,
           " are read");
    }
    PickleStorage made{key.text, type.text, static_cast<std::uint64_t>(count.integer), 0, false};
    if (items.size() > 5 && node(items[5]).kind == ValueKind::tuple) {
      // a view into this storage, before PyTorch 0.4: (key, first element, number of elements)
      auto const& view = node(items[5]).items;
      if (view.size() != 3 || node(view[1]).kind != ValueKind::integer || node(view[1]).integer < 0) {
        fail("a view of a storage that is not described by three entries");
      }
      made.first = static_cast<std::uint64_t>(node(view[1]).integer);
      made.is_view = true;
    }
    values_.storages.push_back(made);
    PickleNode result;
    result.kind = ValueKind::opaque;
    result.role = PickleRole::storage;
    result.number = static_cast<std::uint32_t>(values_.storages.size() - 1);
    result.module = type.module;
    result.text = type.text;
    return add(std::move(result));
  }

 private:
  [[noreturn]] PickleIndex fail_arguments(std::string_view name) const
  {
    fail(name, " is called with other arguments than PyTorch's");
  }

  [[nodiscard]] static bool is_dict(std::string_view module, std::string_view name) noexcept
  {
    if (module == "collections") { return name == "OrderedDict" || name == "defaultdict"; }
    return (module == "builtins" || module == "__builtin__") && name == "dict";
  }

  /// Bytes, which protocol 2 has no instruction for: `_codecs.encode(text, "latin1")`.
  [[nodiscard]] PickleIndex encoded(std::vector<PickleIndex> const& items)
  {
    auto const& from = node(items[0]);
    auto const& encoding = node(items[1]);
    if (from.kind != ValueKind::text || encoding.kind != ValueKind::text || encoding.text != "latin1") {
      return add_opaque("_codecs", "encode");
    }
    auto const [known, is_new] = encoded_.try_emplace(
        {reinterpret_cast<std::uintptr_t>(from.text.data()), from.text.size()}, no_value);
    if (!is_new) { return known->second; }  // one text of the file, used again
    std::string bytes;
    for (std::size_t i = 0; i < from.text.size(); ++i) {
      auto const first = static_cast<unsigned char>(from.text[i]);
      if (first < 0x80) {
        bytes += from.text[i];
        continue;
      }
      unsigned const next = ++i < from.text.size() ? static_cast<unsigned char>(from.text[i]) : 0U;
      if (first < 0xc2 || first > 0xc3 || (next & 0xc0U) != 0x80U) { fail("bytes that are no latin1 text"); }
      bytes += static_cast<char>(((first & 3U) << 6) | (next & 0x3fU));
    }
    values_.texts.push_back(std::move(bytes));
    PickleNode made;
    made.kind = ValueKind::bytes;
    made.text = values_.texts.back();
    return known->second = add(std::move(made));
  }

  [[nodiscard]] PickleIndex dict_of(std::string_view name, std::vector<PickleIndex> const& arguments)
  {
    std::vector<PickleIndex> members;
    if (name != "defaultdict" && !arguments.empty()) {  // OrderedDict([[key, value], ...])
      auto const& pairs = node(arguments[0]);
      if (pairs.kind != ValueKind::list) { fail_arguments(name); }
      count_copies(2 * pairs.items.size());
      for (auto const pair : pairs.items) {
        auto const& two = node(pair);
        bool const sequence = two.kind == ValueKind::list || two.kind == ValueKind::tuple;
        if (!sequence || two.items.size() != 2) { fail_arguments(name); }
        members.insert(members.end(), two.items.begin(), two.items.end());
      }
    }
    return add_items(ValueKind::dict, std::move(members));
  }

  /// One value may be copied over and over by a few bytes each time, so copies are held against the file.
  void count_copies(std::size_t count)
  {
    copies_ += count;
    if (copies_ > max_copies_) {
      fail("values are copied over and over, more than 8 for each byte of the file");
    }
  }

  [[nodiscard]] std::vector<std::int64_t> numbers(PickleIndex index, char const* what)
  {
    auto const& from = node(index);
    if (from.kind != ValueKind::tuple && from.kind != ValueKind::list) {
      fail("a tensor's ", what, " is no tuple");
    }
    if (from.items.size() > max_tensor_dimensions) {
      fail("a tensor of ", from.items.size(), " dimensions; at most ", max_tensor_dimensions, " are read");
    }
    count_copies(from.items.size());
    std::vector<std::int64_t> result;
    for (auto const item : from.items) {
      auto const& number = node(item);
      if (number.kind != ValueKind::integer || number.integer < 0) {
        fail("a tensor's ", what, " holds something other than whole numbers of at least 0");
      }
      result.push_back(number.integer);
    }
    return result;
  }

  /// (storage, offset, shape, strides, requires_grad, hooks[, dtype])
  [[nodiscard]] PickleIndex tensor(std::vector<PickleIndex> const& items, bool names_type)
  {
    std::string_view const name = names_type ? "_rebuild_tensor_v3" : "_rebuild_tensor";
    if (items.size() < (names_type ? 7U : 4U)) { fail_arguments(name); }
    auto const& storage = node(items[0]);
    auto const& offset = node(items[1]);
    if (storage.kind != ValueKind::opaque) { fail_arguments(name); }
    if (storage.role != PickleRole::storage) { return add_opaque(storage.module, storage.text); }
    if (offset.kind != ValueKind::integer || offset.integer < 0) { fail("a tensor's offset is no number"); }

    PickleTensor made;
    made.storage = storage.number;
    made.offset = offset.integer;
    made.position = at_;
    made.shape = numbers(items[2], "shape");
    made.strides = numbers(items[3], "strides");
    if (made.shape.size() != made.strides.size()) {
      fail("a tensor of ", made.shape.size(), " dimensions and ", made.strides.size(), " strides");
    }
    auto const& type = node(names_type ? items[6] : items[0]);
    if (type.kind != ValueKind::opaque) { fail_arguments(name); }
    for (auto const& known : torch_types) {
      if (type.text != (names_type ? known.name : known.storage)) { continue; }
      made.dtype = known.dtype;
      values_.tensors.push_back(std::move(made));
      PickleNode result;
      result.kind = ValueKind::tensor;
      result.number = static_cast<std::uint32_t>(values_.tensors.size() - 1);
      return add(std::move(result));
    }
    return add_opaque(type.module, type.text);  // complex numbers, quantized ones, ...
  }

  FileContext const& file_;
  PickleValues values_;
  std::size_t at_ = 0;
  std::size_t copies_ = 0;
  std::size_t max_copies_;
  std::map<std::pair<std::uintptr_t, std::size_t>, PickleIndex> encoded_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
