// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What the library of the target tessera::compiled holds for the device; see compiled.hpp.

#include <tessera/conv/convolution.cuh>
#include <tessera/coords/voxelize.cuh>
#include <tessera/core/detail/cub.cuh>
#include <tessera/core/launch.cuh>
#include <tessera/core/scalar.cuh>
#include <tessera/kmap/build.cuh>
//
#include <tessera/compiled.hpp>

#include <cstdint>

/// Sorts and scans, of which a program with TESSERA_COMPILED sees the declarations alone.
#define TESSERA_COMPILED_CUB()          \
  TESSERA_COMPILED_SORTS(std::uint32_t) \
  TESSERA_COMPILED_SORTS(std::uint64_t) \
  TESSERA_COMPILED_SUMS(std::int32_t)   \
  TESSERA_COMPILED_SUMS(std::int64_t)

#define TESSERA_COMPILED_SORTS(Key)                                                      \
  template void tessera::detail::cub_sort_pairs<Key, std::int32_t>(                      \
      Key const*, std::int32_t const*, Key*, std::int32_t*, std::int64_t, int,           \
      tessera::Execution<tessera::Device> const&);                                       \
  template void tessera::detail::cub_sort_keys<Key>(Key const*, Key*, std::int64_t, int, \
                                                    tessera::Execution<tessera::Device> const&);

#define TESSERA_COMPILED_SUMS(T)                                                  \
  template void tessera::detail::cub_exclusive_sum<T>(T const*, T*, std::int64_t, \
                                                      tessera::Execution<tessera::Device> const&);

#ifdef TESSERA_COMPILED
TESSERA_COMPILED_SPACE(extern, tessera::Device)
TESSERA_COMPILED_MAPS(extern, 3, tessera::Device)
extern template struct tessera::ConvolutionKernels<float>;
extern template struct tessera::ConvolutionKernels<__half>;
extern template struct tessera::ConvolutionKernels<__nv_bfloat16>;
TESSERA_COMPILED_LAYERS(extern, 3, float, tessera::Device)
TESSERA_COMPILED_LAYERS(extern, 3, __half, tessera::Device)
TESSERA_COMPILED_LAYERS(extern, 3, __nv_bfloat16, tessera::Device)
#endif
