// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/parallel.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/record.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <memory>
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

template <class To, class From, class Space>
[[nodiscard]] Matrix<To, Space> cast_view(MatrixView<From> from, Execution<Space> const& exec)
{
  Matrix<To, Space> to{from.rows, from.columns, exec};
  using Body = CastElements<To, std::remove_const_t<From>>;
  for_each(to.size(), Body{from.data, to.data()}, exec);
  return to;
}

template <class To, class From, class Space>
[[nodiscard]] Matrix<To, Space> cast_unrecorded(Matrix<From, Space> const& x, Execution<Space> const& exec)
{
  return cast_view<To>(x.view(), exec);
}
template <class To, int Dim, class From, class Space>
[[nodiscard]] SparseTensor<Dim, To, Space> cast_unrecorded(SparseTensor<Dim, From, Space> const& x,
                                                           Execution<Space> const& exec)
{
  if (x.coordinates() == nullptr) { return {}; }
  return {x.coordinates(), cast_view<To>(x.features(), exec)};
}

}  // namespace detail

namespace ops {

/// `y = cast<...>(x)` of a SparseTensor or a Matrix.
template <class Result, class Value, class Space>
struct CastRecord final : FunctionRecord<CastRecord<Result, Value, Space>, Space, Result, Value> {
  using CastRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "cast"; }
  [[nodiscard]] Result compute(Value const& x, Execution<Space> const& exec) const
  {
    return detail::cast_unrecorded<detail::scalar_of_rows<Result>>(x, exec);
  }
  /// The gradient of a cast is its cast back.
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    using From = detail::scalar_of_rows<Value>;
    using To = detail::scalar_of_rows<Result>;
    gradients.add(this->input().id(),
                  detail::cast_view<From>(gradients.template of<To>(this->output().id()), exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->give_all_back(); }
};

}  // namespace ops

namespace detail {

template <class Result, class Value, class Space>
[[nodiscard]] Result cast(Value const& x, Execution<Space> const& exec)
{
  return run_recorded(
      exec, [&](auto const& inside) { return cast_unrecorded<scalar_of_rows<Result>>(x, inside); },
      [&](Result const& y) {
        return std::make_shared<ops::CastRecord<Result, Value, Space>>(ops::Recorded<Result>{y},
                                                                       ops::Recorded<Value>{x});
      });
}

}  // namespace detail

/// A matrix of another type, rounded to nearest: `cast<__half>(intensity, exec)`, which is a Matrix or a
/// view. A view has no identity, so that a recorder is not told of it.
/// Cost: one pass.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <class To, class From, class Space>
[[nodiscard]] Matrix<To, Space> cast(MatrixView<From> from, Execution<Space> const& exec)
{
  return detail::cast_view<To>(from, exec);
}

template <class To, class From, class Space>
[[nodiscard]] Matrix<To, Space> cast(Matrix<From, Space> const& from, Execution<Space> const& exec)
{
  return detail::cast<Matrix<To, Space>>(from, exec);
}

/// The same voxels with features of another type, rounded to nearest. Cost, stream: as above.
template <class To, int Dim, class From, class Space>
[[nodiscard]] SparseTensor<Dim, To, Space> cast(SparseTensor<Dim, From, Space> const& x,
                                                Execution<Space> const& exec)
{
  return detail::cast<SparseTensor<Dim, To, Space>>(x, exec);
}

}  // namespace v0
}  // namespace tessera
