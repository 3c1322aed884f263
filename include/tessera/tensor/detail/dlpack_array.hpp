// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/tensor/dlpack_types.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// DLPack's type of a DType.
[[nodiscard]] constexpr dlpack::DataType dlpack_type(DType type)
{
  using dlpack::TypeCode;
  auto code = TypeCode::floating_point;
  switch (type) {
    case DType::bfloat16: code = TypeCode::bfloat; break;
    case DType::int64:
    case DType::int32:
    case DType::int16:
    case DType::int8: code = TypeCode::signed_integer; break;
    case DType::uint8: code = TypeCode::unsigned_integer; break;
    case DType::boolean: code = TypeCode::boolean; break;
    case DType::float8_e4m3: code = TypeCode::float8_e4m3fn; break;
    case DType::float8_e5m2: code = TypeCode::float8_e5m2; break;
    default: break;
  }
  return {static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(8 * size_of(type)), 1};
}

/// "float16", or what DLPack says of a type that is not known here.
template <class DataType>
[[nodiscard]] std::string name_of_dlpack_type(DataType const& type)
{
  for (auto const known :
       {DType::float64, DType::float32, DType::float16, DType::bfloat16, DType::int64, DType::int32,
        DType::int16, DType::int8, DType::uint8, DType::boolean, DType::float8_e4m3, DType::float8_e5m2}) {
    auto const its = dlpack_type(known);
    if (its.code == type.code && its.bits == type.bits && type.lanes == 1) { return name_of(known); }
  }
  return concat("elements of code ", int{type.code}, ", ", int{type.bits}, " bits and ", int{type.lanes},
                " lanes");
}

/// Throws unless the tensor is where `exec` may use it.
template <class Space, class DeviceOf>
void check_dlpack_device(DeviceOf const& device, char const* who,
                         [[maybe_unused]] Execution<Space> const& exec)
{
  using dlpack::DeviceType;
  auto const type = static_cast<DeviceType>(static_cast<std::int32_t>(device.device_type));
  if constexpr (std::is_same_v<Space, Host>) {
    expects(type == DeviceType::cpu || type == DeviceType::cuda_host, who, ": memory of device type ",
            static_cast<std::int32_t>(type),
            ", but the execution is of the host, which uses 1 (CPU) and 3 "
            "(pinned)");
  } else {
    expects(type == DeviceType::cuda || type == DeviceType::cuda_managed, who, ": memory of device type ",
            static_cast<std::int32_t>(type),
            ", but the execution is of a GPU, which uses 2 (CUDA) and 13 "
            "(managed)");
    expects(type == DeviceType::cuda_managed || device.device_id == exec.device(), who, ": memory of device ",
            device.device_id, ", but the execution is of device ", exec.device());
  }
}

/// Throws unless elements follow each other in row-major order. Strides of axes of one element mean nothing.
template <class Tensor>
void check_dlpack_strides(Tensor const& tensor, std::int64_t size, char const* who)
{
  if (tensor.strides == nullptr || size == 0) { return; }
  std::int64_t step = 1;
  for (int axis = tensor.ndim - 1; axis >= 0; --axis) {
    auto const extent = tensor.shape[axis];
    expects(extent == 1 || tensor.strides[axis] == step, who, ": stride ", tensor.strides[axis], " on axis ",
            axis, ", where ", step, " would be row-major without gaps; make the tensor contiguous");
    step *= extent;
  }
}

/// A tensor of another library: its memory with its owner, and its extents.
template <class T, class Space>
struct DlpackArray {
  Buffer<T, Space> elements;
  std::vector<std::int64_t> shape;
};

/// Checks a managed tensor of `ndim` axes and adopts its memory. Takes `managed`, whose deleter is called when
/// the memory is given back, or before this throws.
/// @param writes  whether what comes of it may be written
template <class T, class Space, class Managed>
[[nodiscard]] DlpackArray<T, Space> import_dlpack(Managed* managed, int ndim, bool writes, char const* who,
                                                  Execution<Space> const& exec)
{
  expects(managed != nullptr, who, ": a null pointer");
  dlpack::Handle<Managed> owner{managed};
  if constexpr (dlpack::is_versioned<Managed>) {
    // nothing else may be read of a version with another layout
    expects(managed->version.major == dlpack::major_version, who, ": DLPack ", managed->version.major, ".",
            managed->version.minor, ", but only version ", dlpack::major_version, " is known");
    expects(!writes || (managed->flags & dlpack::read_only) == 0, who, ": the tensor is read-only; copy it");
  }
  auto const& tensor = managed->dl_tensor;
  expects(tensor.ndim == ndim && tensor.shape != nullptr, who, ": ", tensor.ndim, " axes, but ", ndim,
          " are needed");
  constexpr auto wanted = dlpack_type(dtype_of<T>());
  auto const& type = tensor.dtype;
  expects(type.code == wanted.code && type.bits == wanted.bits && type.lanes == 1, who, ": ",
          name_of_dlpack_type(type), ", but ", name_of_dlpack_type(wanted), " is needed; convert it");
  check_dlpack_device(tensor.device, who, exec);

  DlpackArray<T, Space> array;
  array.shape.assign(tensor.shape, tensor.shape + ndim);
  std::int64_t size = 1;
  bool empty = false;
  for (auto const extent : array.shape) {
    expects(extent >= 0, who, ": the shape ", list(array.shape));
    empty = empty || extent == 0;
  }
  for (auto const extent : array.shape) {
    if (empty) { break; }
    expects(extent <= INT64_MAX / size, who, ": the shape ", list(array.shape), " has too many elements");
    size *= extent;
  }
  size = empty ? 0 : size;
  check_dlpack_strides(tensor, size, who);
  expects(size == 0 || tensor.data != nullptr, who, ": ", size, " elements at a null pointer");
  auto* const first = size == 0 ? nullptr : static_cast<char*>(tensor.data) + tensor.byte_offset;
  expects(reinterpret_cast<std::uintptr_t>(first) % alignof(T) == 0, who, ": the address ",
          static_cast<void const*>(first), " is not aligned to the ", alignof(T), " bytes of an element");
  array.elements = Buffer<T, Space>::adopt(reinterpret_cast<T*>(first), size, std::move(owner), exec);
  return array;
}

/// A managed tensor with what keeps its memory alive, and its shape; deletes itself.
template <class Managed, class Owner>
struct ExportedArray {
  Managed managed{};
  Owner owner;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;

  explicit ExportedArray(Owner kept) : owner{std::move(kept)} {}

  static void destroy(Managed* managed) { delete static_cast<ExportedArray*>(managed->manager_ctx); }
};

/// A managed tensor of `data` [shape] row-major, which `owner` keeps alive.
template <class Managed, class T, class Owner, class Space>
[[nodiscard]] dlpack::Handle<Managed> export_dlpack(T const* data, std::vector<std::int64_t> shape,
                                                    Owner&& owner, bool writable,
                                                    [[maybe_unused]] Execution<Space> const& exec)
{
  static_assert(dlpack::is_versioned<Managed>, "dlpack: exported tensors have a version and flags");
  using Exported = ExportedArray<Managed, std::decay_t<Owner>>;
  auto exported = std::make_unique<Exported>(std::forward<Owner>(owner));
  exported->strides.assign(shape.size(), 1);
  for (auto axis = shape.size(); axis-- > 1;) {
    exported->strides[axis - 1] = exported->strides[axis] * shape[axis];
  }
  exported->shape = std::move(shape);
  Managed& managed = exported->managed;
  managed.version.major = dlpack::major_version;
  managed.version.minor = dlpack::minor_version;
  managed.deleter = Exported::destroy;
  managed.flags = writable ? 0 : dlpack::read_only;
  auto& tensor = managed.dl_tensor;
  tensor.data = const_cast<T*>(data);
  bool constexpr on_host = std::is_same_v<Space, Host>;
  auto const device = on_host ? dlpack::DeviceType::cpu : dlpack::DeviceType::cuda;
  tensor.device.device_type =
      static_cast<decltype(tensor.device.device_type)>(static_cast<std::int32_t>(device));
  if constexpr (!on_host) { tensor.device.device_id = exec.device(); }
  tensor.ndim = static_cast<std::int32_t>(exported->shape.size());
  constexpr auto type = dlpack_type(dtype_of<T>());
  tensor.dtype.code = type.code;
  tensor.dtype.bits = type.bits;
  tensor.dtype.lanes = type.lanes;
  tensor.shape = exported->shape.data();
  tensor.strides = exported->strides.data();
  managed.manager_ctx = exported.release();
  return dlpack::Handle<Managed>{&managed};
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
