// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// Element types as run-time values, for files and for parameters seen without their type.
enum class DType : std::uint8_t {
  float64,
  float32,
  float16,
  bfloat16,
  int64,
  int32,
  int16,
  int8,
  uint8,
  boolean,
  float8_e4m3,  ///< 4 bits of exponent, 3 of mantissa, no infinity
  float8_e5m2   ///< 5 bits of exponent, 2 of mantissa
};

/// Bytes of one element.
[[nodiscard]] constexpr std::size_t size_of(DType type) noexcept
{
  switch (type) {
    case DType::float64:
    case DType::int64: return 8;
    case DType::float32:
    case DType::int32: return 4;
    case DType::float16:
    case DType::bfloat16:
    case DType::int16: return 2;
    case DType::int8:
    case DType::uint8:
    case DType::boolean:
    case DType::float8_e4m3:
    case DType::float8_e5m2: return 1;
  }
  return 1;
}

/// The field's name of a type, e.g. "float16".
[[nodiscard]] constexpr char const* name_of(DType type) noexcept
{
  switch (type) {
    case DType::float64: return "float64";
    case DType::float32: return "float32";
    case DType::float16: return "float16";
    case DType::bfloat16: return "bfloat16";
    case DType::int64: return "int64";
    case DType::int32: return "int32";
    case DType::int16: return "int16";
    case DType::int8: return "int8";
    case DType::uint8: return "uint8";
    case DType::boolean: return "boolean";
    case DType::float8_e4m3: return "float8_e4m3";
    case DType::float8_e5m2: return "float8_e5m2";
  }
  return "unknown";
}

/// What kernels, shapes and tiles are chosen by: scalars of one family are multiplied alike.
enum class ScalarFamily : std::uint8_t {
  none,     ///< of types that are not multiplied
  float64,  ///< by multiply-adds
  float32,  ///< by multiply-adds, or by tensor cores as TF32
  float16,  ///< float16 and bfloat16: by tensor cores
  int8,
  float8  ///< both formats
};

[[nodiscard]] constexpr ScalarFamily family_of(DType type) noexcept
{
  switch (type) {
    case DType::float64: return ScalarFamily::float64;
    case DType::float32: return ScalarFamily::float32;
    case DType::float16:
    case DType::bfloat16: return ScalarFamily::float16;
    case DType::int8: return ScalarFamily::int8;
    case DType::float8_e4m3:
    case DType::float8_e5m2: return ScalarFamily::float8;
    default: return ScalarFamily::none;
  }
}

/// What a feature scalar is at run time and which type sums of it are kept in. `__half` and
/// `__nv_bfloat16` are added by core/scalar.cuh.
template <class Scalar>
struct ScalarTraits {
  static constexpr bool is_feature = false;
  static constexpr ScalarFamily family = ScalarFamily::none;
  using Accumulator = float;  // of no use; what refuses the scalar is then the only error
};

template <>
struct ScalarTraits<float> {
  static constexpr bool is_feature = true;
  static constexpr DType dtype = DType::float32;
  static constexpr ScalarFamily family = family_of(dtype);
  using Accumulator = float;
};

template <>
struct ScalarTraits<double> {
  static constexpr bool is_feature = true;
  static constexpr DType dtype = DType::float64;
  static constexpr ScalarFamily family = family_of(dtype);
  using Accumulator = double;
};

/// The type in which products of `Scalar` are summed: float, or double for double.
template <class Scalar>
using accumulator_t = typename ScalarTraits<Scalar>::Accumulator;

namespace detail {

/// The DType of a C++ type. Half types are known where core/scalar.cuh is included.
template <class T>
[[nodiscard]] constexpr DType dtype_of() noexcept
{
  if constexpr (std::is_same_v<T, std::int64_t>) {
    return DType::int64;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return DType::int32;
  } else if constexpr (std::is_same_v<T, std::int16_t>) {
    return DType::int16;
  } else if constexpr (std::is_same_v<T, std::int8_t>) {
    return DType::int8;
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    return DType::uint8;
  } else if constexpr (std::is_same_v<T, bool>) {
    return DType::boolean;
  } else {
    return ScalarTraits<T>::dtype;
  }
}

/// The bits of `from` as a `To` of the same size.
template <class To, class From>
[[nodiscard]] To bit_cast(From const& from) noexcept
{
  static_assert(sizeof(To) == sizeof(From), "bit_cast: both types must have one size");
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

/// The bits of a float or double but its sign; those of finite numbers are below, of NaN above infinity's.
[[nodiscard]] TESSERA_HOST_DEVICE inline std::uint32_t magnitude_bits(float value) noexcept
{
  std::uint32_t bits = 0;
  memcpy(&bits, &value, sizeof(bits));
  return bits & 0x7fffffffU;
}
[[nodiscard]] TESSERA_HOST_DEVICE inline std::uint64_t magnitude_bits(double value) noexcept
{
  std::uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(bits));
  return bits & 0x7fffffffffffffffU;
}
template <class Float>
inline constexpr auto infinity_bits = std::uint32_t{0x7f800000U};
template <>
inline constexpr auto infinity_bits<double> = std::uint64_t{0x7ff0000000000000U};

/// Whether a float or double is NaN, and whether it is finite: asked of its bits, since a program that is
/// compiled with -ffast-math or -ffinite-math-only has no other way. Nothing here relies on how a comparison
/// with NaN comes out either.
template <class Float>
[[nodiscard]] TESSERA_HOST_DEVICE bool is_nan(Float value) noexcept
{
  return magnitude_bits(value) > infinity_bits<Float>;
}
template <class Float>
[[nodiscard]] TESSERA_HOST_DEVICE bool is_finite(Float value) noexcept
{
  return magnitude_bits(value) < infinity_bits<Float>;
}

/// The larger; NaN if there is one.
template <class Float>
[[nodiscard]] TESSERA_HOST_DEVICE Float larger_or_nan(Float a, Float b) noexcept
{
  return is_nan(a) || (a >= b && !is_nan(b)) ? a : b;
}

/// IEEE half bits to float, exactly; for builds without the CUDA headers.
[[nodiscard]] inline float half_bits_to_float(std::uint16_t bits) noexcept
{
  std::uint32_t const sign = std::uint32_t{bits & 0x8000U} << 16;
  std::uint32_t exponent = (bits >> 10) & 0x1fU;
  std::uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 31) { return bit_cast<float>(sign | 0x7f800000U | (mantissa << 13)); }
  if (exponent == 0) {
    if (mantissa == 0) { return bit_cast<float>(sign); }
    exponent = 1;
    while ((mantissa & 0x400U) == 0) {  // a subnormal half is a normal float
      mantissa <<= 1;
      --exponent;
    }
    mantissa &= 0x3ffU;
  }
  return bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

/// Float to IEEE half bits, to nearest even.
[[nodiscard]] inline std::uint16_t float_to_half_bits(float value) noexcept
{
  auto const bits = bit_cast<std::uint32_t>(value);
  auto const sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  std::uint32_t const magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) { return static_cast<std::uint16_t>(sign | 0x7e00U); }
  if (magnitude >= 0x477ff000U) { return static_cast<std::uint16_t>(sign | 0x7c00U); }
  if (magnitude < 0x33000001U) { return sign; }
  std::uint32_t const exponent = magnitude >> 23;
  std::uint32_t mantissa = (magnitude & 0x7fffffU) | 0x800000U;
  std::uint32_t const shift = exponent < 113 ? 126 - exponent : 13;
  std::uint32_t const half = mantissa >> shift;
  std::uint32_t const rest = mantissa & ((1U << shift) - 1);
  std::uint32_t const middle = 1U << (shift - 1);
  std::uint32_t result = exponent < 113 ? half : half + ((exponent - 113) << 10);
  if (rest > middle || (rest == middle && (half & 1U) != 0)) { ++result; }
  return static_cast<std::uint16_t>(sign | result);
}

/// float8_e4m3 bits to float, exactly: exponents -6 to 8, NaN where all but the sign is 1.
[[nodiscard]] inline float float8_e4m3_bits_to_float(std::uint8_t bits) noexcept
{
  std::uint32_t const sign = std::uint32_t{bits & 0x80U} << 24;
  std::uint32_t const exponent = (bits >> 3) & 0xfU;
  std::uint32_t const mantissa = bits & 0x7U;
  if (exponent == 15 && mantissa == 7) { return bit_cast<float>(sign | 0x7fc00000U); }
  if (exponent == 0) {
    auto const magnitude = static_cast<float>(mantissa) * 0x1p-9F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return bit_cast<float>(sign | ((exponent + 120) << 23) | (mantissa << 20));
}

/// bfloat16 bits to float, exactly.
[[nodiscard]] inline float bfloat16_bits_to_float(std::uint16_t bits) noexcept
{
  return bit_cast<float>(std::uint32_t{bits} << 16);
}

/// Float to bfloat16 bits, to nearest even.
[[nodiscard]] inline std::uint16_t float_to_bfloat16_bits(float value) noexcept
{
  auto const bits = bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) { return static_cast<std::uint16_t>((bits >> 16) | 0x40U); }
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
