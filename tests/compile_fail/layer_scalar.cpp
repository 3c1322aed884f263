// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: layer<Dim, Scalar, Space>: Scalar must be float, double, __half or __nv_bfloat16
#include <tessera/nn/linear.hpp>

using namespace tessera;

#ifdef TESSERA_ACCEPTED
using Layer = nn::Linear<3, float, Host>;
#else
using Layer = nn::Linear<3, Host>;
#endif

void use(Execution<Host> const& exec)
{
  Layer layer{LinearOptions(4, 8), exec};
}
