// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// With `--wrap=f` the linker takes a call of f for one of __wrap_f, and __real_f for f itself. nvcc's
// launches are calls of cudaLaunchKernel or, since CUDA 13, of __cudaLaunchKernel.

#include "api_calls.hpp"

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstddef>

namespace {

std::atomic<std::int64_t> kernels{0};
std::atomic<std::int64_t> copies_and_fills{0};
std::atomic<std::int64_t> graphs{0};
std::atomic<std::int64_t> waits{0};
std::atomic<std::int64_t> allocations{0};

}  // namespace

extern "C" {

cudaError_t __real_cudaLaunchKernel(void const*, dim3, dim3, void**, std::size_t, cudaStream_t);
#if CUDART_VERSION >= 13000
cudaError_t __real___cudaLaunchKernel(void*, dim3, dim3, void**, std::size_t, cudaStream_t);
#endif
cudaError_t __real_cudaLaunchKernelExC(cudaLaunchConfig_t const*, void const*, void**);
cudaError_t __real_cudaGraphLaunch(cudaGraphExec_t, cudaStream_t);
cudaError_t __real_cudaMemcpy(void*, void const*, std::size_t, cudaMemcpyKind);
cudaError_t __real_cudaMemcpyAsync(void*, void const*, std::size_t, cudaMemcpyKind, cudaStream_t);
cudaError_t __real_cudaMemsetAsync(void*, int, std::size_t, cudaStream_t);
cudaError_t __real_cudaStreamSynchronize(cudaStream_t);
cudaError_t __real_cudaEventSynchronize(cudaEvent_t);
cudaError_t __real_cudaDeviceSynchronize();
cudaError_t __real_cudaMallocFromPoolAsync(void**, std::size_t, cudaMemPool_t, cudaStream_t);

cudaError_t __wrap_cudaLaunchKernel(void const* f, dim3 grid, dim3 block, void** arguments,
                                    std::size_t shared, cudaStream_t stream)
{
  ++kernels;
  return __real_cudaLaunchKernel(f, grid, block, arguments, shared, stream);
}
#if CUDART_VERSION >= 13000
cudaError_t __wrap___cudaLaunchKernel(void* f, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                                      cudaStream_t stream)
{
  ++kernels;
  return __real___cudaLaunchKernel(f, grid, block, arguments, shared, stream);
}
#endif
cudaError_t __wrap_cudaLaunchKernelExC(cudaLaunchConfig_t const* config, void const* f, void** arguments)
{
  ++kernels;
  return __real_cudaLaunchKernelExC(config, f, arguments);
}
cudaError_t __wrap_cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
  ++graphs;
  return __real_cudaGraphLaunch(graph, stream);
}
cudaError_t __wrap_cudaMemcpy(void* to, void const* from, std::size_t bytes, cudaMemcpyKind kind)
{
  ++copies_and_fills;
  ++waits;
  return __real_cudaMemcpy(to, from, bytes, kind);
}
cudaError_t __wrap_cudaMemcpyAsync(void* to, void const* from, std::size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream)
{
  ++copies_and_fills;
  return __real_cudaMemcpyAsync(to, from, bytes, kind, stream);
}
cudaError_t __wrap_cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream)
{
  ++copies_and_fills;
  return __real_cudaMemsetAsync(to, value, bytes, stream);
}
cudaError_t __wrap_cudaStreamSynchronize(cudaStream_t stream)
{
  ++waits;
  return __real_cudaStreamSynchronize(stream);
}
cudaError_t __wrap_cudaEventSynchronize(cudaEvent_t event)
{
  ++waits;
  return __real_cudaEventSynchronize(event);
}
cudaError_t __wrap_cudaDeviceSynchronize()
{
  ++waits;
  return __real_cudaDeviceSynchronize();
}
cudaError_t __wrap_cudaMallocFromPoolAsync(void** pointer, std::size_t bytes, cudaMemPool_t pool,
                                           cudaStream_t stream)
{
  ++allocations;
  return __real_cudaMallocFromPoolAsync(pointer, bytes, pool, stream);
}

}  // extern "C"

namespace bench {

ApiCalls api_calls() noexcept
{
  return {kernels, copies_and_fills, graphs, waits, allocations};
}

}  // namespace bench
