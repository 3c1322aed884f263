// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

/// What libFuzzer calls with every input, and replay.cpp with those of the corpus. Each target has one.
extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace fuzz {

/// Reads the input as a file in memory. It may be refused by an invalid_argument; any other exception, a
/// crash, or a finding of a sanitizer is a fault. The bytes are a copy of exactly their size, so that a
/// sanitizer sees a read behind them.
template <class Read>
int read(std::uint8_t const* data, std::size_t size, Read const& reader)
{
  try {
    reader(std::vector<std::uint8_t>(data, data + size), tessera::detail::FileContext{"fuzz", "input"});
  } catch (tessera::invalid_argument const&) {}
  return 0;
}

}  // namespace fuzz
