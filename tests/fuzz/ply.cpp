// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "fuzz.hpp"

#include <tessera/io/detail/ply_body.hpp>

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
  return fuzz::read(data, size, [](auto const& bytes, auto const& file) {
    tessera::detail::parse_ply(bytes, file).check("fuzz");
  });
}
