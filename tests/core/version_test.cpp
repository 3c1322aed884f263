// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// TESSERA_TEST_VERSION is the project's version as CMake read it.

#include <tessera/core/version.hpp>

#include <doctest/doctest.h>

#include <string>

TEST_CASE("version: one number that the preprocessor can compare, the same that CMake reads")
{
  CHECK(TESSERA_VERSION ==
        10000 * TESSERA_VERSION_MAJOR + 100 * TESSERA_VERSION_MINOR + TESSERA_VERSION_PATCH);
  CHECK(TESSERA_VERSION_MINOR < 100);
  CHECK(TESSERA_VERSION_PATCH < 100);
#if TESSERA_VERSION >= 100 && 2 * TESSERA_VERSION == TESSERA_VERSION + TESSERA_VERSION
  bool const compares = true;
#else
  bool const compares = false;
#endif
  CHECK(compares);
  CHECK(std::string{TESSERA_TEST_VERSION} == std::to_string(TESSERA_VERSION / 10000) + "." +
                                                 std::to_string(TESSERA_VERSION / 100 % 100) + "." +
                                                 std::to_string(TESSERA_VERSION % 100));
}
