// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "fuzz.hpp"

#include <tessera/io/detail/tuning_json.hpp>

#include <cstdlib>

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
  return fuzz::read(data, size, [](auto const& bytes, auto const& file) {
    namespace detail = tessera::detail;
    std::string const text{bytes.begin(), bytes.end()};
    for (auto const& tuning :
         detail::tunings_of(text, file)) {  // what was read can be written and read again
      auto const written = detail::json_tuning(tuning);
      auto const again = detail::tuning_of(detail::parse_json(written, file), "again", file);
      if (again.groups.size() != tuning.groups.size() || again.device != tuning.device) { std::abort(); }
    }
  });
}
