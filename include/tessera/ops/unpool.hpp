// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/pooling.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {

namespace detail {

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> unpool_unrecorded(SparseTensor<Dim, Scalar, Space> const& x,
                                                                 SparseTensor<Dim, Scalar, Space> const& like,
                                                                 PoolOptions<Dim> const& options,
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

template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> unpool_gradient(MatrixView<Scalar const> const& grad,
                                                    SparseTensor<Dim, Scalar, Space> const& like,
                                                    PoolOptions<Dim> const& options,
                                                    Execution<Space> const& exec)
{
  expect_coordinates(like, "unpool_backward");
  expects(grad.rows == like.capacity(), "unpool_backward: ", grad.rows, " rows of a gradient for ",
          like.capacity(), " rows");
  auto const mapped = pool_map(like, options, "unpool_backward", exec);
  auto const counts = count_row_pairs(*transpose(*mapped.map, exec), exec);
  return sum_over_pairs<Scalar>(grad, *mapped.map, counts.data(), false, exec);
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
  UnpoolRecord(Variable y, Variable x, Variable like, PoolOptions<Dim> const& with)
      : UnpoolRecord::FunctionRecord{std::move(y), std::move(x), std::move(like)}, options{with}
  {
    options.config(detail::pool_config(with));
  }

  [[nodiscard]] char const* name() const noexcept override { return "unpool"; }
  [[nodiscard]] Tensor compute(Tensor const& x, Tensor const& like, Execution<Space> const& exec) const
  {
    return detail::unpool_unrecorded(x, like, options, exec);
  }

  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const x = this->input().id();
    if (!gradients.wants(x)) { return; }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    auto const& like = *this->template input<1>().value();
    gradients.add(x, detail::unpool_gradient(grad, like, options, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_back();
    this->template input<1>().give_features_back();
    this->output().give_back();
  }

  PoolOptions<Dim> options;  // with the configuration of the thread that recorded
};

}  // namespace ops

/// Gives each voxel of `like` the mean of the pooled voxels whose windows hold it, 0 where none does:
/// `y[i, c] = (sum over outputs o whose window holds i of x[o, c]) / (number of these)`.
///
/// @param x        on the outputs of a pool of `like` with these options: max_pool(like, options), or what
///                 was made of it
/// @param like     the voxels to go back to; its features are not read
/// @throws invalid_argument  x stands on other voxels, and what the pool says
/// Cost, stream, determinism: as the gradients of pools. Source: MinkowskiPoolingTranspose.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> unpool(SparseTensor<Dim, Scalar, Space> const& x,
                                                      SparseTensor<Dim, Scalar, Space> const& like,
                                                      PoolOptions<Dim> const& options,
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

/// The gradient of unpool() for `x`: `g[o, c] = sum over i in o's window of grad[i, c] / (number of outputs
/// that hold i)`.
/// @param grad  [rows of like, channels] in `Space`
/// @throws invalid_argument  other rows than those of `like`, and what the pool says
/// Cost, stream, determinism: as unpool().
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> unpool_backward(MatrixView<Scalar const> const& grad,
                                                    SparseTensor<Dim, Scalar, Space> const& like,
                                                    PoolOptions<Dim> const& options,
                                                    Execution<Space> const& exec)
{
  return detail::unpool_gradient(grad, like, options, exec);
}

}  // namespace v0
}  // namespace tessera
