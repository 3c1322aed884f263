// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstddef>

struct CUstream_st;

namespace tessera {
inline namespace v0 {

/// A CUDA stream, spelled so that host-only code can name the type: it is `cudaStream_t`.
using StreamHandle = ::CUstream_st*;

namespace detail {

/// What a buffer gives its memory back to: the resource it came from, or the owner it was adopted with.
class MemoryReturn {
 public:
  virtual void deallocate(void* pointer, std::size_t bytes, StreamHandle stream) noexcept = 0;

 protected:
  MemoryReturn() = default;
  MemoryReturn(MemoryReturn const&) = default;
  MemoryReturn& operator=(MemoryReturn const&) = default;
  ~MemoryReturn() = default;
};

}  // namespace detail

/// Where memory comes from: a stream-ordered allocator of one space.
///
/// Memory handed out is ready for work enqueued on `stream` afterwards, and memory given back may be handed
/// out again to work enqueued on `stream` afterwards. On the host, streams are ignored. Implementations must
/// be callable from several threads. Derive from it to bring an arena, a pool or RMM.
class MemoryResource : public detail::MemoryReturn {
 public:
  virtual ~MemoryResource() = default;

  /// `bytes` > 0 of memory aligned to at least 256 bytes on the device and 64 on the host.
  /// @throws cuda_error or std::bad_alloc  there is no more
  [[nodiscard]] virtual void* allocate(std::size_t bytes, StreamHandle stream) = 0;

  /// Takes back what allocate() gave, with the same size.
  void deallocate(void* pointer, std::size_t bytes, StreamHandle stream) noexcept override = 0;
};

}  // namespace v0
}  // namespace tessera
