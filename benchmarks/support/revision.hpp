// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

namespace bench {

/// What git called the source when the build was configured; empty where there was no git.
[[nodiscard]] char const* source_revision() noexcept;

}  // namespace bench
