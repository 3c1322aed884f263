// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: ImplicitGemm: TilePolicy must be AutoTile or an empty type with rows, channels, depth and stages
#include <tessera/conv/policies.hpp>

struct MyTile {
  static constexpr int rows = 64;
  static constexpr int channels = 64;
#ifdef TESSERA_ACCEPTED
  static constexpr int depth = 32;
  static constexpr int stages = 3;
#endif
};

char const* const name = tessera::ImplicitGemm<true, 1, MyTile>::name;
