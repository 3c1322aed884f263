// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: ConvMode: Mode must be 0 .unsorted., 1 .sorted. or 2 .sorted, three splits.
#include <tessera/conv/policies.hpp>

#ifdef TESSERA_ACCEPTED
constexpr int mode = 2;
#else
constexpr int mode = 3;
#endif

char const* const name = tessera::ConvMode<mode>::name;
