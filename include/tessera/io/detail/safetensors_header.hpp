// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/file_kind.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/detail/safetensors_entry.hpp>
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

/// Longest header, as in the format's own implementation.
inline constexpr std::size_t max_safetensors_header = 100'000'000;

inline constexpr SafetensorsType safetensors_types[] = {
    {"F64", 8, true, DType::float64},        {"F32", 4, true, DType::float32},
    {"F16", 2, true, DType::float16},        {"BF16", 2, true, DType::bfloat16},
    {"I64", 8, true, DType::int64},          {"I32", 4, true, DType::int32},
    {"I16", 2, true, DType::int16},          {"I8", 1, true, DType::int8},
    {"U8", 1, true, DType::uint8},           {"BOOL", 1, true, DType::boolean},
    {"U64", 8, false, DType::int64},         {"U32", 4, false, DType::int32},
    {"U16", 2, false, DType::int16},         {"C64", 8, false, DType::int64},
    {"F8_E8M0", 1, false, DType::uint8},     {"F8_E4M3", 1, true, DType::float8_e4m3},
    {"F8_E5M2", 1, true, DType::float8_e5m2}};

[[nodiscard]] inline SafetensorsType const* find_safetensors_type(std::string_view name) noexcept
{
  for (auto const& type : safetensors_types) {
    if (name == type.name) { return &type; }
  }
  return nullptr;
}

[[nodiscard]] inline char const* safetensors_name_of(DType dtype) noexcept
{
  for (auto const& type : safetensors_types) {
    if (type.readable && type.dtype == dtype) { return type.name; }
  }
  return "";
}

/// Reads the array `key` of a tensor's description: whole numbers of at least 0.
[[nodiscard]] inline std::vector<std::int64_t> safetensors_numbers(JsonParser& json, std::string const& key,
                                                                   std::string const& tensor,
                                                                   FileContext const& file)
{
  std::vector<std::int64_t> numbers;
  json.array([&] {
    int const c = json.next();
    std::int64_t const* number = nullptr;
    Json value;
    if (c == '-' || (c >= '0' && c <= '9')) {
      value = json.value();
      number = value.get<std::int64_t>();
    } else {
      json.skip();
    }
    if (number == nullptr || *number < 0) {
      file.fail("tensor ", tensor, ": '", key, "' holds something other than whole numbers of at least 0");
    }
    if (numbers.size() == max_tensor_dimensions) {
      file.fail("tensor ", tensor, ": '", key, "' has more than ", max_tensor_dimensions, " numbers");
    }
    numbers.push_back(*number);
  });
  return numbers;
}

[[nodiscard]] inline SafetensorsEntry parse_safetensors_entry(JsonParser& json, std::string const& tensor,
                                                              std::size_t data_bytes, FileContext const& file)
{
  if (json.next() != '{') {
    json.skip();
    file.fail("tensor ", tensor, " is not described by an object");
  }
  std::optional<std::string> type;
  std::optional<std::vector<std::int64_t>> shape;
  std::optional<std::vector<std::int64_t>> data_offsets;
  json.object([&](std::string const& key) {
    auto const kind = json.next();
    if (key == "dtype" && kind == '"') {
      type = json.text();
    } else if (key == "shape" && kind == '[') {
      shape = safetensors_numbers(json, key, tensor, file);
    } else if (key == "data_offsets" && kind == '[') {
      data_offsets = safetensors_numbers(json, key, tensor, file);
    } else {
      json.skip();
    }
  });
  if (!type) { file.fail("tensor ", tensor, " has no text 'dtype'"); }
  SafetensorsEntry entry;
  entry.type = find_safetensors_type(*type);
  if (entry.type == nullptr) { file.fail("tensor ", tensor, " is of the unknown type ", in_quotes(*type)); }
  if (!shape) { file.fail("tensor ", tensor, " has no list 'shape'"); }
  entry.shape = std::move(*shape);
  if (!data_offsets) { file.fail("tensor ", tensor, " has no list 'data_offsets'"); }
  auto const& offsets = *data_offsets;
  if (offsets.size() != 2) { file.fail("tensor ", tensor, " has ", offsets.size(), " data_offsets, not 2"); }
  auto const begin = static_cast<std::uint64_t>(offsets[0]);
  auto const end = static_cast<std::uint64_t>(offsets[1]);
  if (begin > end || end > data_bytes) {
    file.fail("tensor ", tensor, " claims the bytes [", begin, ", ", end, ") of the ", data_bytes,
              " bytes of data in the file");
  }
  entry.begin = static_cast<std::size_t>(begin);
  entry.end = static_cast<std::size_t>(end);
  std::size_t bytes = 0;
  if (!count_bytes(entry.shape, entry.type->bytes, bytes)) {
    file.fail("tensor ", tensor, " of ", entry.shape.size(),
              " dimensions has more elements than can be counted");
  }
  if (bytes != end - begin) {
    file.fail("tensor ", tensor, " of shape ", shown_shape(entry.shape), " and type ", entry.type->name,
              " needs ", bytes, " bytes, but has ", end - begin);
  }
  return entry;
}

/// Throws unless the tensors' bytes, put in order, are exactly the data.
inline void check_safetensors_cover(SafetensorsHeader const& header, std::size_t data_bytes,
                                    FileContext const& file)
{
  using Named = std::pair<std::string const, SafetensorsEntry>;
  std::vector<Named const*> order;
  order.reserve(header.entries.size());
  for (auto const& entry : header.entries) { order.push_back(&entry); }
  std::sort(order.begin(), order.end(), [](Named const* a, Named const* b) {
    return std::pair{a->second.begin, a->second.end} < std::pair{b->second.begin, b->second.end};
  });
  std::size_t covered = 0;
  for (auto const* const entry : order) {
    if (entry->second.begin != covered) {
      file.fail("tensor ", in_quotes(entry->first), " begins at byte ", entry->second.begin, " of the data, ",
                entry->second.begin < covered ? "inside" : "with a hole behind", " the tensor that ends at ",
                covered);
    }
    covered = entry->second.end;
  }
  file.expects(covered == data_bytes, "holds ", data_bytes, " bytes of data, but its tensors only ", covered);
}

inline constexpr std::size_t safetensors_prefix = 8;  // bytes that say how long the header is

/// The header's length, from the beginning of a file of `size` bytes that begins as a safetensors file does.
[[nodiscard]] inline std::size_t safetensors_header_length(Bytes const& bytes, std::uintmax_t size,
                                                           FileContext const& file)
{
  if (!begins_as_safetensors(bytes)) {
    auto const kind = kind_of_file(bytes);
    file.expects(kind.empty(), "is ", kind, ", no safetensors file",
                 begins_as_torch(bytes) ? ": io::convert_checkpoint() reads both" : "");
  }
  file.expects(size >= safetensors_prefix, "holds ", size,
               " bytes; a safetensors file begins with 8 bytes that say how long its header is");
  auto const length = load_bytes<std::uint64_t>(bytes.data());
  file.expects(length <= max_safetensors_header, "claims a header of ", length, " bytes; at most ",
               max_safetensors_header, " are read");
  file.expects(length <= size - safetensors_prefix, "claims a header of ", length, " bytes, but only ",
               size - safetensors_prefix, " follow");
  file.expects(length > 0 && bytes[safetensors_prefix] == '{', "its header does not begin with '{'");
  return static_cast<std::size_t>(length);
}

/// @param bytes  the file of `size` bytes, or of its beginning as much as has the whole header
[[nodiscard]] inline SafetensorsHeader parse_safetensors(Bytes const& bytes, std::uintmax_t size,
                                                         FileContext const& file)
{
  constexpr std::string_view metadata = "__metadata__";
  auto const length = safetensors_header_length(bytes, size, file);  // there are so many bytes, then
  std::string_view const text{reinterpret_cast<char const*>(bytes.data()) + safetensors_prefix, length};

  SafetensorsHeader header;
  header.data_begin = safetensors_prefix + text.size();
  auto const data_bytes = static_cast<std::size_t>(size) - header.data_begin;
  JsonParser json{text, file, {}};
  header.names = json.object([&](std::string const& name) {
    if (name != metadata) {
      header.entries.emplace(name, parse_safetensors_entry(json, in_quotes(name), data_bytes, file));
      return;
    }
    file.expects(json.next() == '{', "'__metadata__' is not an object");
    json.object([&](std::string const& key) {
      if (json.next() != '"') { file.fail("'__metadata__' entry ", in_quotes(key), " is not a text"); }
      header.metadata.emplace(key, json.text());
    });
  });
  json.end();
  header.names.erase(std::remove(header.names.begin(), header.names.end(), metadata), header.names.end());
  check_safetensors_cover(header, data_bytes, file);
  return header;
}

[[nodiscard]] inline SafetensorsHeader parse_safetensors(Bytes const& bytes, FileContext const& file)
{
  return parse_safetensors(bytes, bytes.size(), file);
}

/// Refuses a file by its beginning, before the rest is read.
inline void check_safetensors_beginning(InputFile const& input, FileContext const& file)
{
  auto const& bytes = input.beginning();
  if (input.size() == bytes.size()) { return; }  // that is all, and parsed next
  auto const size = input.size().value_or(max_file_bytes);
  auto const header = safetensors_header_length(bytes, size, file);
  bool const is_there = header <= bytes.size() - safetensors_prefix;
  if (input.size() && is_there) { static_cast<void>(parse_safetensors(bytes, size, file)); }
}

/// The header's text, filled up with spaces to a multiple of 8 bytes.
template <class NamedTensors>
[[nodiscard]] std::string safetensors_header(NamedTensors const& tensors,
                                             std::vector<std::size_t> const& begin,
                                             std::map<std::string, std::string> const& metadata,
                                             FileContext const& file)
{
  std::string text{"{"};
  auto const separate = [&] {
    if (text.back() != '{') { text += ','; }
  };
  if (!metadata.empty()) {
    text += "\"__metadata__\":{";
    for (auto const& [key, value] : metadata) {
      separate();
      text += json_quoted(key) + ':' + json_quoted(value);
    }
    text += '}';
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    auto const& [name, tensor] = tensors[i];
    file.expects(name != "__metadata__", "a tensor cannot have the name '__metadata__'");
    separate();
    text += json_quoted(name) + ":{\"dtype\":\"" + safetensors_name_of(tensor.dtype) + "\",\"shape\":[";
    for (std::size_t k = 0; k < tensor.shape.size(); ++k) {
      text += (k == 0 ? "" : ",") + std::to_string(tensor.shape[k]);
    }
    text += "],\"data_offsets\":[" + std::to_string(begin[i]) + ',' +
            std::to_string(begin[i] + tensor.num_bytes) + "]}";
  }
  text += '}';
  while (text.size() % 8 != 0) { text += ' '; }
  file.expects(text.size() <= max_safetensors_header, "its header would have ", text.size(),
               " bytes; at most ", max_safetensors_header, " are allowed");
  // Finds names that appear twice or are not UTF-8, and keeps the promise that we can read what we wrote.
  JsonParser json{text, file, {}};
  json.skip();
  json.end();
  return text;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
