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
namespace detail {

/// Whether an owner of memory is called to release it, rather than destroyed.
template <class Owner>
inline constexpr bool is_release = std::is_invocable_v<Owner&, StreamHandle>;

/// The owner of adopted memory; lives until the memory is given back.
template <class Owner>
class AdoptedMemory final : public MemoryReturn {
 public:
  explicit AdoptedMemory(Owner&& owner) : owner_{std::move(owner)} {}

  void deallocate(void*, std::size_t, StreamHandle stream) noexcept override
  {
    release(owner_, stream);
    delete this;
  }

  static void release([[maybe_unused]] Owner& owner, [[maybe_unused]] StreamHandle stream) noexcept
  {
    if constexpr (is_release<Owner>) { owner(stream); }
  }

 private:
  Owner owner_;
};

}  // namespace detail

/// Owns `size` elements of one space; moves, never copies. `copy()` and `upload()` make others.
///
/// Memory is uninitialised, comes from the execution's resource and goes back to it in the order of the
/// execution's stream, so a buffer must not outlive either, and work on another stream that uses the buffer
/// must be ordered before its destruction. adopt() makes a buffer of memory that came from elsewhere.
template <class T, class Space>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>, "Buffer: T must be trivially copyable");

 public:
  using value_type = T;

  Buffer() = default;

  /// `size` uninitialised elements; nothing is allocated for 0.
  /// @throws invalid_argument  size is negative or its bytes overflow
  /// Cost: one allocation.
  /// Stream: allocates in stream order, does not wait.
  Buffer(std::int64_t size, Execution<Space> const& exec) : stream_{exec.stream()}, size_{size}
  {
    detail::expects(size >= 0 && size <= most, "Buffer: ", size, " elements cannot be allocated");
    if (size == 0) { return; }
    data_ = static_cast<T*>(exec.memory().allocate(bytes(), stream_));
    returns_to_ = &exec.memory();
  }

  /// A buffer of memory that came from elsewhere. Nothing is copied.
  ///
  /// | name  | shape  | memory | holds                                                                |
  /// |-------|--------|--------|----------------------------------------------------------------------|
  /// | data  | [size] | Space  | any values; null only where size is 0                                |
  /// | owner |        | host   | what keeps the memory alive: a shared_ptr, a vector, a tensor        |
  /// |       |        |        | of another library; or a callable that takes a StreamHandle and      |
  /// |       |        |        | frees the memory; or nullptr: the caller keeps it                    |
  ///
  /// The owner is released exactly once, when the buffer or the last one it was moved to is destroyed, also
  /// where this throws. The host does not wait: work enqueued before may still use the memory. So a callable
  /// gets the stream of `exec` and frees in its order (`cudaFreeAsync(p, stream)`), or waits for it; any other
  /// owner is destroyed, which suits memory of the host and allocators ordered by that stream. Neither may
  /// throw.
  ///
  /// @pre  The memory is in `Space`, and what filled it is ordered before work on the stream.
  /// @throws invalid_argument  size is negative, or data is null or not aligned to T
  /// Cost: one small allocation on the host, none for nullptr.
  /// Stream: enqueues nothing.
  template <class Owner>
  [[nodiscard]] static Buffer adopt(T* data, std::int64_t size, Owner owner, Execution<Space> const& exec)
  {
    return adopt_for(data, size, std::move(owner), exec.stream());
  }
  /// The same of an owner that is not called and needs no stream.
  template <class Owner>
  [[nodiscard]] static Buffer adopt(T* data, std::int64_t size, Owner owner)
  {
    static_assert(!detail::is_release<Owner>,
                  "Buffer::adopt: an owner that takes a stream needs the execution as last argument");
    return adopt_for(data, size, std::move(owner), nullptr);
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
    if (returns_to_ != nullptr) { returns_to_->deallocate(data_, bytes(), stream_); }
  }

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] T const* data() const noexcept { return data_; }
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return static_cast<std::size_t>(size_) * sizeof(T); }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  void swap(Buffer& other) noexcept
  {
    std::swap(returns_to_, other.returns_to_);
    std::swap(stream_, other.stream_);
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
  }

 private:
  static constexpr auto most = static_cast<std::int64_t>(PTRDIFF_MAX / sizeof(T));

  template <class Owner>
  [[nodiscard]] static Buffer adopt_for(T* data, std::int64_t size, Owner owner, StreamHandle stream)
  {
    static_assert(
        detail::is_release<Owner> || !std::is_invocable_v<Owner&>,
        "Buffer::adopt: an owner that is called takes the stream: [=](tessera::StreamHandle) {...}");
    Buffer result;
    result.stream_ = stream;
    if constexpr (!std::is_same_v<Owner, std::nullptr_t>) {
      using Adopted = detail::AdoptedMemory<Owner>;
      try {
        result.returns_to_ = new Adopted{std::move(owner)};
      } catch (...) {
        Adopted::release(owner, stream);
        throw;
      }
    }
    result.data_ = data;
    detail::expects(size >= 0 && size <= most, "Buffer::adopt: ", size, " elements");
    detail::expects(data != nullptr || size == 0, "Buffer::adopt: ", size, " elements at a null pointer");
    detail::expects(reinterpret_cast<std::uintptr_t>(data) % alignof(T) == 0, "Buffer::adopt: the address ",
                    static_cast<void const*>(data), " is not aligned to the ", alignof(T),
                    " bytes of an element; copy the elements");
    result.size_ = size;
    return result;
  }

  detail::MemoryReturn* returns_to_ = nullptr;
  StreamHandle stream_ = nullptr;
  std::int64_t size_ = 0;
  T* data_ = nullptr;
};

/// A new buffer with the `size` elements at `from`, which is in the same space.
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

/// The `size` elements at `from`, which is in `Space`, as a host vector.
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
