// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: Sequential::add: the layer must be a Module of the same Dim, Scalar and Space, from sparse tensor
// to
#include <tessera/nn/activation.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/nn/sequential.hpp>

using namespace tessera;

#ifdef TESSERA_ACCEPTED
using Layer = nn::ReLU<3, float, Host>;
#else
using Layer = nn::GlobalMaxPool<3, float, Host>;
#endif

void use(nn::Sequential<3, float, Host>& net)
{
  net.add<Layer>();
}
