// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Owns `size` elements of one space; moves, never copies. `copy()` and `upload()` make others.
///
/// Memory is uninitialised, comes from the execution's resource and goes back to it in the order of the
/// execution's stream, so a buffer must not outlive either, and work on another stream that uses the buffer
/// must be ordered before its destruction.
template <class T, class Space>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>, "Buffer: T must be trivially copyable");

 public:
  using value_type = T;

  Buffer() = default;

  /// `size` uninitialised elements; nothing is allocated for 0.
  /// @throws invalid_argument  size is negative or its bytes overflow
  /// Cost: one allocation. Stream: allocates in stream order, does not wait.
  Buffer(std::int64_t size, Execution<Space> const& exec)
      : memory_{&exec.memory()}, stream_{exec.stream()}, size_{size}
  {
    constexpr auto most = static_cast<std::int64_t>(PTRDIFF_MAX / sizeof(T));
    detail::expects(size >= 0 && size <= most, "Buffer: ", size, " elements cannot be allocated");
    if (size > 0) { data_ = static_cast<T*>(memory_->allocate(bytes(), stream_)); }
  }

  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept
  {
    Buffer moved{std::move(other)};
    swap(moved);
    return *this;
  }
  ~Buffer()
  {
    if (data_ != nullptr) { memory_->deallocate(data_, bytes(), stream_); }
  }

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] T const* data() const noexcept { return data_; }
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return static_cast<std::size_t>(size_) * sizeof(T); }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  void swap(Buffer& other) noexcept
  {
    std::swap(memory_, other.memory_);
    std::swap(stream_, other.stream_);
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
  }

 private:
  MemoryResource* memory_ = nullptr;
  StreamHandle stream_ = nullptr;
  std::int64_t size_ = 0;
  T* data_ = nullptr;
};

/// A new buffer with the `size` elements at `from`, which lies in the same space.
/// Stream: enqueues one copy, does not wait.
template <class T, class Space>
[[nodiscard]] Buffer<T, Space> copy(T const* from, std::int64_t size, Execution<Space> const& exec)
{
  Buffer<T, Space> result{size, exec};
  detail::Transfer<Space>::copy(result.data(), from, result.bytes(), exec);
  return result;
}

/// A new buffer with the `size` elements at `from`, which is host memory and may be reused on return.
/// Stream: enqueues one copy; waits only as long as the copy reads `from`.
template <class T, class Space>
[[nodiscard]] Buffer<T, Space> upload(T const* from, std::int64_t size, Execution<Space> const& exec)
{
  Buffer<T, Space> result{size, exec};
  detail::Transfer<Space>::from_host(result.data(), from, result.bytes(), exec);
  return result;
}

template <class T, class Space>
[[nodiscard]] Buffer<T, Space> upload(std::vector<T> const& from, Execution<Space> const& exec)
{
  return upload(from.data(), static_cast<std::int64_t>(from.size()), exec);
}

/// The `size` elements at `from`, which lies in `Space`, as a host vector.
/// Stream: enqueues one copy and waits for it.
template <class T, class Space>
[[nodiscard]] std::vector<T> download(T const* from, std::int64_t size, Execution<Space> const& exec)
{
  if (auto* const recorder = exec.recorder()) { recorder->reads_on_host("download"); }
  std::vector<T> result(static_cast<std::size_t>(size));
  detail::Transfer<Space>::to_host(result.data(), from, result.size() * sizeof(T), exec);
  return result;
}

template <class T, class Space>
[[nodiscard]] std::vector<T> download(Buffer<T, Space> const& from, Execution<Space> const& exec)
{
  return download(from.data(), from.size(), exec);
}

/// Sets every byte of the buffer to `value`: 0 for zeros, 0xff for -1.
/// Stream: enqueues one fill, does not wait.
template <class T, class Space>
void fill_bytes(Buffer<T, Space>& buffer, unsigned char value, Execution<Space> const& exec)
{
  detail::Transfer<Space>::fill_bytes(buffer.data(), value, buffer.bytes(), exec);
}

}  // namespace v0
}  // namespace tessera
