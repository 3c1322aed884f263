// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution_backward.hpp>
#include <tessera/ops/detail/layer_norm_rows.hpp>
#include <tessera/ops/detail/product_gradients.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/norm_options.hpp>
#include <tessera/ops/record.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> normalize_each_row(MatrixView<Scalar const> const& x,
                                                       AffineOptions<accumulator_t<Scalar>> const& affine,
                                                       Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  constexpr int lanes = lanes_of_row<Space>;
  LayerNormOf<Sum> const by{affine.weight.data(), affine.bias.data(), static_cast<Sum>(affine.eps)};
  Matrix<Scalar, Space> y{x.rows, x.columns, exec};
  if (y.size() == 0) { return y; }
  // Rows are read element by element, wherever they begin: the order of the sums must not depend on that.
  with_pack_size<Scalar>(moves_in_packs(y.data(), y.columns()), [&](auto size) {
    for_each(x.rows * lanes, NormalizeEachRow<Scalar, size(), lanes>{by, x.data, y.data(), x.columns}, exec);
  });
  return y;
}

template <class Value, class Space>
[[nodiscard]] Value layer_norm_unrecorded(Value const& x,
                                          AffineOptions<accumulator_t<scalar_of_rows<Value>>> const& affine,
                                          Execution<Space> const& exec)
{
  expect_rows(x, "layer_norm");
  return with_rows(x, normalize_each_row<scalar_of_rows<Value>>(rows_of(x), affine, exec));
}

}  // namespace detail

/// The gradients of layer_norm(). With `n = (x - mean) / sqrt(variance + eps)` and `g = grad * weight` of a
/// row: `dx[c] = (g[c] - mean(g) - n[c] * mean(g n)) / sqrt(variance + eps)`,
/// `dweight[c] = sum over rows of grad n`, `dbias[c] = sum over rows of grad`.
///
/// | name                   | shape            | memory | holds                                    |
/// |------------------------|------------------|--------|------------------------------------------|
/// | grad                   | [rows, channels] | Space  | on the outputs                           |
/// | x                      | [rows, channels] | Space  | what layer_norm() read                   |
/// | rows                   |                  | Space  | those in use, of which parameters learn  |
/// | weight                 | [channels]       | Space  | as in layer_norm(), or null              |
/// | grad_weight, grad_bias | [channels]       | Space  | written or added to; null: not wanted    |
/// | returns                | [rows, channels] | Space  | dx                                       |
///
/// @throws invalid_argument  a gradient of another shape than x
/// Cost: two passes over the features.
/// Stream: enqueues a few kernels, does not wait.
/// Determinism: the same bits
/// on every run, whatever the capacity; those of the parameters depend on the order of the rows.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> layer_norm_backward(
    MatrixView<Scalar const> const& grad, MatrixView<Scalar const> const& x, RowCount const& rows,
    detail::ParameterArgument<accumulator_t<Scalar>> const& weight, double eps,
    accumulator_t<Scalar>* grad_weight, accumulator_t<Scalar>* grad_bias, GradientMode mode,
    Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  constexpr int lanes = detail::lanes_of_row<Space>;
  detail::expects(grad.rows == x.rows && grad.columns == x.columns && rows.capacity == x.rows,
                  "layer_norm_backward: a gradient of ", grad.rows, " x ", grad.columns, " for features of ",
                  x.rows, " x ", x.columns);
  detail::LayerNormOf<Sum> const by{weight.data(), nullptr, static_cast<Sum>(eps)};
  Matrix<Scalar, Space> result{x.rows, x.columns, exec};
  Buffer<detail::RowMoments<Sum>, Space> moments{x.rows, exec};
  if (result.size() > 0) {
    bool const in_packs = detail::moves_in_packs(result.data(), x.columns);  // as in normalize_each_row()
    detail::with_pack_size<Scalar>(in_packs, [&](auto size) {
      for_each(x.rows * lanes,
               detail::NormalizeEachRowBackward<Scalar, size(), lanes>{by, grad.data, x.data, result.data(),
                                                                       moments.data(), x.columns},
               exec);
    });
  }
  if (grad_weight == nullptr && grad_bias == nullptr) { return result; }
  Buffer<Sum, Space> sums{2 * x.columns, exec};
  detail::sum_by_slabs(
      x.rows, 2 * x.columns, sums.data(), exec, [&](std::int64_t first, std::int64_t count, Sum* parts) {
        for_each(
            count * 2 * x.columns,
            detail::SumNormSlabs<Scalar>{grad.data, x.data, moments.data(), parts, rows, first, x.columns},
            exec);
      });
  auto const store = [&](Sum const* from, Sum* to) {
    if (to == nullptr) { return; }
    for_each(x.columns, detail::StoreGradient<Sum, Sum>{from, to, mode == GradientMode::accumulate}, exec);
  };
  store(sums.data(), grad_weight);
  store(sums.data() + x.columns, grad_bias);
  return result;
}

namespace ops {

/// Normalisation of each row over its channels.
template <class Value, class Space>
struct LayerNormRecord final : FunctionRecord<LayerNormRecord<Value, Space>, Space, Value, Value> {
  using Scalar = detail::scalar_of_rows<Value>;
  using LayerNormRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "layer_norm"; }
  [[nodiscard]] std::vector<VariableId> parameters() const override
  {
    return {affine.weight.id, affine.bias.id};
  }
  [[nodiscard]] Value compute(Value const& x, Execution<Space> const& exec) const
  {
    return detail::layer_norm_unrecorded(x, affine, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    using Sum = accumulator_t<Scalar>;
    auto const& x = this->input();
    auto* const grad_weight = gradients.template parameter<Sum>(affine.weight.id, affine.channels, exec);
    auto* const grad_bias = gradients.template parameter<Sum>(affine.bias.id, affine.channels, exec);
    auto dx = layer_norm_backward<Scalar, Space>(gradients.template of<Scalar>(this->output().id()),
                                                 detail::rows_of(*x.value()), detail::used_rows(*x.value()),
                                                 affine.weight, affine.eps, grad_weight, grad_bias,
                                                 GradientMode::accumulate, exec);
    gradients.add(x.id(), std::move(dx), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_back(); }
  void expect_unchanged() const override
  {
    LayerNormRecord::FunctionRecord::expect_unchanged();
    detail::expect_unwritten(affine.weight, name());
  }
  template <class Visit>
  void visit_parameters(Visit const& visit) const
  {
    visit(affine.weight);
    visit(affine.bias);
  }

  AffineOptions<accumulator_t<Scalar>> affine;
};

}  // namespace ops

namespace detail {

template <class Value, class Scalar, class Space>
[[nodiscard]] Value layer_norm(Value const& x, AffineOptions<accumulator_t<Scalar>> const& affine,
                               Execution<Space> const& exec)
{
  return run_recorded(
      exec, [&](auto const& inside) { return layer_norm_unrecorded(x, affine, inside); },
      [&](Value const& y) {
        auto record = std::make_shared<ops::LayerNormRecord<Value, Space>>(ops::Recorded<Value>{y},
                                                                           ops::Recorded<Value>{x});
        record->affine = affine;
        return record;
      });
}

}  // namespace detail

/// Normalises each voxel by the mean and biased variance of its own channels:
/// `y[i, c] = (x[i, c] - mean[i]) / sqrt(variance[i] + eps) * weight[c] + bias[c]`, computed in float (double
/// for double) and rounded once.
///
/// | name         | shape            | memory | holds                   |
/// |--------------|------------------|--------|-------------------------|
/// | x            | [rows, channels] | Space  | NaN stays in its row    |
/// | weight, bias | [channels]       | Space  | float (double), or null |
///
/// Cost: one pass over the features.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits, in any order of the rows; Host and Device add up a row in different
/// orders.
/// Source: PyTorch's LayerNorm over the last axis; LayerNorm32 of TRELLIS.2.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> layer_norm(SparseTensor<Dim, Scalar, Space> const& x,
                                                          ParameterRef<accumulator_t<Scalar>> const& weight,
                                                          ParameterRef<accumulator_t<Scalar>> const& bias,
                                                          double eps, Execution<Space> const& exec)
{
  return detail::layer_norm<SparseTensor<Dim, Scalar, Space>, Scalar>(x, {weight, bias, x.channels(), eps},
                                                                      exec);
}

/// The same of the points of a PointTensor.
template <int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> layer_norm(PointTensor<Dim, Scalar, Space> const& x,
                                                         ParameterRef<accumulator_t<Scalar>> const& weight,
                                                         ParameterRef<accumulator_t<Scalar>> const& bias,
                                                         double eps, Execution<Space> const& exec)
{
  return detail::layer_norm<PointTensor<Dim, Scalar, Space>, Scalar>(x, {weight, bias, x.channels(), eps},
                                                                     exec);
}

/// The same of the rows of a matrix.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> layer_norm(Matrix<Scalar, Space> const& x,
                                               ParameterRef<accumulator_t<Scalar>> const& weight,
                                               ParameterRef<accumulator_t<Scalar>> const& bias, double eps,
                                               Execution<Space> const& exec)
{
  return detail::layer_norm<Matrix<Scalar, Space>, Scalar>(
      x, {weight, bias, static_cast<int>(x.columns()), eps}, exec);
}

}  // namespace v0
}  // namespace tessera
