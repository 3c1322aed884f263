// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/safetensors_header.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/io/safetensors.hpp>

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

namespace detail {

/// The bytes of a file that is refused by its beginning where that is no safetensors file's.
[[nodiscard]] inline Bytes read_safetensors(FileContext const& file)
{
  InputFile input{file};
  check_safetensors_beginning(input, file);
  return std::move(input).all();
}

}  // namespace detail

TESSERA_INLINE Safetensors::Safetensors(std::string const& path)
    : Safetensors{detail::read_safetensors(detail::FileContext{"Safetensors", path}), path}
{}

TESSERA_INLINE Safetensors::Safetensors(std::vector<std::uint8_t> bytes, std::string name)
    : name_{std::move(name)},
      bytes_{std::move(bytes)},
      header_{detail::parse_safetensors(bytes_, detail::FileContext{"Safetensors", name_})}
{}

TESSERA_INLINE RawTensor Safetensors::tensor(std::string const& name) const
{
  auto const& entry = find(name);
  if (!entry.type->readable) {
    detail::FileContext{"Safetensors", name_}.fail("tensor ", detail::in_quotes(name), " is of type ",
                                                   entry.type->name, ", which is not supported");
  }
  return {entry.type->dtype, entry.shape, bytes_.data() + header_.data_begin + entry.begin,
          entry.end - entry.begin};
}

TESSERA_INLINE std::vector<std::int64_t> const& Safetensors::shape(std::string const& name) const
{
  return find(name).shape;
}

TESSERA_INLINE std::vector<float> Safetensors::to_float(std::string const& name) const
{
  return tessera::to_float(tensor(name));
}

TESSERA_INLINE RawTensor Safetensors::tensor_of(std::string const& name, DType dtype) const
{
  auto found = tensor(name);
  if (found.dtype != dtype) {
    detail::FileContext{"Safetensors", name_}.fail("tensor ", detail::in_quotes(name), " holds ",
                                                   name_of(found.dtype), ", not ", name_of(dtype));
  }
  return found;
}

TESSERA_INLINE detail::SafetensorsEntry const& Safetensors::find(std::string const& name) const
{
  auto const found = header_.entries.find(name);
  if (found == header_.entries.end()) {
    detail::FileContext{"Safetensors", name_}.fail("holds no tensor ", detail::in_quotes(name), " among its ",
                                                   header_.names.size());
  }
  return found->second;
}

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

TESSERA_INLINE void write_safetensors(std::string const& path, std::vector<NamedTensor> const& tensors,
                                      std::map<std::string, std::string> const& metadata)
{
  detail::FileContext const file{"write_safetensors", path};
  auto const plan = detail::plan_safetensors(tensors, metadata, file);
  detail::AtomicFile to{file};
  detail::write_safetensors(plan, tensors, [&](void const* from, std::size_t size) { to.write(from, size); });
  to.commit();
}

TESSERA_INLINE std::vector<std::uint8_t> safetensors_bytes(std::vector<NamedTensor> const& tensors,
                                                           std::map<std::string, std::string> const& metadata)
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
