// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/parallel.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// to[i] = from[i], rounded to nearest.
template <class To, class From>
struct CastElements {
  From const* from;
  To* to;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    to[i] = static_cast<To>(static_cast<accumulator_t<From>>(from[i]));
  }
};

}  // namespace detail

/// A matrix of another type, rounded to nearest: `cast<__half>(intensity, exec)`, which is a Matrix or a
/// view.
/// Cost: one pass. Stream: enqueues one kernel, does not wait. Determinism: same input, same bits.
template <class To, class From, class Space>
[[nodiscard]] Matrix<To, Space> cast(MatrixView<From> from, Execution<Space> const& exec)
{
  Matrix<To, Space> to{from.rows, from.columns, exec};
  using Body = detail::CastElements<To, std::remove_const_t<From>>;
  for_each(to.size(), Body{from.data, to.data()}, exec);
  return to;
}

template <class To, class From, class Space>
[[nodiscard]] Matrix<To, Space> cast(Matrix<From, Space> const& from, Execution<Space> const& exec)
{
  return cast<To>(from.view(), exec);
}

/// The same voxels with features of another type, rounded to nearest. Cost, stream: as above.
template <class To, int Dim, class From, class Space>
[[nodiscard]] SparseTensor<Dim, To, Space> cast(SparseTensor<Dim, From, Space> const& x,
                                                Execution<Space> const& exec)
{
  if (x.coordinates() == nullptr) { return {}; }
  return {x.coordinates(), cast<To>(x.features(), exec)};
}

}  // namespace v0
}  // namespace tessera
