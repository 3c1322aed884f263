// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/row_terms.hpp>
#include <tessera/ops/record.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// to[i, c] = values[batch entry of i, c]; 0 in rows that are not in use or of no entry.
template <int Dim, class Scalar>
struct BroadcastRows {
  CoordinateView<Dim> rows;
  Scalar const* values;  // [entries, channels]
  std::int64_t entries;
  std::int64_t channels;
  Scalar* to;  // [capacity, channels]

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / channels;
    auto const entry = row < rows.size() ? std::int64_t{rows[row].batch} : -1;
    bool const has_entry = entry >= 0 && entry < entries;
    to[n] = has_entry ? values[entry * channels + (n - row * channels)] : Scalar(0.0F);
  }
};

/// to[n] = from[n], rounded to nearest.
template <class Sum, class Scalar>
struct RoundSums {
  Sum const* from;
  Scalar* to;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const { to[n] = static_cast<Scalar>(from[n]); }
};

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> broadcast_unrecorded(
    Matrix<Scalar, Space> const& values, SparseTensor<Dim, Scalar, Space> const& like,
    Execution<Space> const& exec)
{
  expect_coordinates(like, "broadcast");
  auto const& set = *like.coordinates();
  expects(values.rows() == set.num_batches(), "broadcast: ", values.rows(), " rows for ", set.num_batches(),
          " batch entries");
  Matrix<Scalar, Space> result{set.capacity(), values.columns(), exec};
  for_each(
      result.size(),
      BroadcastRows<Dim, Scalar>{set.view(), values.data(), values.rows(), values.columns(), result.data()},
      exec);
  return like.with_features(std::move(result));
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> broadcast_gradient(MatrixView<Scalar const> const& grad,
                                                       SparseTensor<Dim, Scalar, Space> const& like,
                                                       Execution<Space> const& exec)
{
  expect_coordinates(like, "broadcast_backward");
  auto const& set = *like.coordinates();
  expects(grad.rows == set.capacity(), "broadcast_backward: ", grad.rows, " rows of a gradient for ",
          set.capacity(), " rows");
  auto const channels = static_cast<int>(grad.columns);
  auto const sums = reduce_rows(SumOfRows<Scalar>{grad.data, channels}, set.data(), set.row_count(),
                                set.num_batches(), channels, exec);
  Matrix<Scalar, Space> result{set.num_batches(), channels, exec};
  for_each(result.size(), RoundSums<accumulator_t<Scalar>, Scalar>{sums.data(), result.data()}, exec);
  return result;
}

}  // namespace detail

namespace ops {

/// A row of a matrix for each batch entry, on the voxels of a tensor.
template <int Dim, class Scalar, class Space>
struct BroadcastRecord final
    : FunctionRecord<BroadcastRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     Matrix<Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using BroadcastRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "broadcast"; }
  [[nodiscard]] Tensor compute(Matrix<Scalar, Space> const& values, Tensor const& like,
                               Execution<Space> const& exec) const
  {
    return detail::broadcast_unrecorded(values, like, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const values = this->input().id();
    if (!gradients.wants(values)) { return; }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(values, detail::broadcast_gradient(grad, *this->template input<1>().value(), exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_back();
    this->template input<1>().give_features_back();
    this->output().give_back();
  }
};

}  // namespace ops

/// Gives each voxel the row of its batch entry, `y[i, c] = values[batch(i), c]`, on the voxels of `like`:
/// what global pooling made, back on the voxels. With add(), multiply() and cat() these are MinkowskiEngine's
/// broadcasts.
///
/// | name    | shape                   | memory | holds                                        |
/// |---------|-------------------------|--------|----------------------------------------------|
/// | values  | [num_batches, channels] | Space  | any values                                   |
/// | like    | [rows, any]             | Space  | the voxels; its features are not read        |
/// | returns | [rows, channels]        | Space  |                                              |
///
/// @throws invalid_argument  another number of rows than batch entries; the tensor has no coordinates
/// Cost: one pass.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> broadcast(Matrix<Scalar, Space> const& values,
                                                         SparseTensor<Dim, Scalar, Space> const& like,
                                                         Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::broadcast_unrecorded(values, like, inside); },
      [&](Tensor const& y) {
        return std::make_shared<ops::BroadcastRecord<Dim, Scalar, Space>>(
            ops::Recorded<Tensor>{y}, ops::Recorded<Matrix<Scalar, Space>>{values},
            ops::Recorded<Tensor>{like});
      });
}

/// The gradient of broadcast() for `values`: `g[b, c] = sum over rows i of entry b of grad[i, c]`.
/// @param grad  [rows, channels] in `Space`, on the voxels of `like`
/// @throws invalid_argument  the rows are not those of `like`; the tensor has no coordinates
/// Cost: one pass.
/// Stream: enqueues a few kernels, does not wait.
/// Determinism: same input, same bits; sums in float (double for double).
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> broadcast_backward(MatrixView<Scalar const> const& grad,
                                                       SparseTensor<Dim, Scalar, Space> const& like,
                                                       Execution<Space> const& exec)
{
  return detail::broadcast_gradient(grad, like, exec);
}

}  // namespace v0
}  // namespace tessera
