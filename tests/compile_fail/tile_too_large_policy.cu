// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: convolution: the stages of this tile need more than 227 KB of shared memory; make it smaller
#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/conv/policies.hpp>

#ifdef TESSERA_ACCEPTED
using Large = tessera::Tile<128, 128, 32, 3>;
#else
using Large = tessera::Tile<128, 256, 128, 8>;
#endif

void run(tessera::ConvolutionArguments<float> const& arguments, tessera::KernelMap<tessera::Device>& map,
         tessera::Execution<tessera::Device> const& exec)
{
  tessera::ImplicitGemm<true, 1, Large>::forward(arguments, map, exec);
}
