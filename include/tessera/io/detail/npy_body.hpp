// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/npy_header.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/raw_tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Elements in column-major order (first index fastest) to row-major order.
[[nodiscard]] inline Bytes to_row_major(std::uint8_t const* from, std::vector<std::int64_t> const& shape,
                                        std::size_t element, std::size_t num_bytes)
{
  Bytes rows(num_bytes);
  std::vector<std::size_t> index(shape.size(), 0);
  for (std::size_t to = 0; to < num_bytes; to += element) {
    std::size_t at = 0;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      at = at * static_cast<std::size_t>(shape[axis]) + index[axis];
    }
    std::memcpy(rows.data() + to, from + at * element, element);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if (++index[axis] < static_cast<std::size_t>(shape[axis])) { break; }
      index[axis] = 0;
    }
  }
  return rows;
}

/// The header, and that a file of `size` bytes has the data it speaks of. `bytes` are the file or its
/// beginning.
[[nodiscard]] inline NpyHeader check_npy(Bytes const& bytes, std::uintmax_t size, FileContext const& file)
{
  auto header = parse_npy_header(bytes, file);
  std::size_t needed = 0;
  if (!count_bytes(header.shape, size_of(header.dtype), needed)) {
    file.fail("an array of ", header.shape.size(), " dimensions has more elements than can be counted");
  }
  auto const present = size - header.data_begin;
  if (needed != present) {
    file.fail("an array of shape ", list(header.shape), " and type ", name_of(header.dtype), " needs ",
              needed, " bytes of data, but the file has ", present);
  }
  return header;
}

[[nodiscard]] inline NpyArray parse_npy(Bytes const& bytes, FileContext const& file)
{
  auto header = check_npy(bytes, bytes.size(), file);
  auto const needed = bytes.size() - header.data_begin;
  auto const* const data = bytes.data() + header.data_begin;
  NpyArray array{header.dtype, std::move(header.shape), {}};
  if (header.fortran_order && array.shape.size() > 1) {
    array.bytes = to_row_major(data, array.shape, size_of(array.dtype), needed);
  } else {
    array.bytes.assign(data, data + needed);
  }
  return array;
}

}  // namespace detail

TESSERA_INLINE NpyArray read_npy(std::string const& path)
{
  detail::FileContext const file{"read_npy", path};
  detail::InputFile input{file};
  if (input.size()) { static_cast<void>(detail::check_npy(input.beginning(), *input.size(), file)); }
  return detail::parse_npy(std::move(input).all(), file);
}

TESSERA_INLINE void write_npy(std::string const& path, RawTensor const& tensor)
{
  detail::FileContext const file{"write_npy", path};
  std::size_t bytes = 0;
  bool const fits = detail::count_bytes(tensor.shape, size_of(tensor.dtype), bytes);
  file.expects(fits && bytes == tensor.num_bytes && (bytes == 0 || tensor.bytes != nullptr),
               "a tensor of shape ", detail::list(tensor.shape), " and type ", name_of(tensor.dtype),
               " comes with ", tensor.num_bytes, " bytes");
  bool const is_known = std::any_of(std::begin(detail::npy_types), std::end(detail::npy_types),
                                    [&](auto const& type) { return type.dtype == tensor.dtype; });
  file.expects(is_known, "npy has no type for ", name_of(tensor.dtype));
  std::string const header = detail::npy_header(tensor.dtype, tensor.shape, file);
  detail::AtomicFile to{file};
  to.write(header);
  to.write(tensor.bytes, tensor.num_bytes);
  to.commit();
}

}  // namespace v0
}  // namespace tessera
