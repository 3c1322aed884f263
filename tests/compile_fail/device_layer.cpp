// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: layer of the device: include <tessera/conv/convolution.cuh> or <tessera/tessera.cuh> and compile
#include <tessera/nn/conv.hpp>

using namespace tessera;

#ifdef TESSERA_ACCEPTED
using Space = Host;
#else
using Space = Device;
#endif

void use(Execution<Space> const& exec)
{
  nn::Conv<3, float, Space> layer{ConvOptions<3>(4, 8, 3), exec};
}
