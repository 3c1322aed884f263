// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "fuzz.hpp"

#include <tessera/io/convert.hpp>

#include <cstdlib>
#include <utility>

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
  return fuzz::read(data, size, [](auto bytes, auto const&) {
    namespace io = tessera::io;
    io::TorchCheckpoint const checkpoint{std::move(bytes), "input"};
    auto const options = tessera::ConvertOptions().swap_axes().fold_batch_norm(1e-3);
    auto const converted = io::convert_checkpoint(checkpoint, options);
    static_cast<void>(converted.text());
    // what was converted can be converted again, and stays as it is
    if (io::convert_checkpoint(converted.tensors).tensors.names() != converted.tensors.names()) {
      std::abort();
    }
  });
}
