// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/kernel_availability.cuh>
#include <tessera/conv/detail/warp_gemm/kernel.cuh>
#include <tessera/conv/detail/warpgroup_gemm/kernel.cuh>
#include <tessera/conv/detail/weight_gradient/tiles.cuh>
#include <tessera/conv/problem.hpp>
#include <tessera/core/build_notes.hpp>
#include <tessera/core/detail/per_device.hpp>

#include <cstddef>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Whether the warp and the warpgroup kernel multiply a scalar, the latter float by TF32.
template <class Scalar>
inline constexpr bool has_warp_kernel = ScalarTraits<Scalar>::family == ScalarFamily::float16;
template <class Scalar>
inline constexpr bool has_warpgroup_kernel =
    has_warp_kernel<Scalar> || ScalarTraits<Scalar>::family == ScalarFamily::float32;

template <class Scalar>
[[nodiscard]] DeviceLimits ask_device_limits(Execution<Device> const& exec)
{
  DeviceLimits limits;
  limits.compute_capability = compute_capability(exec);
  limits.multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount, exec);
  limits.shared_bytes =
      static_cast<std::size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, exec));
  // All shapes are compiled for the same architectures, so one tells for all.
  int code = 0;
  if constexpr (has_warp_kernel<Scalar>) {  // compiled for sm_90 or newer
    limits.has_gradient_tiles =
        has_kernel(gradient_tile_kernel<Scalar, GradientTile<gradient_shape::narrow>>, exec,
                   [](cudaFuncAttributes const& of) { return of.ptxVersion >= 80; });
    limits.has_warp = has_kernel(warp_gemm_kernel<WarpTile<Scalar, warp_shape::narrow>>, exec,
                                 [&](cudaFuncAttributes const& of) { return (code = of.ptxVersion) >= 90; });
  }
  if constexpr (has_warpgroup_kernel<Scalar>) {  // compiled for sm_90a
    limits.has_warpgroup =
        has_kernel(warpgroup_gemm_kernel<WarpgroupTile<Scalar, 0>>, exec, [&](cudaFuncAttributes const& of) {
          return (code = of.ptxVersion) >= 90 && of.sharedSizeBytes == 0;
        });
  }
  note_outdated_code(limits.compute_capability, code, limits.has_warpgroup,
                     ScalarTraits<Scalar>::family == ScalarFamily::float16);
  return limits;
}

/// The limits of the execution's device and of the program's kernels of a scalar; asked once per device.
template <class Scalar>
[[nodiscard]] DeviceLimits device_limits(Execution<Device> const& exec)
{
  static PerDevice<DeviceLimits> known;
  return known.get(exec.device(), [&] { return ask_device_limits<Scalar>(exec); });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
