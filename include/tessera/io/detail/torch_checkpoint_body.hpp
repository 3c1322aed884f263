// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/file_kind.hpp>
#include <tessera/io/detail/pickle_value.hpp>
#include <tessera/io/detail/torch_file.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/io/torch_checkpoint.hpp>
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
namespace io {

TESSERA_INLINE detail::PickleNode const& TorchValue::node() const noexcept
{
  return file_->values.nodes[index_];
}

TESSERA_INLINE ValueKind TorchValue::kind() const noexcept
{
  return node().kind;
}

TESSERA_INLINE std::size_t TorchValue::size() const noexcept
{
  return kind() == ValueKind::dict ? node().items.size() / 2 : node().items.size();
}

TESSERA_INLINE TorchValue TorchValue::item(std::size_t i) const
{
  bool const sequence = kind() == ValueKind::list || kind() == ValueKind::tuple;
  detail::expects(sequence && i < size(), "TorchValue: item ", i, " of a value with ", size());
  return {*file_, node().items[i]};
}

TESSERA_INLINE std::pair<TorchValue, TorchValue> TorchValue::member(std::size_t i) const
{
  detail::expects(kind() == ValueKind::dict && i < size(), "TorchValue: member ", i, " of a value with ",
                  size());
  return {{*file_, node().items[2 * i]}, {*file_, node().items[2 * i + 1]}};
}

TESSERA_INLINE std::optional<TorchValue> TorchValue::find(std::string_view key) const
{
  if (kind() != ValueKind::dict) { return std::nullopt; }
  for (std::size_t i = size(); i-- > 0;) {  // the last one counts, as in Python
    auto const [name, value] = member(i);
    if (name.kind() == ValueKind::text && name.text() == key) { return value; }
  }
  return std::nullopt;
}

TESSERA_INLINE std::optional<TorchValue> TorchValue::attributes() const
{
  if (node().state == detail::no_value) { return std::nullopt; }
  return TorchValue{*file_, node().state};
}

TESSERA_INLINE std::string_view TorchValue::text() const noexcept
{
  return node().text;
}

TESSERA_INLINE std::string_view TorchValue::module() const noexcept
{
  return node().module;
}

TESSERA_INLINE std::int64_t TorchValue::integer() const noexcept
{
  return node().integer;
}

TESSERA_INLINE double TorchValue::real() const noexcept
{
  return node().real;
}

TESSERA_INLINE RawTensor const& TorchValue::tensor() const
{
  detail::expects(kind() == ValueKind::tensor, "TorchValue: this is no tensor");
  return file_->tensors[node().number];
}

TESSERA_INLINE TorchCheckpoint::TorchCheckpoint(std::vector<std::uint8_t> bytes, std::string name)
    : name_{std::move(name)}, bytes_{std::move(bytes)}
{
  detail::FileContext const file{"read_torch_checkpoint", name_};
  content_ = std::make_unique<detail::TorchFile>(detail::TorchFileReader{bytes_, file}.read());
}

TESSERA_INLINE TorchCheckpoint::TorchCheckpoint(TorchCheckpoint&& other) noexcept = default;
TESSERA_INLINE TorchCheckpoint& TorchCheckpoint::operator=(TorchCheckpoint&& other) noexcept = default;
TESSERA_INLINE TorchCheckpoint::~TorchCheckpoint() = default;

TESSERA_INLINE TorchValue TorchCheckpoint::root() const&
{
  return {*content_, content_->values.root};
}

TESSERA_INLINE TorchCheckpoint read_torch_checkpoint(std::string const& path)
{
  detail::FileContext const file{"read_torch_checkpoint", path};
  detail::InputFile input{file};
  detail::check_torch_beginning(input, file);
  return {std::move(input).all(), path};
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
