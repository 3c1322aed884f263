// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdlib>

namespace test {

/// How many rounds of a randomized test to run: `few`, times what the environment variable
/// TESSERA_TEST_ROUNDS says.
inline int rounds(int few)
{
  char const* const chosen = std::getenv("TESSERA_TEST_ROUNDS");
  int const times = chosen != nullptr ? std::atoi(chosen) : 1;
  return times > 1 ? few * times : few;
}

}  // namespace test
