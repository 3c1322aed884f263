// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// DLPack's C structs, version 1, as of <dlpack/dlpack.h>, which is not needed but may be included too: imports
/// and exports are templates that take either definition.
namespace dlpack {

inline constexpr std::uint32_t major_version = 1;
inline constexpr std::uint32_t minor_version = 1;

/// The devices that are known here.
enum class DeviceType : std::int32_t { cpu = 1, cuda = 2, cuda_host = 3, cuda_managed = 13 };

/// Kinds of elements, together with their bits.
enum class TypeCode : std::uint8_t {
  signed_integer = 0,
  unsigned_integer = 1,
  floating_point = 2,
  bfloat = 4,
  boolean = 6,
  float8_e4m3fn = 10,
  float8_e5m2 = 12
};

/// The flag of tensors that must not be written.
inline constexpr std::uint64_t read_only = 1;

struct Version {
  std::uint32_t major;
  std::uint32_t minor;
};

struct DeviceOf {
  std::int32_t device_type;
  std::int32_t device_id;
};

struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  DeviceOf device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;    // [ndim]
  std::int64_t* strides;  // [ndim] in elements, or null: row-major
  std::uint64_t byte_offset;
};

/// DLManagedTensor, without a version; imported, not exported.
struct ManagedTensor {
  Tensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(ManagedTensor* self);
};

/// DLManagedTensorVersioned. All until `flags` stays in later versions.
struct ManagedTensorVersioned {
  Version version;
  void* manager_ctx;
  void (*deleter)(ManagedTensorVersioned* self);
  std::uint64_t flags;
  Tensor dl_tensor;
};

static_assert(sizeof(void*) != 8 ||
              (sizeof(Tensor) == 48 && sizeof(ManagedTensor) == 64 && sizeof(ManagedTensorVersioned) == 80 &&
               offsetof(Tensor, dtype) == 20 && offsetof(ManagedTensorVersioned, dl_tensor) == 32));

/// Calls a managed tensor's deleter, where it has one.
struct Delete {
  template <class Managed>
  void operator()(Managed* tensor) const noexcept
  {
    if (tensor->deleter != nullptr) { tensor->deleter(tensor); }
  }
};

/// Owns a managed tensor until release(), which passes ownership on, and calls its deleter otherwise.
template <class Managed>
using Handle = std::unique_ptr<Managed, Delete>;

/// Whether `Managed` is the struct with a version and flags.
template <class Managed, class = void>
inline constexpr bool is_versioned = false;
template <class Managed>
inline constexpr bool is_versioned<Managed, std::void_t<decltype(Managed::version)>> = true;

}  // namespace dlpack
}  // namespace v0
}  // namespace tessera
