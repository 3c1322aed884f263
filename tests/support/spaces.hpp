// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "skip.hpp"

#include <tessera/core/space.hpp>

#include <doctest/doctest.h>

#ifdef __CUDACC__
#include <cuda_runtime_api.h>
#endif

#include <ostream>  // IWYU pragma: keep, doctest prints pointers with it
#include <string>
#include <type_traits>

// The spaces a test can be compiled for: `TEST_CASE_TEMPLATE("...", Space, TESSERA_TEST_SPACES)`.
#ifdef __CUDACC__
#define TESSERA_TEST_SPACES ::tessera::Host, ::tessera::Device
#else
#define TESSERA_TEST_SPACES ::tessera::Host
#endif

// The scalars of a trained network.
#ifdef __CUDACC__
#define TESSERA_TEST_SCALARS float, double, __half, __nv_bfloat16
#else
#define TESSERA_TEST_SCALARS float, double
#endif

// Short names in the titles of test cases: `"...<Host>"`, `"...<Device>"`; `-tc=*Device>*` picks the latter.
#ifdef TYPE_TO_STRING_AS
TYPE_TO_STRING_AS("Host", ::tessera::Host);
TYPE_TO_STRING_AS("Device", ::tessera::Device);
#else
TYPE_TO_STRING(::tessera::Host);
TYPE_TO_STRING(::tessera::Device);
#endif

namespace test {

/// Why nothing can run in `Space` here; empty when it can.
template <class Space>
std::string absence_of()
{
  static_assert(tessera::is_space<Space>::value, "absence_of: Space must be Host or Device");
  if constexpr (std::is_same_v<Space, tessera::Device>) {
#ifdef __CUDACC__
    int devices = 0;
    cudaError_t const status = cudaGetDeviceCount(&devices);
    if (status != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      return std::string{"no CUDA device: "} + cudaGetErrorString(status);
    }
    return devices == 0 ? "no CUDA device" : "";
#else
    return "built without CUDA";
#endif
  } else {
    return "";
  }
}

/// First line of a body that needs `Space`: `if (test::skipped<Space>()) { return; }`
template <class Space>
bool skipped()
{
  std::string const reason = absence_of<Space>();
  if (!reason.empty()) { skip(reason); }
  return !reason.empty();
}

}  // namespace test
