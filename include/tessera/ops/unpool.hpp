// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/pool_gradients.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {

/// @name Gradients of pools for their input `x`
/// `grad` [outputs, channels] in `Space` is on the outputs of the pool with these options; the result has the rows of `x`.
///
/// Of sum_pool(), `g[i, c] = sum over the outputs o whose window holds i of grad[o, c]`; of average_pool() each divided
/// by the number of inputs of o; of max_pool() of those alone that have their value from i, the first of equal ones.
/// @throws invalid_argument  another number of rows than outputs, and what the pool says
/// Cost: the map and its transpose the first time; one read of every pair.
/// Stream: enqueues on `exec`; waits only where kernel_map() does.
/// Determinism: same input, same bits; sums in float (double for double), offsets ascending.
/// @{
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> sum_pool_backward(MatrixView<Scalar const> const& grad,
                                                      SparseTensor<Dim, Scalar, Space> const& x,
                                                      nn::PoolOptions<Dim> const& options,
                                                      Execution<Space> const& exec)
{
  auto const mapped = detail::pool_map_of(x, options, grad, "sum_pool_backward", exec);
  return detail::sum_over_pairs<Scalar>(grad, *transpose(*mapped.map, exec), nullptr, false, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> average_pool_backward(MatrixView<Scalar const> const& grad,
                                                          SparseTensor<Dim, Scalar, Space> const& x,
                                                          nn::PoolOptions<Dim> const& options,
                                                          Execution<Space> const& exec)
{
  auto const mapped = detail::pool_map_of(x, options, grad, "average_pool_backward", exec);
  auto const counts = detail::count_row_pairs(*mapped.map, exec);
  return detail::sum_over_pairs<Scalar>(grad, *transpose(*mapped.map, exec), counts.data(), false, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> max_pool_backward(MatrixView<Scalar const> const& grad,
                                                      SparseTensor<Dim, Scalar, Space> const& x,
                                                      nn::PoolOptions<Dim> const& options,
                                                      Execution<Space> const& exec)
{
  auto const mapped = detail::pool_map_of(x, options, grad, "max_pool_backward", exec);
  auto& map = *mapped.map;
  detail::expects(grad.columns == x.channels(), "max_pool_backward: ", grad.columns,
                  " channels of a gradient for ", x.channels());
  bool const from_zero =
      rules::visit(detail::pool_config(options).compat, [](auto rules) { return rules.pools_from_zero; });
  Buffer<std::int32_t, Space> winner{grad.size(), exec};
  for_each(grad.size(),
           detail::FindWinners<Scalar>{x.features().data, map.out_in(exec), winner.data(), map.volume(),
                                       grad.columns, from_zero},
           exec);
  auto const transposed = transpose(map, exec);
  Matrix<Scalar, Space> result{x.capacity(), x.channels(), exec};
  for_each(result.size(),
           detail::SumOfWins<Scalar>{grad.data, winner.data(), transposed->out_in(exec), result.data(),
                                     map.volume(), grad.columns},
           exec);
  return result;
}
/// @}

namespace detail {

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> unpool_unrecorded(SparseTensor<Dim, Scalar, Space> const& x,
                                                                 SparseTensor<Dim, Scalar, Space> const& like,
                                                                 nn::PoolOptions<Dim> const& options,
                                                                 Execution<Space> const& exec)
{
  expect_coordinates(x, "unpool");
  expect_coordinates(like, "unpool");
  auto const mapped = pool_map(like, options, "unpool", exec);
  expects(mapped.coordinates == x.coordinates(),
          "unpool: the tensor does not stand on the outputs of a pool of `like` "
          "with these options");
  return like.with_features(
      sum_over_pairs<Scalar>(x.features(), *transpose(*mapped.map, exec), nullptr, true, exec));
}

}  // namespace detail

namespace ops {

/// Features of pooled voxels, back on those they were pooled from.
template <int Dim, class Scalar, class Space>
struct UnpoolRecord final
    : FunctionRecord<UnpoolRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Variable = Recorded<Tensor>;
  UnpoolRecord(Variable y, Variable x, Variable like, nn::PoolOptions<Dim> const& with)
      : UnpoolRecord::FunctionRecord{std::move(y), std::move(x), std::move(like)}, options{with}
  {
    options.config(detail::pool_config(with));
  }

  [[nodiscard]] char const* name() const noexcept override { return "unpool"; }
  [[nodiscard]] Tensor compute(Tensor const& x, Tensor const& like, Execution<Space> const& exec) const
  {
    return detail::unpool_unrecorded(x, like, options, exec);
  }

  nn::PoolOptions<Dim> options;  // with the configuration of the thread that recorded
};

}  // namespace ops

/// Gives each voxel of `like` the mean of the pooled voxels whose windows hold it, 0 where none does:
/// `y[i, c] = (sum over outputs o whose window holds i of x[o, c]) / (number of these)`.
///
/// @param x        on the outputs of a pool of `like` with these options: max_pool(like, options), or what was made of it
/// @param like     the voxels to go back to; its features are not read
/// @throws invalid_argument  x stands on other voxels, and what the pool says
/// Cost, stream, determinism: as the gradients of pools. Source: MinkowskiPoolingTranspose.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> unpool(SparseTensor<Dim, Scalar, Space> const& x,
                                                      SparseTensor<Dim, Scalar, Space> const& like,
                                                      nn::PoolOptions<Dim> const& options,
                                                      Execution<Space> const& exec)
{
  using Variable = ops::Recorded<SparseTensor<Dim, Scalar, Space>>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::unpool_unrecorded(x, like, options, inside); },
      [&](auto const& y) {
        return std::make_shared<ops::UnpoolRecord<Dim, Scalar, Space>>(Variable{y}, Variable{x},
                                                                       Variable{like}, options);
      });
}

/// The gradient of unpool() for `x`: `g[o, c] = sum over i in o's window of grad[i, c] / (number of outputs that hold
/// i)`.
/// @param grad  [rows of like, channels] in `Space`
/// @throws invalid_argument  other rows than those of `like`, and what the pool says
/// Cost, stream, determinism: as unpool().
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> unpool_backward(MatrixView<Scalar const> const& grad,
                                                    SparseTensor<Dim, Scalar, Space> const& like,
                                                    nn::PoolOptions<Dim> const& options,
                                                    Execution<Space> const& exec)
{
  detail::expect_coordinates(like, "unpool_backward");
  detail::expects(grad.rows == like.capacity(), "unpool_backward: ", grad.rows, " rows of a gradient for ",
                  like.capacity(), " rows");
  auto const mapped = detail::pool_map(like, options, "unpool_backward", exec);
  auto const counts = detail::count_row_pairs(*transpose(*mapped.map, exec), exec);
  return detail::sum_over_pairs<Scalar>(grad, *mapped.map, counts.data(), false, exec);
}

}  // namespace v0
}  // namespace tessera
