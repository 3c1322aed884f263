// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/core/scalar.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

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
