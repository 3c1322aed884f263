// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: Tile: Rows must be 32, 64 or 128
#include <tessera/conv/policies.hpp>

#ifdef TESSERA_ACCEPTED
constexpr int rows = 64;
#else
constexpr int rows = 48;
#endif

int const depth = tessera::Tile<rows, 64, 32, 3>::depth;
