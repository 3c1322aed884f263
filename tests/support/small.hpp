// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "skip.hpp"

#include <cstdlib>

namespace test {

/// What the environment variable TESSERA_TEST_SMALL says, 1 or 2, or 0.
inline int smallness()
{
  char const* const chosen = std::getenv("TESSERA_TEST_SMALL");
  bool const is_known = chosen != nullptr && (chosen[0] == '1' || chosen[0] == '2') && chosen[1] == '\0';
  return is_known ? chosen[0] - '0' : 0;
}

/// Whether it is 1 or 2: under a tool that makes kernels run a thousand times slower, tests take hundreds of
/// rows instead of thousands.
inline bool small_sets()
{
  return smallness() >= 1;
}

/// Whether it is 2: under a tool that takes seconds for a kernel, tests take one case of each kind.
inline bool few_cases()
{
  return smallness() == 2;
}

/// First line of a body that cannot be made smaller: `if (test::skipped_as_large()) { return; }`
inline bool skipped_as_large()
{
  if (small_sets()) { skip("too large for TESSERA_TEST_SMALL"); }
  return small_sets();
}

}  // namespace test
