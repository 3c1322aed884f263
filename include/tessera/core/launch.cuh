// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/core/int_array.hpp>
#include <tessera/core/parallel.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Shared memory that a kernel may ask for on a device.
struct SharedLimit {
  void const* kernel;
  int device;
  std::size_t bytes;
};

/// The limit of a kernel on a device, a new one of 48 KB where there is none.
[[nodiscard]] inline SharedLimit& shared_limit(std::vector<SharedLimit>& limits, void const* kernel,
                                               int device)
{
  for (auto& limit : limits) {
    if (limit.kernel == kernel && limit.device == device) { return limit; }
  }
  return limits.emplace_back(SharedLimit{kernel, device, 48 * 1024});
}

/// Allows shared memory beyond 48 KB on `device`, which is current. The limit belongs to the kernel and not
/// to the launch; it only grows, so that no thread takes it from another. Each thread knows what was allowed,
/// and asks neither CUDA nor a lock at later launches.
inline void allow_shared(void const* kernel, int device, std::size_t shared_bytes)
{
  if (shared_bytes <= 48 * 1024) { return; }
  static thread_local std::vector<SharedLimit> known;
  auto& own = shared_limit(known, kernel, device);
  if (own.bytes >= shared_bytes) { return; }
  static std::mutex mutex;
  static std::vector<SharedLimit> all;
  std::lock_guard const lock{mutex};
  auto& limit = shared_limit(all, kernel, device);
  if (limit.bytes < shared_bytes) {
    cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)));
    limit.bytes = shared_bytes;
  }
  own.bytes = limit.bytes;
}

}  // namespace detail

/// Enqueues `kernel<<<grid, block, shared_bytes, exec.stream()>>>(arguments...)` on the execution's device
/// and checks the launch. The arguments are converted to the kernel's parameters.
///
/// | name         | holds                                                                             |
/// |--------------|-----------------------------------------------------------------------------------|
/// | kernel       | a `__global__` function                                                           |
/// | grid         | blocks along each axis; where one is 0, nothing is enqueued: zero rows need no if |
/// | block        | threads of a block                                                                |
/// | shared_bytes | dynamic shared memory of a block; more than 48 KB is asked for                    |
///
/// @throws cuda_error  the device refuses the launch; what the kernel does wrong shows at a later wait
/// Cost: one launch.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: the kernel's.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, int block, std::size_t shared_bytes,
            Execution<Device> const& exec, Arguments const&... arguments)
{
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) { return; }
  detail::DeviceGuard const guard{exec.device()};
  detail::allow_shared(reinterpret_cast<void const*>(kernel), exec.device(), shared_bytes);
  kernel<<<grid, static_cast<unsigned>(block), shared_bytes, exec.stream()>>>(arguments...);
  detail::cuda_check(cudaGetLastError());
}

/// What else a launch may ask for.
struct LaunchOptions {
  int cluster = 1;        ///< blocks of a cluster, along x; more than 1 needs compute capability 9.0
  bool overlaps = false;  ///< whether its blocks may begin while the kernel before still runs (programmatic
                          ///< dependent launch): until `griddepcontrol.wait` they must read nothing that it
                          ///< or the one before it writes, and write nothing
};

/// The same with options.
/// @throws cuda_error  the device refuses the launch
/// Cost: one launch.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: the kernel's.
template <class... Parameters, class... Arguments>
void launch(LaunchOptions const& options, void (*kernel)(Parameters...), dim3 grid, int block,
            std::size_t shared_bytes, Execution<Device> const& exec, Arguments const&... arguments)
{
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) { return; }
  detail::DeviceGuard const guard{exec.device()};
  detail::allow_shared(reinterpret_cast<void const*>(kernel), exec.device(), shared_bytes);
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim.x = static_cast<unsigned>(options.cluster);
  attributes[0].val.clusterDim.y = 1;
  attributes[0].val.clusterDim.z = 1;
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(block));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = exec.stream();
  config.attrs = attributes;
  config.numAttrs = options.overlaps ? 2 : 1;
  detail::cuda_check(cudaLaunchKernelEx(&config, kernel, arguments...));
}

/// Blocks of `per_block` items that cover `count`: `min(ceil(count / per_block), most)` along x. A kernel
/// that may be launched with fewer than it needs strides over the rest.
[[nodiscard]] inline dim3 grid_for(std::int64_t count, int per_block, std::int64_t most = 1 << 20)
{
  auto const blocks = detail::ceil_div(count, per_block);
  return dim3(static_cast<unsigned>(std::min<std::int64_t>(blocks, most)));
}

namespace detail {

/// Waits until the kernel before has finished and what it wrote is there, in a kernel that was launched to
/// overlap with it; from here on the kernel after may begin.
__device__ inline void grid_dependency_wait()
{
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// First index of this thread in a grid-stride loop, and the step to its next one.
[[nodiscard]] __device__ inline std::int64_t thread_index()
{
  return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}
[[nodiscard]] __device__ inline std::int64_t num_grid_threads()
{
  return std::int64_t{gridDim.x} * blockDim.x;
}

/// Runs `body(i)` for i in [0, count), one thread each in a grid-stride loop.
template <class Body>
__global__ void __launch_bounds__(256) for_each_kernel(std::int64_t count, Body body)
{
  for (auto i = thread_index(); i < count; i += num_grid_threads()) { body(i); }
}

/// Groups of 2^`log_lanes` threads of a warp take an item each, in a grid-stride loop.
template <class Body>
__global__ void __launch_bounds__(256)
    for_each_ballot_kernel(std::int64_t count, int lanes, int log_lanes, __grid_constant__ Body const body)
{
  int const lane = lane_id();
  int const group = lane >> log_lanes;
  int const own = lane - (group << log_lanes);
  auto const state = body.prepare(own < lanes ? own : 0);
  auto const step = num_grid_threads() >> log_lanes;
  for (auto first = (thread_index() - lane) >> log_lanes; first < count; first += step) {
    auto const i = first + group;
    auto const bits = __ballot_sync(0xffffffffU, own < lanes && i < count && body.visit(i, state));
    if (own == 0 && i < count) {
      body.finish(i, bits >> lane & (log_lanes == 5 ? ~0U : (1U << (1 << log_lanes)) - 1));
    }
  }
}

/// Threads of a block take the parts of 256 / `Body::parts` items, in a grid-stride loop.
template <class Body>
__global__ void __launch_bounds__(256) for_each_reduction_kernel(std::int64_t count, Body body)
{
  using Value = typename Body::Value;
  constexpr int items = 256 / Body::parts;
  constexpr int words = sizeof(Value) / sizeof(std::uint32_t);
  static_assert(sizeof(Value) % sizeof(std::uint32_t) == 0 && (Body::parts & (Body::parts - 1)) == 0);
  __shared__ std::uint32_t shared[words][256];
  int const own = static_cast<int>(threadIdx.x);
  int const part = own / items;
  for (auto first = std::int64_t{blockIdx.x} * items; first < count;
       first += std::int64_t{gridDim.x} * items) {
    auto const i = first + own % items;
    auto value = i < count ? body.part(i, part) : Value{};
    for (int step = 1; step < Body::parts; step *= 2) {
      std::uint32_t bits[words];
      if (part % (2 * step) == step) {
        memcpy(bits, &value, sizeof value);
        for (int w = 0; w < words; ++w) { shared[w][own] = bits[w]; }
      }
      __syncthreads();
      if (part % (2 * step) == 0) {
        Value other;
        for (int w = 0; w < words; ++w) { bits[w] = shared[w][own + step * items]; }
        memcpy(&other, bits, sizeof other);
        value = Body::combine(value, other);
      }
    }
    if (part == 0 && i < count) { body.finish(i, value); }
    __syncthreads();  // before the next item's values come
  }
}

/// As core/parallel.hpp says.
/// Stream: enqueues one kernel, none for count 0; does not wait.
template <class Body, class Space, std::enable_if_t<std::is_same_v<Space, Device>, int>>
void for_each_reduction(std::int64_t count, Body const& body, Execution<Space> const& exec)
{
  launch(for_each_reduction_kernel<Body>, grid_for(count, 256 / Body::parts), 256, 0, exec, count, body);
}

/// As core/parallel.hpp says.
/// Stream: enqueues one kernel, none for count 0; does not wait.
template <class Body, class Space, std::enable_if_t<std::is_same_v<Space, Device>, int>>
void for_each_ballot(std::int64_t count, int lanes, Body const& body, Execution<Space> const& exec)
{
  constexpr std::int64_t blocks = 132 * 8;  // as many as an H100 holds at once: lanes are prepared once
  int log_lanes = 0;
  while (1 << log_lanes < lanes) { ++log_lanes; }
  launch(for_each_ballot_kernel<Body>, grid_for(count << log_lanes, 256, blocks), 256, 0, exec, count, lanes,
         log_lanes, body);
}

}  // namespace detail

template <class Body, class Space, std::enable_if_t<std::is_same_v<Space, Device>, int>>
void for_each(std::int64_t count, Body const& body, Execution<Space> const& exec)
{
  launch(detail::for_each_kernel<Body>, grid_for(count, 256), 256, 0, exec, count, body);
}

}  // namespace v0
}  // namespace tessera
