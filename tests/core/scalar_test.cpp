// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/core/scalar.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#ifdef __CUDACC__
#include <tessera/core/scalar.cuh>
#endif

using namespace tessera;

TEST_CASE("half bits: every half survives the way through float")
{
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    float const value = detail::half_bits_to_float(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) { continue; }
    CHECK(detail::float_to_half_bits(value) == bits);
  }
}

TEST_CASE("half bits: a float halfway between two halves goes to the even one, one above rounds up")
{
  for (unsigned bits = 1; bits < 0x7bff; ++bits) {
    auto const lower = detail::half_bits_to_float(static_cast<std::uint16_t>(bits));
    auto const upper = detail::half_bits_to_float(static_cast<std::uint16_t>(bits + 1));
    auto const middle = (lower + upper) / 2;  // exact: a float holds one bit more
    CHECK(detail::float_to_half_bits(middle) == (bits % 2 == 0 ? bits : bits + 1));
    CHECK(detail::float_to_half_bits(std::nextafter(middle, upper)) == bits + 1);
    CHECK(detail::float_to_half_bits(std::nextafter(middle, lower)) == bits);
    CHECK(detail::float_to_half_bits(-middle) == ((bits % 2 == 0 ? bits : bits + 1) | 0x8000U));
  }
}

TEST_CASE("half bits: too large becomes infinity, too small zero, NaN stays NaN")
{
  CHECK(detail::float_to_half_bits(65504.0F) == 0x7bff);
  CHECK(detail::float_to_half_bits(65519.996F) == 0x7bff);
  CHECK(detail::float_to_half_bits(65520.0F) == 0x7c00);
  CHECK(detail::float_to_half_bits(std::numeric_limits<float>::infinity()) == 0x7c00);
  CHECK(detail::float_to_half_bits(0x1p-25F) == 0);
  CHECK(detail::float_to_half_bits(std::nextafter(0x1p-25F, 1.0F)) == 1);
  CHECK(std::isnan(detail::half_bits_to_float(detail::float_to_half_bits(std::nanf("")))));
}

TEST_CASE("bfloat16 bits: every bfloat16 survives, a tie goes to the even one")
{
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    float const value = detail::bfloat16_bits_to_float(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      CHECK(std::isnan(detail::bfloat16_bits_to_float(detail::float_to_bfloat16_bits(value))));
    } else {
      CHECK(detail::float_to_bfloat16_bits(value) == bits);
    }
  }
  CHECK(detail::float_to_bfloat16_bits(detail::bit_cast<float>(0x3f808000U)) == 0x3f80);
  CHECK(detail::float_to_bfloat16_bits(detail::bit_cast<float>(0x3f818000U)) == 0x3f82);
  CHECK(detail::float_to_bfloat16_bits(detail::bit_cast<float>(0x3f808001U)) == 0x3f81);
}

#ifdef __CUDACC__
TEST_CASE("half bits: agree with the CUDA headers")
{
  for (unsigned i = 0; i < 200000; ++i) {
    auto const value = detail::bit_cast<float>(i * 21474U + 7U);
    if (std::isnan(value)) { continue; }
    CAPTURE(value);
    CHECK(detail::float_to_half_bits(value) == detail::bit_cast<std::uint16_t>(__float2half(value)));
    CHECK(detail::float_to_bfloat16_bits(value) == detail::bit_cast<std::uint16_t>(__float2bfloat16(value)));
  }
}
#endif

TEST_CASE("float8: every bit pattern is the number that its format says")
{
  for (unsigned bits = 0; bits < 256; ++bits) {
    CAPTURE(bits);
    int const exponent = static_cast<int>(bits >> 3 & 15U);
    int const mantissa = static_cast<int>(bits & 7U);
    double const magnitude =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    auto const found = detail::float8_e4m3_bits_to_float(static_cast<std::uint8_t>(bits));
    if (exponent == 15 && mantissa == 7) {
      CHECK(std::isnan(found));
    } else {
      CHECK(static_cast<double>(found) == (bits < 128 ? magnitude : -magnitude));
      CHECK(std::signbit(found) == (bits >= 128));
    }
  }
  CHECK(detail::float8_e4m3_bits_to_float(0x7e) == 448.0F);
}

TEST_CASE("DType: each type has a name, a size, and a family where it is multiplied")
{
  struct Row {
    DType type;
    char const* name;
    std::size_t size;
    ScalarFamily family;
  };
  using F = ScalarFamily;
  for (auto const& row : {Row{DType::float64, "float64", 8, F::float64},
                          {DType::float32, "float32", 4, F::float32},
                          {DType::float16, "float16", 2, F::float16},
                          {DType::bfloat16, "bfloat16", 2, F::float16},
                          {DType::int64, "int64", 8, F::none},
                          {DType::int32, "int32", 4, F::none},
                          {DType::int16, "int16", 2, F::none},
                          {DType::int8, "int8", 1, F::int8},
                          {DType::uint8, "uint8", 1, F::none},
                          {DType::boolean, "boolean", 1, F::none},
                          {DType::float8_e4m3, "float8_e4m3", 1, F::float8},
                          {DType::float8_e5m2, "float8_e5m2", 1, F::float8}}) {
    CAPTURE(row.name);
    CHECK(std::string{name_of(row.type)} == row.name);
    CHECK(size_of(row.type) == row.size);
    CHECK(static_cast<int>(family_of(row.type)) == static_cast<int>(row.family));
  }
  CHECK(static_cast<int>(ScalarTraits<float>::family) == static_cast<int>(F::float32));
  CHECK(static_cast<int>(ScalarTraits<double>::family) == static_cast<int>(F::float64));
  CHECK(static_cast<int>(ScalarTraits<std::int8_t>::family) == static_cast<int>(F::none));
}
