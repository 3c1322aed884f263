// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "fuzz.hpp"

#include <tessera/io/detail/npy_body.hpp>

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
  return fuzz::read(data, size, [](auto const& bytes, auto const& file) {
    static_cast<void>(to_float(tessera::detail::parse_npy(bytes, file).tensor()));
  });
}
