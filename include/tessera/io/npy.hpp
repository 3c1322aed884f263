// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/raw_tensor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {

/// The array of an npy file, in host memory, row-major whatever the order of the file was.
struct NpyArray {
  DType dtype = DType::float32;
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> bytes;

  /// A view, for to_float() and to_vector<T>(); it refers to this object.
  [[nodiscard]] RawTensor tensor() const { return {dtype, shape, bytes.data(), bytes.size()}; }
};

/// Reads an npy file (numpy.save), format version 1, 2 or 3.
///
/// Little-endian f8, f4, f2, i8, i4, i2 and i1, u1, bool. A file in Fortran order is transposed to rows.
/// Big-endian, structured and object arrays are refused, and so is a file with bytes left over.
/// @throws invalid_argument  the file cannot be read or is none of these
///
/// Cost: one pass over the file, which is in memory twice meanwhile.
/// Source: NumPy Enhancement Proposal 1.
[[nodiscard]] NpyArray read_npy(std::string const& path);

/// Writes `tensor` as an npy file of version 1, row-major; the file takes its name when it is complete.
///
/// @throws invalid_argument  the tensor's bytes do not fit its shape; it is of a type that NumPy lacks;
///                           the file cannot be written
///
/// Cost: one pass.
/// Determinism: same tensor, same bytes.
void write_npy(std::string const& path, RawTensor const& tensor);

}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/npy_body.hpp>
#endif
