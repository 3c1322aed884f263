// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: SpecializedKernels: each kernel of the list must be an empty type with constants
#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/conv/policies.hpp>

struct MyKernel {
  static constexpr int in_channels = 4;
  static constexpr int out_channels = 32;
#ifdef TESSERA_ACCEPTED
  static bool supports(int compute_capability)
  {
    return compute_capability >= 80;
  }
#endif
  static void forward(tessera::ConvolutionArguments<float> const&, tessera::KernelMap<tessera::Device>&,
                      tessera::Execution<tessera::Device> const&);
};

template <>
struct tessera::SpecializedKernels<float> {
  using list = tessera::KernelList<MyKernel>;
};

void run(tessera::ConvolutionArguments<float> const& arguments, tessera::KernelMap<tessera::Device>& map,
         tessera::Execution<tessera::Device> const& exec)
{
  tessera::ConvMode<1>::forward(arguments, map, exec);
}
