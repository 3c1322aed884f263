// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/scalar.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// A tensor as files hold it, in host memory, not owned: row-major, little-endian, of any alignment.
struct RawTensor {
  DType dtype = DType::float32;
  std::vector<std::int64_t> shape;      ///< no entry: one element
  std::uint8_t const* bytes = nullptr;  ///< [num_bytes], aligned or not
  std::size_t num_bytes = 0;

  /// Number of elements.
  [[nodiscard]] std::int64_t size() const noexcept
  {
    return static_cast<std::int64_t>(num_bytes / size_of(dtype));
  }
};

namespace detail {

/// Most dimensions of a tensor that the readers take, as in PyTorch.
inline constexpr std::size_t max_tensor_dimensions = 64;

/// Writes the product of `shape` times `element` bytes to `bytes`; false if an extent is negative or
/// the product does not fit into 63 bits. A zero anywhere makes the product zero.
[[nodiscard]] inline bool count_bytes(std::vector<std::int64_t> const& shape, std::size_t element,
                                      std::size_t& bytes) noexcept
{
  constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t product = element;
  bool empty = false;
  for (auto const extent : shape) {
    if (extent < 0) { return false; }
    if (extent == 0) {
      empty = true;
      continue;
    }
    auto const n = static_cast<std::uint64_t>(extent);
    if (product > largest / n) { return false; }
    product *= n;
  }
  bytes = empty ? 0 : static_cast<std::size_t>(product);
  return true;
}

/// A shape from a file as it may stand in an error sentence, however long it is: `[2, 3, ...]`.
[[nodiscard]] inline std::string shown_shape(std::vector<std::int64_t> const& shape)
{
  constexpr std::ptrdiff_t most = 12;
  if (static_cast<std::ptrdiff_t>(shape.size()) <= most) { return list(shape); }
  auto text = list(std::vector<std::int64_t>(shape.begin(), shape.begin() + most));
  text.pop_back();
  return concat(text, ", ...] of ", shape.size(), " dimensions");
}

/// To float, to nearest; what is too large becomes infinite (and does so without undefined behaviour).
[[nodiscard]] inline float round_to_float(double value) noexcept
{
  // Half a unit in the last place above the largest float; from there on to nearest is infinity.
  constexpr double limit = 0x1.ffffffp127;
  if (!is_finite(value)) { return static_cast<float>(value); }
  if (is_nan(value)) { return static_cast<float>(value); }
  if (value >= limit) { return std::numeric_limits<float>::infinity(); }
  if (value <= -limit) { return -std::numeric_limits<float>::infinity(); }
  return static_cast<float>(value);
}

/// Element `index` of `tensor` as a float.
[[nodiscard]] inline float element_to_float(RawTensor const& tensor, std::size_t index) noexcept
{
  auto const* const from = tensor.bytes + index * size_of(tensor.dtype);
  auto const load_as = [&](auto value) {
    std::memcpy(&value, from, sizeof(value));
    return value;
  };
  switch (tensor.dtype) {
    case DType::float64: return round_to_float(load_as(double{}));
    case DType::float32: return load_as(float{});
    case DType::float16: return half_bits_to_float(load_as(std::uint16_t{}));
    case DType::bfloat16: return bfloat16_bits_to_float(load_as(std::uint16_t{}));
    case DType::int64: return static_cast<float>(load_as(std::int64_t{}));
    case DType::int32: return static_cast<float>(load_as(std::int32_t{}));
    case DType::int16: return static_cast<float>(load_as(std::int16_t{}));
    case DType::int8: return static_cast<float>(load_as(std::int8_t{}));
    case DType::uint8: return static_cast<float>(*from);
    case DType::boolean: return *from != 0 ? 1.0F : 0.0F;
    case DType::float8_e4m3: return float8_e4m3_bits_to_float(*from);
    case DType::float8_e5m2: return half_bits_to_float(static_cast<std::uint16_t>(*from << 8));
  }
  return 0.0F;
}

}  // namespace detail

/// A view of `values` as a tensor of `shape`, for the writers; it refers to `values`.
///
/// @tparam T  float, double, std::int64_t, int32_t, int16_t, int8_t, uint8_t, or a feature scalar
/// @throws invalid_argument  the product of the shape is not the number of values
/// Cost: none, it copies nothing.
template <class T>
[[nodiscard]] RawTensor raw_tensor(std::vector<T> const& values, std::vector<std::int64_t> shape)
{
  std::size_t bytes = 0;
  bool const fits = detail::count_bytes(shape, sizeof(T), bytes);
  detail::expects(fits && bytes == values.size() * sizeof(T), "raw_tensor: ", values.size(),
                  " values do not fill the shape ", detail::shown_shape(shape));
  return {detail::dtype_of<T>(), std::move(shape), reinterpret_cast<std::uint8_t const*>(values.data()),
          bytes};
}

/// The elements of `tensor` as floats, of whatever type they are.
///
/// Halfs, bfloat16, 8-bit floats and small integers are exact; doubles and large integers are rounded to
/// nearest, doubles beyond the largest float to infinity. A boolean gives 0 or 1.
/// Cost: one pass, 4 bytes per element.
[[nodiscard]] inline std::vector<float> to_float(RawTensor const& tensor)
{
  std::vector<float> values(static_cast<std::size_t>(tensor.size()));
  if (tensor.dtype == DType::float32) {
    if (!values.empty()) { std::memcpy(values.data(), tensor.bytes, 4 * values.size()); }
    return values;
  }
  for (std::size_t i = 0; i < values.size(); ++i) { values[i] = detail::element_to_float(tensor, i); }
  return values;
}

/// The elements of `tensor`, which must be of type T, as they are.
///
/// @throws invalid_argument  they are of another type
/// Cost: one copy.
template <class T>
[[nodiscard]] std::vector<T> to_vector(RawTensor const& tensor)
{
  detail::expects(tensor.dtype == detail::dtype_of<T>(), "to_vector: a tensor of ", name_of(tensor.dtype),
                  " was asked for as ", name_of(detail::dtype_of<T>()));
  std::vector<T> values(static_cast<std::size_t>(tensor.size()));
  if (!values.empty()) { std::memcpy(values.data(), tensor.bytes, sizeof(T) * values.size()); }
  return values;
}

}  // namespace v0
}  // namespace tessera
