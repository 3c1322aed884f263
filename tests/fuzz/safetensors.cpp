// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "fuzz.hpp"

#include <tessera/io/convert.hpp>

#include <utility>

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
  return fuzz::read(data, size, [](auto bytes, auto const&) {
    tessera::Safetensors const file{std::move(bytes), "input"};
    try {
      for (auto const& name : file.names()) { static_cast<void>(file.to_float(name)); }
    } catch (tessera::invalid_argument const&) {}  // a type that is listed only
    static_cast<void>(tessera::io::convert_checkpoint(file, tessera::ConvertOptions().swap_axes()).text());
  });
}
