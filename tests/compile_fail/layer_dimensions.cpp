// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: layer<Dim, Scalar, Space>: Dim must be 1 to 6
#include <tessera/nn/conv.hpp>

using namespace tessera;

#ifdef TESSERA_ACCEPTED
using Layer = nn::Conv<6, float, Host>;
#else
using Layer = nn::Conv<7, float, Host>;
#endif

void use(Execution<Host> const& exec)
{
  Layer layer{{4, 8, 3}, exec};
}
