// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/joined_tensors.hpp>
#include <tessera/ops/detail/select_rows.hpp>
#include <tessera/ops/record.hpp>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> prune_unrecorded(SparseTensor<Dim, Scalar, Space> const& x,
                                                                Matrix<std::uint8_t, Space> const& mask,
                                                                Execution<Space> const& exec)
{
  expect_coordinates(x, "prune");
  expects(mask.rows() == x.capacity() && mask.columns() == 1, "prune: a mask [", mask.rows(), ", ",
          mask.columns(), "] for ", x.capacity(), " rows; it must be [rows, 1]");
  return select_rows(x, KeepMarked{mask.data()}, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> prune_above_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, SparseTensor<Dim, Scalar, Space> const& scores,
    double threshold, Execution<Space> const& exec)
{
  expect_same_voxels(x, scores, "prune", "a tensor of scores on the same voxels");
  expects(scores.channels() == 1, "prune: scores of ", scores.channels(), " channels; 1 is needed");
  using Sum = accumulator_t<Scalar>;
  return select_rows(x, KeepAbove<Scalar>{scores.features().data, static_cast<Sum>(threshold)}, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> crop_unrecorded(SparseTensor<Dim, Scalar, Space> const& x,
                                                               IntArray<Dim> const& lower,
                                                               IntArray<Dim> const& upper,
                                                               Execution<Space> const& exec)
{
  expect_coordinates(x, "crop");
  return select_rows(x, KeepInBox<Dim>{lower, upper}, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> prune_gradient(MatrixView<Scalar const> const& grad,
                                                   SparseTensor<Dim, Scalar, Space> const& y,
                                                   SparseTensor<Dim, Scalar, Space> const& x,
                                                   Execution<Space> const& exec)
{
  expect_coordinates(x, "prune_backward");
  expect_coordinates(y, "prune_backward");
  expects(grad.rows == y.capacity(), "prune_backward: ", grad.rows, " rows of a gradient for ", y.capacity(),
          " rows");
  auto& from = *x.coordinates();
  auto& kept = *y.coordinates();
  Buffer<std::int32_t, Space> rows{x.capacity(), exec};
  coordinate_table(kept, exec)->visit([&](auto const& table) {
    using Key = typename std::decay_t<decltype(table.packing)>::KeyType;
    for_each(
        x.capacity(),
        FindRows<Dim, Key>{from.view(), table, rows.data(), access(kept).errors(), access(from).errors()},
        exec);
  });
  return gather_rows<Scalar>(grad, rows, exec);
}

/// Adds it to that of the input of a record whose output has those of its rows that were kept.
template <int Dim, class Scalar, class Space>
void add_prune_gradient(ops::Gradients<Space>& gradients,
                        ops::Recorded<SparseTensor<Dim, Scalar, Space>> const& y,
                        ops::Recorded<SparseTensor<Dim, Scalar, Space>> const& x,
                        Execution<Space> const& exec)
{
  if (!gradients.wants(x.id())) { return; }
  auto const grad = gradients.template of<Scalar>(y.id());
  gradients.add(x.id(), prune_gradient(grad, *y.value(), *x.value(), exec), exec);
}

}  // namespace detail

namespace ops {

/// The voxels that a mask keeps.
template <int Dim, class Scalar, class Space>
struct PruneRecord final
    : FunctionRecord<PruneRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, Matrix<std::uint8_t, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using PruneRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "prune"; }
  [[nodiscard]] Tensor compute(Tensor const& x, Matrix<std::uint8_t, Space> const& mask,
                               Execution<Space> const& exec) const
  {
    return detail::prune_unrecorded(x, mask, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    detail::add_prune_gradient(gradients, this->output(), this->input(), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->template input<1>().give_back();
    this->output().give_features_back();
  }
};

/// The voxels whose score is above a threshold.
template <int Dim, class Scalar, class Space>
struct PruneAboveRecord final
    : FunctionRecord<PruneAboveRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using PruneAboveRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "prune"; }
  [[nodiscard]] Tensor compute(Tensor const& x, Tensor const& scores, Execution<Space> const& exec) const
  {
    return detail::prune_above_unrecorded(x, scores, threshold, exec);
  }
  /// Of the scores there is none: they decide, and do not enter the result.
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    detail::add_prune_gradient(gradients, this->output(), this->input(), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->template input<1>().give_back();
    this->output().give_features_back();
  }

  double threshold = 0;
};

/// The voxels inside a box.
template <int Dim, class Scalar, class Space>
struct CropRecord final : FunctionRecord<CropRecord<Dim, Scalar, Space>, Space,
                                         SparseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using CropRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "crop"; }
  [[nodiscard]] Tensor compute(Tensor const& x, Execution<Space> const& exec) const
  {
    return detail::crop_unrecorded(x, lower, upper, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    detail::add_prune_gradient(gradients, this->output(), this->input(), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->output().give_features_back();
  }

  IntArray<Dim> lower = IntArray<Dim>(0);
  IntArray<Dim> upper = IntArray<Dim>(0);
};

}  // namespace ops

/// The voxels whose mask is not 0, in their order, on a coordinate set of their own with the stride and range
/// of `x`.
///
/// | name    | shape            | memory | holds                        |
/// |---------|------------------|--------|------------------------------|
/// | mask    | [rows, 1]        | Space  | 0: the row goes              |
/// | returns | [kept, channels] | Space  |                              |
///
/// A transposed convolution does not find the way back from there; a generative one makes its own coordinates.
/// @throws invalid_argument  a mask of another shape; the tensor has no coordinates
/// Cost: a scan and two passes over the rows.
/// Stream: enqueues on `exec`; waits once for the number of rows kept, which in sets of fixed capacity stays in
/// the space.
/// Determinism: same input, same bits.
/// Source: MinkowskiPruning.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> prune(SparseTensor<Dim, Scalar, Space> const& x,
                                                     Matrix<std::uint8_t, Space> const& mask,
                                                     Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::prune_unrecorded(x, mask, inside); },
      [&](Tensor const& y) {
        return std::make_shared<ops::PruneRecord<Dim, Scalar, Space>>(
            ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{x},
            ops::Recorded<Matrix<std::uint8_t, Space>>{mask});
      });
}

/// The voxels whose score is above the threshold; NaN is not. Result, cost, stream, determinism: as prune().
/// @param scores  one channel on the voxels of `x`
/// @throws invalid_argument  scores on other voxels or of other than one channel
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> prune_above(SparseTensor<Dim, Scalar, Space> const& x,
                                                           SparseTensor<Dim, Scalar, Space> const& scores,
                                                           double threshold, Execution<Space> const& exec)
{
  using Variable = ops::Recorded<SparseTensor<Dim, Scalar, Space>>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::prune_above_unrecorded(x, scores, threshold, inside); },
      [&](auto const& y) {
        auto record = std::make_shared<ops::PruneAboveRecord<Dim, Scalar, Space>>(Variable{y}, Variable{x},
                                                                                  Variable{scores});
        record->threshold = threshold;
        return record;
      });
}

/// The voxels with `lower <= position < upper` on every axis, in units of the tensor's own stride. Result,
/// cost, stream, determinism: as prune().
/// @throws invalid_argument  the tensor has no coordinates
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> crop(SparseTensor<Dim, Scalar, Space> const& x,
                                                    IntArray<Dim> const& lower, IntArray<Dim> const& upper,
                                                    Execution<Space> const& exec)
{
  using Variable = ops::Recorded<SparseTensor<Dim, Scalar, Space>>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::crop_unrecorded(x, lower, upper, inside); },
      [&](auto const& y) {
        auto record = std::make_shared<ops::CropRecord<Dim, Scalar, Space>>(Variable{y}, Variable{x});
        record->lower = lower;
        record->upper = upper;
        return record;
      });
}

/// The gradient of prune(), prune_above() and crop() for `x`: that of the voxels that were kept, 0 for the
/// others.
/// @param grad  [kept, channels] in `Space`, rows of `y`
/// @param y     what the operation returned
/// @throws invalid_argument  the rows are not those of `y`; a tensor has no coordinates
/// Cost: a look-up per row of `x`.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> prune_backward(MatrixView<Scalar const> const& grad,
                                                   SparseTensor<Dim, Scalar, Space> const& y,
                                                   SparseTensor<Dim, Scalar, Space> const& x,
                                                   Execution<Space> const& exec)
{
  return detail::prune_gradient(grad, y, x, exec);
}

}  // namespace v0
}  // namespace tessera
