// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: layer<Dim, Scalar, Space>: Space must be Host or Device; the policy of a Conv comes after it
#include <tessera/nn/conv.hpp>

using namespace tessera;

#ifdef TESSERA_ACCEPTED
using Layer = nn::Conv<3, float, Host, ConvPolicy<>>;
#else
using Layer = nn::Conv<3, float, ConvPolicy<>>;
#endif

void use(Execution<Host> const& exec)
{
  Layer layer{ConvOptions<3>(4, 8, 3), exec};
}
