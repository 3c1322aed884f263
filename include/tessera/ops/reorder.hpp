// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/space_filling_curve.hpp>
#include <tessera/ops/detail/select_rows.hpp>
#include <tessera/ops/detail/subdivide.hpp>
#include <tessera/ops/record.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// to[i] = from[order[i]].
template <int Dim>
struct PermuteCoordinates {
  Coordinate<Dim> const* from;  // [capacity]
  std::int32_t const* order;    // [capacity]
  Coordinate<Dim>* to;          // [capacity]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { to[i] = from[order[i]]; }
};

inline void expect_order(std::int64_t rows, std::int64_t columns, std::int64_t capacity, char const* who)
{
  expects(rows == capacity && columns == 1, who, ": an order [", rows, ", ", columns, "] of ", capacity,
          " rows; it must be [rows, 1]");
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> reorder_unrecorded(SparseTensor<Dim, Scalar, Space> const& x,
                                                                  Matrix<std::int32_t, Space> const& order,
                                                                  Execution<Space> const& exec)
{
  expect_coordinates(x, "reorder");
  expect_order(order.rows(), order.columns(), x.capacity(), "reorder");
  auto const& set = *x.coordinates();
  typename CoordinateSet<Dim, Space>::Rows rows{{set.capacity(), exec}};
  if (set.has_device_count()) { rows.count = copy(set.row_count().count, 1, exec); }
  for_each(set.capacity(), PermuteCoordinates<Dim>{set.data(), order.data(), rows.rows.data()}, exec);
  CoordinateSetOptions<Dim> options{set.tensor_stride(), set.spatial_range()};
  options.fixed_capacity = set.fixed_capacity();
  options.only_entry = set.only_entry();
  auto reordered = CoordinateSet<Dim, Space>::make(std::move(rows), set.box(), options, exec);
  Matrix<Scalar, Space> y{x.capacity(), x.channels(), exec};
  gather_pieces(x.features().data, copy(order.data(), order.size(), exec), x.channels(), y.data(), exec);
  return {std::move(reordered), std::move(y)};
}

/// The rows of `x` where `order` has them from.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> restored_rows(MatrixView<Scalar const> const& x,
                                                  Matrix<std::int32_t, Space> const& order,
                                                  Execution<Space> const& exec)
{
  auto const from = inverted(copy(order.data(), order.size(), exec), order.rows(), exec);
  return gather_rows<Scalar>(x, from, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> restore_order_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, Matrix<std::int32_t, Space> const& order,
    SparseTensor<Dim, Scalar, Space> const& like, Execution<Space> const& exec)
{
  expect_coordinates(x, "restore_order");
  expect_coordinates(like, "restore_order");
  expect_order(order.rows(), order.columns(), x.capacity(), "restore_order");
  expects(like.capacity() == x.capacity(), "restore_order: ", x.capacity(), " rows back onto ",
          like.capacity());
  return like.with_features(restored_rows(x.features(), order, exec));
}

}  // namespace detail

namespace ops {

/// Voxels in another order.
template <int Dim, class Scalar, class Space>
struct ReorderRecord final
    : FunctionRecord<ReorderRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, Matrix<std::int32_t, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using ReorderRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "reorder"; }
  [[nodiscard]] Tensor compute(Tensor const& x, Matrix<std::int32_t, Space> const& order,
                               Execution<Space> const& exec) const
  {
    return detail::reorder_unrecorded(x, order, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(this->input().id(), detail::restored_rows(grad, *this->template input<1>().value(), exec),
                  exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_back();
    this->output().give_back();
  }
};

/// The features of voxels in another order, back on those in theirs.
template <int Dim, class Scalar, class Space>
struct RestoreOrderRecord final
    : FunctionRecord<RestoreOrderRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, Matrix<std::int32_t, Space>,
                     SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using RestoreOrderRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "restore_order"; }
  [[nodiscard]] Tensor compute(Tensor const& x, Matrix<std::int32_t, Space> const& order, Tensor const& like,
                               Execution<Space> const& exec) const
  {
    return detail::restore_order_unrecorded(x, order, like, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const grad = gradients.template of<Scalar>(this->output().id());
    auto const& order = *this->template input<1>().value();
    gradients.add(this->input().id(),
                  detail::gather_rows<Scalar>(grad, copy(order.data(), order.size(), exec), exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_back();
    this->template input<2>().give_back();
    this->output().give_back();
  }
};

}  // namespace ops

/// The voxels of `x` in another order, on a coordinate set of their own: row i of the result is row `order[i]` of `x`.
///
/// | name    | shape            | memory | holds                                                                  |
/// |---------|------------------|--------|------------------------------------------------------------------------|
/// | order   | [rows, 1]        | Space  | each row number once, those not in use last: curve_order() of the set  |
/// | returns | [rows, channels] | Space  |                                                                        |
///
/// Rows along a space-filling curve have their neighbours close in memory. restore_order() is the way back.
/// @pre     the order is one, which is not looked at
/// @throws invalid_argument  an order of another shape; the tensor has no coordinates
/// Cost: one pass over the rows.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> reorder(SparseTensor<Dim, Scalar, Space> const& x,
                                                       Matrix<std::int32_t, Space> const& order,
                                                       Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::reorder_unrecorded(x, order, inside); },
      [&](Tensor const& y) {
        return std::make_shared<ops::ReorderRecord<Dim, Scalar, Space>>(
            ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{x},
            ops::Recorded<Matrix<std::int32_t, Space>>{order});
      });
}

/// Features of reordered voxels on those in their first order: row `order[i]` of the result is row i of `x`.
/// @param x      on the voxels that reorder() made of those of `like`, by this order
/// @param like   its features are not read
/// @throws invalid_argument  an order of another shape, other numbers of rows
/// Cost, stream, determinism: as reorder().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> restore_order(SparseTensor<Dim, Scalar, Space> const& x,
                                                             Matrix<std::int32_t, Space> const& order,
                                                             SparseTensor<Dim, Scalar, Space> const& like,
                                                             Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::restore_order_unrecorded(x, order, like, inside); },
      [&](Tensor const& y) {
        return std::make_shared<ops::RestoreOrderRecord<Dim, Scalar, Space>>(
            ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{x},
            ops::Recorded<Matrix<std::int32_t, Space>>{order}, ops::Recorded<Tensor>{like});
      });
}

}  // namespace v0
}  // namespace tessera
