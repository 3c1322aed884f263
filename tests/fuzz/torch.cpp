// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "fuzz.hpp"

#include <tessera/io/convert.hpp>

#include <utility>

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
  return fuzz::read(data, size, [](auto bytes, auto const&) {
    tessera::io::TorchCheckpoint const checkpoint{std::move(bytes), "input"};
    auto const options = tessera::io::ConvertOptions().swap_axes().fold_batch_norm(1e-3);
    static_cast<void>(tessera::io::convert_checkpoint(checkpoint, options).text());
  });
}
