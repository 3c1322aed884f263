// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/safetensors_header.hpp>
#include <tessera/io/raw_tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// A safetensors file: named tensors and a map of texts. Holds the whole file in host memory.
///
/// Everything the format rules is checked when the file is read: the length of the header (at most
/// 100 MB), its JSON and unique names, that each tensor's bytes lie inside the file and are as many as
/// its type and shape need, and that the tensors cover the data without hole or overlap.
/// Types F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U8 and BOOL; a tensor of another type of
/// the format (U16, ...) is listed, and refused only when it is asked for.
///
/// Cost: reading takes one pass over the header; tensor() is a view, to() and to_float() copy.
/// Source: https://github.com/huggingface/safetensors, section "Format".
class Safetensors {
 public:
  /// Reads the file `path`.
  /// @throws invalid_argument  it cannot be read or is no valid safetensors file
  explicit Safetensors(std::string const& path) : Safetensors{detail::FileContext{"Safetensors", path}} {}

  /// The content of a file that is in memory already; `name` stands for the path in error sentences.
  Safetensors(std::vector<std::uint8_t> bytes, std::string const& name)
      : file_{"Safetensors", name}, bytes_{std::move(bytes)}
  {
    header_ = detail::parse_safetensors(bytes_, file_);
  }

  /// Names of all tensors, in the order of the header.
  [[nodiscard]] std::vector<std::string> const& names() const noexcept { return header_.names; }

  [[nodiscard]] bool contains(std::string const& name) const { return header_.entries.count(name) != 0; }

  /// The texts of `__metadata__`.
  [[nodiscard]] std::map<std::string, std::string> const& metadata() const noexcept
  {
    return header_.metadata;
  }

  /// The tensor `name`; the view refers to this object.
  /// @throws invalid_argument  there is none of that name, or it is of a type that DType lacks
  [[nodiscard]] RawTensor tensor(std::string const& name) const
  {
    auto const& entry = find(name);
    if (!entry.type->readable) {
      file_.fail("tensor ", detail::in_quotes(name), " is of type ", entry.type->name,
                 ", which is not supported");
    }
    return {entry.type->dtype, entry.shape, bytes_.data() + header_.data_begin + entry.begin,
            entry.end - entry.begin};
  }

  /// The shape of tensor `name`, of whatever type it is.
  /// @throws invalid_argument  there is none of that name
  [[nodiscard]] std::vector<std::int64_t> const& shape(std::string const& name) const
  {
    return find(name).shape;
  }

  /// The elements of tensor `name` as floats: see to_float(RawTensor).
  /// @throws invalid_argument  as tensor()
  [[nodiscard]] std::vector<float> to_float(std::string const& name) const
  {
    return tessera::to_float(tensor(name));
  }

  /// The elements of tensor `name`, which must be of type T.
  /// @throws invalid_argument  as tensor(), or they are of another type
  template <class T>
  [[nodiscard]] std::vector<T> to(std::string const& name) const
  {
    auto const found = tensor(name);
    if (found.dtype != detail::dtype_of<T>()) {
      file_.fail("tensor ", detail::in_quotes(name), " holds ", name_of(found.dtype), ", not ",
                 name_of(detail::dtype_of<T>()));
    }
    return to_vector<T>(found);
  }

  /// The path, or the name given instead.
  [[nodiscard]] std::string const& path() const noexcept { return file_.path(); }

 private:
  explicit Safetensors(detail::FileContext const& file) : Safetensors{detail::read_file(file), file.path()} {}

  [[nodiscard]] detail::SafetensorsEntry const& find(std::string const& name) const
  {
    auto const found = header_.entries.find(name);
    if (found == header_.entries.end()) {
      file_.fail("holds no tensor ", detail::in_quotes(name), " among its ", header_.names.size());
    }
    return found->second;
  }

  detail::FileContext file_;
  std::vector<std::uint8_t> bytes_;
  detail::SafetensorsHeader header_;
};

/// A tensor to be written, under a name.
using NamedTensor = std::pair<std::string, RawTensor>;

namespace detail {

/// What a safetensors file consists of: the header's text, and the order of the tensors' data.
struct SafetensorsPlan {
  std::string header;
  std::vector<std::size_t> order;
  std::size_t data_bytes = 0;
};

[[nodiscard]] inline SafetensorsPlan plan_safetensors(std::vector<NamedTensor> const& tensors,
                                                      std::map<std::string, std::string> const& metadata,
                                                      FileContext const& file)
{
  SafetensorsPlan plan;
  plan.order.resize(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) { plan.order[i] = i; }
  std::stable_sort(plan.order.begin(), plan.order.end(), [&](std::size_t a, std::size_t b) {
    return size_of(tensors[a].second.dtype) > size_of(tensors[b].second.dtype);
  });
  std::vector<std::size_t> begin(tensors.size());
  for (auto const i : plan.order) {
    auto const& [name, tensor] = tensors[i];
    std::size_t bytes = 0;
    bool const fits = count_bytes(tensor.shape, size_of(tensor.dtype), bytes);
    file.expects(fits && bytes == tensor.num_bytes && (bytes == 0 || tensor.bytes != nullptr), "tensor ",
                 in_quotes(name), " of shape ", shown_shape(tensor.shape), " and type ",
                 name_of(tensor.dtype), " comes with ", tensor.num_bytes, " bytes");
    begin[i] = plan.data_bytes;
    plan.data_bytes += bytes;
  }
  plan.header = safetensors_header(tensors, begin, metadata, file);
  return plan;
}

/// Writes the parts of the file to `to(address, size)`, one after the other.
template <class Write>
void write_safetensors(SafetensorsPlan const& plan, std::vector<NamedTensor> const& tensors, Write const& to)
{
  auto const length = static_cast<std::uint64_t>(plan.header.size());
  to(&length, sizeof(length));
  to(plan.header.data(), plan.header.size());
  for (auto const i : plan.order) { to(tensors[i].second.bytes, tensors[i].second.num_bytes); }
}

}  // namespace detail

/// Writes `tensors` and `metadata` to the file `path`, which takes its name only when it is complete.
///
/// The header lists the tensors in the order given. Their data are ordered by element size, largest
/// first, and begin at a multiple of 8, so that a reader can map them aligned.
/// @throws invalid_argument  a name appears twice, is `__metadata__` or not UTF-8; a tensor's bytes do
///                           not fit its shape; the header exceeds 100 MB; the file cannot be written
///
/// Cost: one pass over the tensors.
/// Determinism: same tensors, same bytes.
inline void write_safetensors(std::string const& path, std::vector<NamedTensor> const& tensors,
                              std::map<std::string, std::string> const& metadata = {})
{
  detail::FileContext const file{"write_safetensors", path};
  auto const plan = detail::plan_safetensors(tensors, metadata, file);
  detail::AtomicFile to{file};
  detail::write_safetensors(plan, tensors, [&](void const* from, std::size_t size) { to.write(from, size); });
  to.commit();
}

/// The same as the bytes of a file in memory: `Safetensors{safetensors_bytes(tensors), name}` reads them.
/// @throws invalid_argument  as write_safetensors()
[[nodiscard]] inline std::vector<std::uint8_t> safetensors_bytes(
    std::vector<NamedTensor> const& tensors, std::map<std::string, std::string> const& metadata = {})
{
  auto const plan =
      detail::plan_safetensors(tensors, metadata, detail::FileContext{"safetensors_bytes", "(memory)"});
  std::vector<std::uint8_t> bytes;
  bytes.reserve(8 + plan.header.size() + plan.data_bytes);
  detail::write_safetensors(plan, tensors, [&](void const* from, std::size_t size) {
    auto const* const first = static_cast<std::uint8_t const*>(from);
    if (size != 0) { bytes.insert(bytes.end(), first, first + size); }
  });
  return bytes;
}

}  // namespace v0
}  // namespace tessera
