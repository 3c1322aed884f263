// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/cuda_check.cuh>
#include <tessera/core/detail/per_device.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/map_streams.cuh>

#include <cuda_runtime_api.h>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Device memory from a CUDA memory pool that keeps what it is given back (`cudaMallocFromPoolAsync`).
///
/// The pool lives as long as the resource; all its memory must have been given back by then.
class PoolMemoryResource final : public MemoryResource {
 public:
  /// @throws cuda_error  there is no such device or it has no memory pools
  explicit PoolMemoryResource(int device) : device_{device}
  {
    detail::DeviceGuard const guard{device};
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    detail::cuda_check(cudaMemPoolCreate(&pool_, &properties));
    auto keep = ~std::uint64_t{0};
    detail::cuda_check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep));
  }
  PoolMemoryResource(PoolMemoryResource const&) = delete;
  PoolMemoryResource& operator=(PoolMemoryResource const&) = delete;
  ~PoolMemoryResource() override { static_cast<void>(cudaMemPoolDestroy(pool_)); }

  [[nodiscard]] void* allocate(std::size_t bytes, StreamHandle stream) override
  {
    detail::DeviceGuard const guard{device_};
    void* pointer = nullptr;
    detail::cuda_check(cudaMallocFromPoolAsync(&pointer, bytes, pool_, stream));
    return pointer;
  }
  void deallocate(void* pointer, std::size_t, StreamHandle stream) noexcept override
  {
    // the default stream is another one on every device; nothing may throw here, also when the process ends
    int current = device_;
    static_cast<void>(cudaGetDevice(&current));
    if (current != device_) { static_cast<void>(cudaSetDevice(device_)); }
    static_cast<void>(cudaFreeAsync(pointer, stream));
    if (current != device_) { static_cast<void>(cudaSetDevice(current)); }
  }

  /// Largest number of bytes in use at one time since reset_peak().
  [[nodiscard]] std::size_t peak_bytes() const
  {
    std::uint64_t bytes = 0;
    detail::cuda_check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrUsedMemHigh, &bytes));
    return static_cast<std::size_t>(bytes);
  }
  void reset_peak()
  {
    std::uint64_t zero = 0;
    detail::cuda_check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrUsedMemHigh, &zero));
  }
  /// Gives memory that is not in use back to the system, down to `keep` bytes.
  void trim(std::size_t keep = 0) { detail::cuda_check(cudaMemPoolTrimTo(pool_, keep)); }

 private:
  int device_;
  cudaMemPool_t pool_ = nullptr;
};

namespace detail {

/// The pool every Execution of `device` uses that was given no resource; made at first use and never
/// destroyed, because buffers in static storage may give memory back after every other static is gone.
inline MemoryResource* default_device_memory(int device)
{
  static PerDevice<PoolMemoryResource> pools;
  return &pools.get(device, [&] { return PoolMemoryResource{device}; });
}

}  // namespace detail

/// The device that is current at construction: work is enqueued on `stream` and runs in its order.
template <>
class Execution<Device> : public RecordedExecution<Execution<Device>> {
 public:
  using space = Device;

  /// @param stream  a stream of the current device; the legacy default stream only when given as `nullptr`
  /// @param memory  a stream-ordered resource of that device, which outlives the Execution; by default a pool
  ///                shared by the process that keeps memory for reuse
  /// @throws cuda_error  there is no device
  /// Cost: asks the runtime for the current device, some ten nanoseconds; the first one of a device without a
  /// resource makes the pool.
  /// Stream: enqueues nothing.
  explicit Execution(StreamHandle stream = nullptr, MemoryResource* memory = nullptr)
      : Execution(stream, memory, current_device())
  {}
  /// The same of a device that the caller knows. Given a resource too, it makes no CUDA call, so that a binding
  /// may make one for each operation.
  /// @param device  the one that `stream` and `memory` belong to
  Execution(StreamHandle stream, MemoryResource* memory, int device)
      : stream_{stream},
        memory_{memory != nullptr ? memory : detail::default_device_memory(device)},
        device_{device}
  {}

  [[nodiscard]] StreamHandle stream() const noexcept { return stream_; }
  [[nodiscard]] MemoryResource& memory() const noexcept { return *memory_; }
  [[nodiscard]] int device() const noexcept { return device_; }

  /// The same with map streams (MapStreams of its stream), on which coordinate sets and kernel maps are
  /// then made. They must outlive every coordinate set made with it.
  /// @throws invalid_argument  `streams` belong to another stream
  /// Stream: enqueues nothing.
  /// Determinism: results are the same bits.
  [[nodiscard]] Execution with_map_streams(MapStreams& streams) const
  {
    detail::expects(streams.main_stream() == stream_,
                    "Execution::with_map_streams: map streams of another stream");
    auto result = *this;
    result.map_streams_ = &streams;
    return result;
  }
  /// Its map streams, or null.
  [[nodiscard]] MapStreams* map_streams() const noexcept { return map_streams_; }
  /// The same device and memory on another stream, without map streams and recorder.
  [[nodiscard]] Execution on_stream(StreamHandle stream) const
  {
    auto result = without_recorder();
    result.stream_ = stream;
    result.map_streams_ = nullptr;
    return result;
  }

  /// Blocks the calling thread until everything enqueued on the stream has finished.
  void wait() const
  {
    detail::DeviceGuard const guard{device_};  // the default stream is another one on every device
    detail::cuda_check(cudaStreamSynchronize(stream_));
  }

 private:
  [[nodiscard]] static int current_device()
  {
    int device = 0;
    detail::cuda_check(cudaGetDevice(&device));
    return device;
  }

  StreamHandle stream_ = nullptr;
  MemoryResource* memory_ = nullptr;
  MapStreams* map_streams_ = nullptr;
  int device_ = 0;
};

namespace detail {

template <>
struct Transfer<Device> {
  static void copy(void* to, void const* from, std::size_t bytes, Execution<Device> const& exec)
  {
    async(to, from, bytes, cudaMemcpyDeviceToDevice, exec);
  }
  /// Pageable memory is staged before the call returns, so `from` may be reused; pinned memory is waited for.
  static void from_host(void* to, void const* from, std::size_t bytes, Execution<Device> const& exec)
  {
    if (bytes == 0) { return; }
    async(to, from, bytes, cudaMemcpyHostToDevice, exec);
    exec.wait();
  }
  static void to_host(void* to, void const* from, std::size_t bytes, Execution<Device> const& exec)
  {
    async(to, from, bytes, cudaMemcpyDeviceToHost, exec);
    exec.wait();
  }
  static void fill_bytes(void* to, unsigned char value, std::size_t bytes, Execution<Device> const& exec)
  {
    if (bytes == 0) { return; }
    DeviceGuard const guard{exec.device()};
    cuda_check(cudaMemsetAsync(to, value, bytes, exec.stream()));
  }

 private:
  static void async(void* to, void const* from, std::size_t bytes, cudaMemcpyKind kind,
                    Execution<Device> const& exec)
  {
    if (bytes == 0) { return; }
    DeviceGuard const guard{exec.device()};
    cuda_check(cudaMemcpyAsync(to, from, bytes, kind, exec.stream()));
  }
};

/// Calls a CUB algorithm twice, as CUB asks: `call(nullptr, bytes)` for the workspace's size, then with it.
/// Stream: enqueues what the algorithm enqueues; the workspace goes back in stream order.
template <class Call>
void with_workspace(Execution<Device> const& exec, Call const& call)
{
  DeviceGuard const guard{exec.device()};
  std::size_t bytes = 0;
  cuda_check(call(nullptr, bytes));
  void* const workspace = exec.memory().allocate(bytes == 0 ? 1 : bytes, exec.stream());
  cudaError_t const status = call(workspace, bytes);
  exec.memory().deallocate(workspace, bytes == 0 ? 1 : bytes, exec.stream());
  cuda_check(status);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
