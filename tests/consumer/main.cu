// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A user's CUDA program; without a GPU it says so and succeeds, because what is tested is the build.
#ifdef WITH_EVERYTHING
#include <tessera/tessera.cuh>
#else
#include <tessera/core/execution.cuh>
#include <tessera/core/scalar.cuh>
#endif

#include <cuda_runtime_api.h>

#include <cstdio>

__global__ void my_kernel(__half* to)
{
  *to = __float2half(42.0F);
}

int main()
{
  static_assert(tessera::ScalarTraits<__half>::is_feature);
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("no CUDA device");
    return 0;
  }
  cudaStream_t stream = nullptr;
  tessera::detail::cuda_check(cudaStreamCreate(&stream));
  __half* device = nullptr;
  __half host{};
  tessera::detail::cuda_check(cudaMallocAsync(&device, sizeof(__half), stream));
  my_kernel<<<1, 1, 0, stream>>>(device);
  tessera::detail::cuda_check(cudaGetLastError());
  tessera::detail::cuda_check(cudaMemcpyAsync(&host, device, sizeof(__half), cudaMemcpyDefault, stream));
  tessera::detail::cuda_check(cudaFreeAsync(device, stream));
  tessera::detail::cuda_check(cudaStreamSynchronize(stream));
  tessera::detail::cuda_check(cudaStreamDestroy(stream));
  std::printf("%g\n", static_cast<double>(__half2float(host)));
  return __half2float(host) == 42.0F ? 0 : 1;
}
