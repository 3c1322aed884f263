// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: Conv<Dim, Scalar, Space, Policy>: Policy must be RuntimePolicy, a ConvPolicy
#include <tessera/nn/conv.hpp>

using namespace tessera;

#ifdef TESSERA_ACCEPTED
using Layer = nn::Conv<3, float, Host, RuntimePolicy>;
#else
using Layer = nn::Conv<3, float, Host, Hashmap>;
#endif

void use(Execution<Host> const& exec)
{
  Layer layer{ConvOptions<3>(4, 8, 3), exec};
}
