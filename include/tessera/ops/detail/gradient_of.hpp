// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/rows.hpp>
#include <tessera/tensor/dense.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The shape and scalar of the gradient of a value.
template <class Value>
struct GradientOf {
  using Scalar = scalar_of_rows<Value>;
  [[nodiscard]] static MatrixView<Scalar const> shape(Value const& value) { return rows_of(value); }
};
template <int Dim, class T, class Space>
struct GradientOf<DenseTensor<Dim, T, Space>> {
  using Scalar = T;
  [[nodiscard]] static MatrixView<T const> shape(DenseTensor<Dim, T, Space> const& value)
  {
    return {value.data(), 1, value.size()};
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
