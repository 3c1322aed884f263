// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "torch_memory.hpp"

#include <tessera/conv/config.hpp>
#include <tessera/coords/coordinate_set.hpp>
#include <tessera/core/matrix.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <torch/csrc/stable/library.h>
#include <type_traits>
#include <vector>

namespace tessera_torch {

namespace ts = tessera;
using Integers = std::vector<std::int64_t>;
using Numbers = std::vector<double>;

// --- tensors -------------------------------------------------------------------------------------------------------

/// Throws unless `tensor` is contiguous, of `dim` axes and where `like` is.
inline void check_tensor(Tensor const& tensor, Tensor const& like, std::int64_t dim, char const* who,
                         char const* name)
{
  expects(tensor.is_cpu() == like.is_cpu() && tensor.get_device_index() == like.get_device_index(), who, ": ",
          name, " is on another device than the first tensor; all must be on one");
  expects(dim < 0 || tensor.dim() == dim, who, ": ", name, " has ", tensor.dim(), " axes, not ", dim);
  expects(tensor.is_contiguous(), who, ": ", name, " is not contiguous; call contiguous()");
}

[[nodiscard]] inline char const* name_of_dtype(Tensor const& tensor)
{
  return torch::headeronly::toString(tensor.scalar_type());
}

template <class T>
[[nodiscard]] constexpr char const* name_of()
{
  if constexpr (std::is_integral_v<T>) {
    return sizeof(T) == 4 ? "int32" : "int64";
  } else {
    return ts::name_of(ts::ScalarTraits<T>::dtype);
  }
}

template <class T>
void check_dtype(Tensor const& tensor, char const* who, char const* name)
{
  std::int32_t dtype = 0;
  check_call(aoti_torch_get_dtype(tensor.get(), &dtype), "aoti_torch_get_dtype");
  expects(dtype == torch_dtype<T>(), who, ": ", name, " has elements of type ", name_of_dtype(tensor),
          ", not ", name_of<T>());
}

/// [rows, columns] of integers, or of numbers that kernels read 16 bytes at a time.
template <class T>
[[nodiscard]] ts::MatrixView<T const> matrix(Tensor const& tensor, Tensor const& like, char const* who,
                                             char const* name)
{
  check_tensor(tensor, like, 2, who, name);
  check_dtype<T>(tensor, who, name);
  auto const* const data = static_cast<T const*>(tensor.data_ptr());
  expects(std::is_integral_v<T> || reinterpret_cast<std::uintptr_t>(data) % 16 == 0, who, ": ", name,
          " does not begin at a multiple of 16 bytes; call clone()");
  return {data, tensor.size(0), tensor.size(1)};
}

/// A buffer on the memory of an int32 tensor, or of int64 for T of that type, which must outlive it. Nothing is copied.
template <class T = std::int32_t, class Space>
[[nodiscard]] ts::Buffer<T, Space> borrow(Tensor const& tensor, Tensor const& like, char const* who,
                                          char const* name, ts::Execution<Space> const& exec)
{
  using Element = std::conditional_t<std::is_same_v<T, std::int64_t>, T, std::int32_t>;
  check_tensor(tensor, like, -1, who, name);
  check_dtype<Element>(tensor, who, name);
  auto const size =
      tensor.numel() * static_cast<std::int64_t>(sizeof(Element)) / static_cast<std::int64_t>(sizeof(T));
  return ts::Buffer<T, Space>::adopt(static_cast<T*>(tensor.data_ptr()), size, nullptr, exec);
}

/// A matrix on the memory of a tensor, which must outlive it.
template <class Scalar, class Space>
[[nodiscard]] ts::Matrix<Scalar, Space> borrow_matrix(ts::MatrixView<Scalar const> const& view,
                                                      ts::Execution<Space> const& exec)
{
  return {ts::Buffer<Scalar, Space>::adopt(const_cast<Scalar*>(view.data), view.size(), nullptr, exec),
          view.rows, view.columns};
}

// --- what is chosen at run time ----------------------------------------------------------------------------------

template <class T>
struct Type {
  using type = T;
};

/// The scalars of features in a space: `visit(dtype name, f)` calls `f(Type<Scalar>{})`. cuda_scalars.cuh has the device's.
template <class Space>
struct Scalars;

template <>
struct Scalars<ts::Host> {
  template <class F>
  static decltype(auto) visit(Tensor const& features, char const* who, F const& f)
  {
    using torch::headeronly::ScalarType;
    switch (features.scalar_type()) {
      case ScalarType::Float: return f(Type<float>{});
      case ScalarType::Double: return f(Type<double>{});
      case ScalarType::Half: return f(Type<torch::headeronly::Half>{});
      case ScalarType::BFloat16: return f(Type<torch::headeronly::BFloat16>{});
      default:
        fail(who, ": features of type ", name_of_dtype(features),
             "; there are float32, float64, float16 and bfloat16");
    }
  }
};

/// Calls `f` with the number of axes, 1 to 4, as a type.
template <class F>
decltype(auto) visit_dim(std::int64_t dim, char const* who, F const& f)
{
  switch (dim) {
    case 1: return f(std::integral_constant<int, 1>{});
    case 2: return f(std::integral_constant<int, 2>{});
    case 3: return f(std::integral_constant<int, 3>{});
    case 4: return f(std::integral_constant<int, 4>{});
    default: fail(who, ": ", dim, " axes; there are 1 to 4, besides the batch entry in column 0");
  }
}

/// The same of coordinates [rows, 1 + dim].
template <class F>
decltype(auto) visit_dim_of(Tensor const& coordinates, char const* who, F const& f)
{
  expects(coordinates.dim() == 2, who, ": coordinates have ", coordinates.dim(),
          " axes, not 2: [rows, 1 + D]");
  return visit_dim(coordinates.size(1) - 1, who, f);
}

[[nodiscard]] inline int to_int(std::int64_t value, char const* who, char const* name)
{
  expects(value >= INT32_MIN && value <= INT32_MAX, who, ": ", name, " ", value, " does not fit 32 bits");
  return static_cast<int>(value);
}

template <int Dim>
[[nodiscard]] ts::IntArray<Dim> per_axis(Integers const& values, char const* who, char const* name)
{
  expects(values.size() == static_cast<std::size_t>(Dim), who, ": ", name, " has ", values.size(),
          " numbers for ", Dim, " axes");
  ts::IntArray<Dim> result;
  for (int i = 0; i < Dim; ++i) { result[i] = to_int(values[static_cast<std::size_t>(i)], who, name); }
  return result;
}

/// The choice called `name` among `choices`, whose names are in a list of the same order.
template <class T>
[[nodiscard]] T choice(std::string const& name, std::vector<std::pair<char const*, T>> const& choices,
                       char const* who, char const* what)
{
  std::string known;
  for (auto const& [known_name, value] : choices) {
    if (name == known_name) { return value; }
    known += known.empty() ? "\"" : ", \"";
    known += known_name;
    known += "\"";
  }
  fail(who, ": ", what, " \"", name, "\" does not exist; choose ", known);
}

// --- coordinate sets -----------------------------------------------------------------------------------------------

template <int Dim>
[[nodiscard]] std::optional<ts::SpatialRange<Dim>> range_of(Integers const& shape, std::int64_t batch_size,
                                                            char const* who)
{
  if (shape.empty()) { return std::nullopt; }
  return ts::SpatialRange<Dim>{to_int(batch_size, who, "batch size"), per_axis<Dim>(shape, who, "shape")};
}

/// The set of the rows of a tensor, which must outlive it. Nothing is copied.
/// Stream: waits for the bounds where there is no shape.
template <int Dim, class Space>
[[nodiscard]] ts::CoordinateSetPointer<Dim, Space> coordinate_set(
    Tensor const& coordinates, Tensor const& like, ts::CoordinateSetOptions<Dim> const& options,
    char const* who, ts::Execution<Space> const& exec)
{
  static_cast<void>(matrix<std::int32_t>(coordinates, like, who, "the tensor of coordinates"));
  auto rows = borrow<ts::Coordinate<Dim>>(coordinates, like, who, "the tensor of coordinates", exec);
  return ts::make_coordinate_set<Dim>(std::move(rows), options, exec);
}

}  // namespace tessera_torch
