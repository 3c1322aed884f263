// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#ifdef __CUDACC__
#include "stream.cuh"
#endif

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace program {

/// Host memory that a space reads and writes without a detour: for the host any, for the device pinned
/// memory.
template <class T, class Space>
class Staging;

template <class T>
class Staging<T, tessera::Host> {
 public:
  explicit Staging(std::size_t size) : values_(size) {}

  [[nodiscard]] T* data() noexcept { return values_.data(); }
  [[nodiscard]] T const* data() const noexcept { return values_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }

  void upload(T* to, tessera::Execution<tessera::Host> const&) const
  {
    std::copy(values_.begin(), values_.end(), to);
  }
  void download(T const* from, tessera::Execution<tessera::Host> const&)
  {
    std::copy(from, from + values_.size(), values_.begin());
  }

 private:
  std::vector<T> values_;
};

#ifdef __CUDACC__
template <class T>
class Staging<T, tessera::Device> {
 public:
  explicit Staging(std::size_t size) : size_{size}
  {
    void* data = nullptr;
    check(cudaMallocHost(&data, std::max<std::size_t>(1, size * sizeof(T))));
    data_ = static_cast<T*>(data);
  }
  Staging(Staging&& other) noexcept : data_{std::exchange(other.data_, nullptr)}, size_{other.size_} {}
  Staging& operator=(Staging&&) = delete;
  ~Staging() { static_cast<void>(cudaFreeHost(data_)); }

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] T const* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Enqueues the copy.
  void upload(T* to, tessera::Execution<tessera::Device> const& exec) const
  {
    if (size_ == 0) { return; }
    check(cudaMemcpyAsync(to, data_, size_ * sizeof(T), cudaMemcpyHostToDevice, exec.stream()));
  }
  void download(T const* from, tessera::Execution<tessera::Device> const& exec)
  {
    if (size_ == 0) { return; }
    check(cudaMemcpyAsync(data_, from, size_ * sizeof(T), cudaMemcpyDeviceToHost, exec.stream()));
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};
#endif

/// Copies between the host's memory and the space's, or within the host's; enqueued.
template <class T>
void copy_to(T* to, T const* from, std::size_t size, tessera::Execution<tessera::Host> const&)
{
  std::copy(from, from + size, to);
}
#ifdef __CUDACC__
template <class T>
void copy_to(T* to, T const* from, std::size_t size, tessera::Execution<tessera::Device> const& exec)
{
  if (size == 0) { return; }
  check(cudaMemcpyAsync(to, from, size * sizeof(T), cudaMemcpyDefault, exec.stream()));
}
#endif

/// What `values` holds, staged.
template <class Space, class T>
[[nodiscard]] Staging<T, Space> staged(std::vector<T> const& values)
{
  Staging<T, Space> staging{values.size()};
  std::copy(values.begin(), values.end(), staging.data());
  return staging;
}

}  // namespace program
