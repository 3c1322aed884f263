// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "stream.cuh"

#include <string>

namespace program {

/// Has a byte of shared memory unless it is compiled for 90a.
static __global__ void build_probe()
{
#ifndef __CUDA_ARCH_FEAT_SM90_ALL
  __shared__ char volatile byte;
  byte = 0;
#endif
}

/// Why the program could be faster if it were compiled for this GPU; empty if it is.
[[nodiscard]] inline std::string note_on_architecture()
{
  int device = 0;
  check(cudaGetDevice(&device));
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device));
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, build_probe));
  bool const hopper = properties.major == 9 && properties.minor == 0;
  bool const older = attributes.ptxVersion / 10 < properties.major;
  if (!older && !(hopper && attributes.sharedSizeBytes > 0)) { return ""; }
  auto const compiled = std::to_string(attributes.ptxVersion);
  auto const own = std::to_string(properties.major * 10 + properties.minor) + (hopper ? "a" : "");
  return "compiled for architecture " + compiled +
         "; this GPU is faster with -DCMAKE_CUDA_ARCHITECTURES=" + own;
}

}  // namespace program
