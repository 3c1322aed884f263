// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A source of its own, so that a new revision compiles nothing else anew.

#include "revision.hpp"

char const* bench::source_revision() noexcept
{
  return TESSERA_BENCH_REVISION;
}
