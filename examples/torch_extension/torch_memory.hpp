// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/scalar.hpp>

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

// PyTorch's 16-bit scalars, which need no CUDA: those of the host.
template <>
struct ScalarTraits<torch::headeronly::Half> {
  static constexpr bool is_feature = true;
  static constexpr DType dtype = DType::float16;
  static constexpr ScalarFamily family = family_of(dtype);
  using Accumulator = float;
};
template <>
struct ScalarTraits<torch::headeronly::BFloat16> {
  static constexpr bool is_feature = true;
  static constexpr DType dtype = DType::bfloat16;
  static constexpr ScalarFamily family = family_of(dtype);
  using Accumulator = float;
};

}  // namespace v0
}  // namespace tessera

namespace tessera_torch {

using torch::stable::Tensor;

// --- errors ----------------------------------------------------------------------------------------------------------

inline void append(std::string& text, std::string_view part)
{
  text += part;
}
template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
void append(std::string& text, T part)
{
  text += std::to_string(part);
}
template <int Dim>
void append(std::string& text, tessera::IntArray<Dim> const& part)
{
  for (int i = 0; i < Dim; ++i) { text += (i == 0 ? "(" : ", ") + std::to_string(part[i]); }
  text += ')';
}

/// Throws the sentence made of `parts`: in Python a RuntimeError.
template <class... Parts>
[[noreturn]] void fail(Parts const&... parts)
{
  std::string sentence;
  (append(sentence, parts), ...);
  throw tessera::invalid_argument{sentence};
}
template <class... Parts>
void expects(bool condition, Parts const&... parts)
{
  if (!condition) { fail(parts...); }
}

/// Throws where a function of PyTorch's says that it failed.
inline void check_call(AOTITorchError status, char const* function)
{
  expects(status == AOTI_TORCH_SUCCESS, "tessera: PyTorch's ", function, "() failed");
}

// --- memory ----------------------------------------------------------------------------------------------------------

/// What threads of this library's share. A fork() waits for both locks: its child, a worker of a DataLoader, has none of
/// the other threads and would find a lock held for ever.
struct Locks {
  std::mutex executions;  ///< taken first where both are
  std::mutex memory;

  [[nodiscard]] static Locks& instance()
  {
    static auto& locks = *new Locks;  // never destroyed: buffers in static storage may outlive it
#if __has_include(<pthread.h>)
    constexpr auto release = [] {
      locks.memory.unlock();
      locks.executions.unlock();
    };
    static int const failed = pthread_atfork(
        [] {
          locks.executions.lock();
          locks.memory.lock();
        },
        release, release);
    expects(failed == 0, "TorchMemory: no memory for what is done at a fork()");
#endif
    return locks;
  }
};

/// PyTorch's number of an element type.
template <class T>
[[nodiscard]] std::int32_t torch_dtype()
{
  if constexpr (sizeof(T) == 1) {
    return aoti_torch_dtype_uint8();
  } else if constexpr (std::is_integral_v<T>) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "torch_dtype: integers cross as int32 or int64");
    return sizeof(T) == 4 ? aoti_torch_dtype_int32() : aoti_torch_dtype_int64();
  } else {
    switch (tessera::ScalarTraits<T>::dtype) {
      case tessera::DType::float64: return aoti_torch_dtype_float64();
      case tessera::DType::float16: return aoti_torch_dtype_float16();
      case tessera::DType::bfloat16: return aoti_torch_dtype_bfloat16();
      default: return aoti_torch_dtype_float32();
    }
  }
}

/// The type of the numbers that T is made of: a coordinate's are integers.
template <class T>
using ElementOf =
    std::conditional_t<std::is_class_v<T> && !tessera::ScalarTraits<T>::is_feature, std::int32_t, T>;

using Sizes = std::vector<std::int64_t>;

/// The strides of a contiguous tensor.
[[nodiscard]] inline Sizes contiguous_strides(Sizes const& sizes)
{
  Sizes strides(sizes.size(), 1);
  for (auto i = sizes.size(); i > 1; --i) {
    strides[i - 2] = strides[i - 1] * (sizes[i - 1] > 0 ? sizes[i - 1] : 1);
  }
  return strides;
}

/// An uninitialised tensor. @param device  -1 on the CPU
[[nodiscard]] inline Tensor empty_tensor(Sizes const& sizes, std::int32_t dtype, std::int32_t device,
                                         Sizes const& strides)
{
  AtenTensorHandle handle = nullptr;
  check_call(
      aoti_torch_empty_strided(static_cast<std::int64_t>(sizes.size()), sizes.data(), strides.data(), dtype,
                               device < 0 ? aoti_torch_device_type_cpu() : aoti_torch_device_type_cuda(),
                               device < 0 ? 0 : device, &handle),
      "aoti_torch_empty_strided");
  return Tensor{handle};
}
[[nodiscard]] inline Tensor empty_tensor(Sizes const& sizes, std::int32_t dtype, std::int32_t device)
{
  return empty_tensor(sizes, dtype, device, contiguous_strides(sizes));
}

/// PyTorch's allocator as a memory resource: every piece is the storage of a tensor, which take() hands out, so that
/// results of Tessera's functions become tensors without a copy.
class TorchMemory final : public tessera::MemoryResource {
 public:
  /// @param device  its number, or -1 for the CPU
  explicit TorchMemory(std::int32_t device) : device_{device} {}

  [[nodiscard]] void* allocate(std::size_t bytes, tessera::StreamHandle) override
  {
    auto tensor = empty_tensor({static_cast<std::int64_t>(bytes)}, aoti_torch_dtype_uint8(), device_);
    void* const pointer = tensor.data_ptr();
    std::lock_guard const lock{locks_.memory};
    tensors_.emplace(pointer, std::move(tensor));
    return pointer;
  }
  /// Nothing where take() was called: the memory is a tensor's then.
  void deallocate(void* pointer, std::size_t, tessera::StreamHandle) noexcept override
  {
    static_cast<void>(release(pointer));
  }

  /// The memory that begins at `pointer` as a tensor, which owns it from now on. Whoever gives it back later gives
  /// back nothing.
  template <class T>
  [[nodiscard]] Tensor take(T const* pointer, Sizes const& sizes)
  {
    auto const found = release(pointer);
    expects(!found.empty(), "TorchMemory: no memory of PyTorch's begins there");
    AtenTensorHandle handle = nullptr;
    auto const strides = contiguous_strides(sizes);
    check_call(aoti_torch__alloc_from_pool(found.mapped().get(), 0, torch_dtype<ElementOf<T>>(),
                                           static_cast<std::int64_t>(sizes.size()), sizes.data(),
                                           strides.data(), &handle),
               "aoti_torch__alloc_from_pool");
    return Tensor{handle};
  }

 private:
  using Tensors = std::unordered_map<void const*, Tensor>;

  /// The tensor goes with what is returned, outside of the lock.
  [[nodiscard]] Tensors::node_type release(void const* pointer) noexcept
  {
    std::lock_guard const lock{locks_.memory};
    return tensors_.extract(pointer);
  }

  std::int32_t device_;
  Locks& locks_ = Locks::instance();
  Tensors tensors_;
};

/// Where one operator runs: on PyTorch's threads or current stream, in its memory, on the device of the tensors.
template <class Space>
class Call;

template <>
class Call<tessera::Host> {
 public:
  using Space = tessera::Host;

  explicit Call(Tensor const&) : exec_{execution()} {}

  [[nodiscard]] tessera::Execution<Space> const& exec() const { return exec_; }
  [[nodiscard]] static std::int32_t device() { return -1; }
  [[nodiscard]] static TorchMemory& memory()
  {
    static auto& memory = *new TorchMemory{-1};  // never destroyed: buffers in static storage may outlive it
    return memory;
  }

 private:
  /// As many threads as PyTorch has; they are kept, one set for each number that was asked for.
  [[nodiscard]] static tessera::Execution<Space> execution()
  {
    static auto& made = *new std::map<std::uint32_t, tessera::Execution<Space>>;
    auto const threads = torch::stable::get_num_threads();
    std::lock_guard const lock{Locks::instance().executions};
    auto found = made.find(threads);
    if (found == made.end()) {
      found = made.emplace(threads, tessera::Execution<Space>{static_cast<int>(threads), &memory()}).first;
    }
    return found->second;
  }

  tessera::Execution<Space> exec_;
};

/// A tensor without elements.
template <class T, class Space>
[[nodiscard]] Tensor no_elements(Call<Space> const& call, Sizes const& sizes = {0})
{
  return empty_tensor(sizes, torch_dtype<T>(), call.device());
}

/// What was computed into memory of the call, as a tensor: `data` is where it begins.
template <class T, class Space>
[[nodiscard]] Tensor take(Call<Space>& call, T const* data, Sizes const& sizes)
{
  bool is_empty = false;
  for (auto const size : sizes) { is_empty = is_empty || size == 0; }
  return is_empty ? no_elements<ElementOf<T>>(call, sizes) : call.memory().take(data, sizes);
}

template <class T, class Space>
[[nodiscard]] Tensor take(Call<Space>& call, tessera::Matrix<T, Space> const& matrix)
{
  return take(call, matrix.data(), {matrix.rows(), matrix.columns()});
}

}  // namespace tessera_torch
