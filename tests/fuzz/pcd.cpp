// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "fuzz.hpp"

#include <tessera/io/detail/pcd_body.hpp>

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
  return fuzz::read(data, size, [](auto const& bytes, auto const& file) {
    tessera::detail::parse_pcd(bytes, file).check("fuzz");
  });
}
