// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdlib>
#include <string>

namespace test {

/// Counts the running test case as skipped instead of passed, and prints `skipped: <its name>: <reason>`. The
/// caller returns afterwards. Call it from the thread that runs the test case.
void skip(std::string const& reason);

/// Skips under an emulator, which cannot do what the test case asks for; returns whether it did.
inline bool skip_emulated(std::string const& reason)
{
  bool const is_emulated = std::getenv("TESSERA_TEST_EMULATED") != nullptr;
  if (is_emulated) { skip(reason); }
  return is_emulated;
}

}  // namespace test
