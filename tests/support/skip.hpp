// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <string>

namespace test {

/// Counts the running test case as skipped instead of passed, and prints `skipped: <its name>: <reason>`. The
/// caller returns afterwards. Call it from the thread that runs the test case.
void skip(std::string const& reason);

}  // namespace test
