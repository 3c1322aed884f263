// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: bit_cast: both types must have one size
#include <tessera/core/scalar.hpp>

#include <cstdint>

#ifdef TESSERA_ACCEPTED
using Bits = std::uint32_t;
#else
using Bits = std::uint64_t;
#endif

Bits bits_of(float value)
{
  return tessera::detail::bit_cast<Bits>(value);
}
