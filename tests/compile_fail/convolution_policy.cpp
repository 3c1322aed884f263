// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: convolution: Policy must be a ConvPolicy or a type with its members
#include <tessera/ops/convolution.hpp>

using namespace tessera;

#ifdef TESSERA_ACCEPTED
using Policy = ConvPolicy<GatherScatter>;
#else
using Policy = GatherScatter;
#endif

SparseTensor<3, float, Host> use(SparseTensor<3, float, Host> const& x, Execution<Host> const& exec)
{
  return convolution<Policy>(x, x.features().data, x.features().data, 1, ConvolutionKind::submanifold,
                             ConvolutionGeometry<3>{}, MathMode::exact, Compatibility::none, exec);
}
