// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// For the main.cpp of a program, which nvcc compiles where there is one: whether there is a GPU, and which.

#ifdef __CUDACC__
#include "stream.cuh"
#endif
#include "machine.hpp"

#include <string>

namespace program {

/// Why there is no GPU; empty if there is one.
[[nodiscard]] inline std::string absence()
{
#ifdef __CUDACC__
  return absence_of_gpu();
#else
  return "this program was built without CUDA";
#endif
}

/// The machine in words, and the precision.
/// @param threads  on the CPU; 0: all
[[nodiscard]] inline std::string description(Machine const& machine, int threads)
{
  auto const precision = std::string{", "} + name_of(machine.precision);
#ifdef __CUDACC__
  if (machine.on_device) { return gpu_name() + precision; }
#endif
  return host_name(threads) + precision;
}

}  // namespace program
