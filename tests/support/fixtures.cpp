// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The files of tests/fixtures are part of every test binary, so that it runs without the source tree.
#include "files.hpp"

#include <cstddef>
#include <stdexcept>

namespace {

struct Fixture {
  char const* name;
  std::vector<std::uint8_t> bytes;
};

std::vector<Fixture> const& fixtures()
{
  static std::vector<Fixture> const all = {
#include "fixtures.inc"  // written by CMake: {"name", {0x01, 0x02}},
  };
  return all;
}

}  // namespace

std::string test::fixture(std::string const& name)
{
  static TempDir const folder;
  for (auto const& file : fixtures()) {
    if (file.name != name) { continue; }
    auto path = folder / name;
    if (!std::filesystem::exists(path)) { write_bytes(path, file.bytes); }
    return path;
  }
  throw std::runtime_error{"fixture: there was no tests/fixtures/" + name + " when this program was built"};
}
