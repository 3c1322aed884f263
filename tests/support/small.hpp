// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "skip.hpp"

#include <cstdlib>

namespace test {

/// Whether the environment variable TESSERA_TEST_SMALL is 1: under a tool that makes kernels run a thousand
/// times slower, tests take hundreds of rows instead of thousands.
inline bool small_sets()
{
  char const* const chosen = std::getenv("TESSERA_TEST_SMALL");
  return chosen != nullptr && chosen[0] == '1' && chosen[1] == '\0';
}

/// First line of a body that cannot be made smaller: `if (test::skipped_as_large()) { return; }`
inline bool skipped_as_large()
{
  if (small_sets()) { skip("too large for TESSERA_TEST_SMALL=1"); }
  return small_sets();
}

}  // namespace test
