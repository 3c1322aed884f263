// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/safetensors_entry.hpp>
#include <tessera/io/raw_tensor.hpp>

#include <cstdint>
#include <map>
#include <string>
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
  explicit Safetensors(std::string const& path);

  /// The content of a file that is in memory already; `name` stands for the path in error sentences.
  Safetensors(std::vector<std::uint8_t> bytes, std::string name);

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
  [[nodiscard]] RawTensor tensor(std::string const& name) const;

  /// The shape of tensor `name`, of whatever type it is.
  /// @throws invalid_argument  there is none of that name
  [[nodiscard]] std::vector<std::int64_t> const& shape(std::string const& name) const;

  /// The elements of tensor `name` as floats: see to_float(RawTensor).
  /// @throws invalid_argument  as tensor()
  [[nodiscard]] std::vector<float> to_float(std::string const& name) const;

  /// The elements of tensor `name`, which must be of type T.
  /// @throws invalid_argument  as tensor(), or they are of another type
  template <class T>
  [[nodiscard]] std::vector<T> to(std::string const& name) const
  {
    return to_vector<T>(tensor_of(name, detail::dtype_of<T>()));
  }

  /// The path, or the name given instead.
  [[nodiscard]] std::string const& path() const noexcept { return name_; }

 private:
  /// tensor(), which must be of the type `dtype`.
  [[nodiscard]] RawTensor tensor_of(std::string const& name, DType dtype) const;
  [[nodiscard]] detail::SafetensorsEntry const& find(std::string const& name) const;

  std::string name_;
  std::vector<std::uint8_t> bytes_;
  detail::SafetensorsHeader header_;
};

/// A tensor to be written, under a name.
using NamedTensor = std::pair<std::string, RawTensor>;

/// Writes `tensors` and `metadata` to the file `path`, which takes its name only when it is complete.
///
/// The header lists the tensors in the order given. Their data are ordered by element size, largest
/// first, and begin at a multiple of 8, so that a reader can map them aligned.
/// @throws invalid_argument  a name appears twice, is `__metadata__` or not UTF-8; a tensor's bytes do
///                           not fit its shape; the header exceeds 100 MB; the file cannot be written
///
/// Cost: one pass over the tensors.
/// Determinism: same tensors, same bytes.
void write_safetensors(std::string const& path, std::vector<NamedTensor> const& tensors,
                       std::map<std::string, std::string> const& metadata = {});

/// The same as the bytes of a file in memory: `Safetensors{safetensors_bytes(tensors), name}` reads them.
/// @throws invalid_argument  as write_safetensors()
[[nodiscard]] std::vector<std::uint8_t> safetensors_bytes(
    std::vector<NamedTensor> const& tensors, std::map<std::string, std::string> const& metadata = {});

}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/safetensors_body.hpp>
#endif
