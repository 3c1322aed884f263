// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: ConvPolicy: Mode must be ConvMode<0.1.2>, ImplicitGemm, GatherScatter, FetchOnDemand or an empty
// type
#include <tessera/conv/policies.hpp>

struct MyDataflow {
  static constexpr char const* name = "mine";
#ifdef TESSERA_ACCEPTED
  template <class Scalar, class Space>
  static void forward(tessera::ConvolutionArguments<Scalar> const&, tessera::KernelMap<Space>&,
                      tessera::Execution<Space> const&)
  {}
#endif
};

char const* const name = tessera::ConvPolicy<MyDataflow>::dataflow::name;
