// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/pool_gradients.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace ops {

/// Pooling over a kernel: detail::LargestInWindow, detail::MeanOfWindow or detail::SumOfWindow.
template <class Rule, int Dim, class Scalar, class Space>
struct PoolRecord final : FunctionRecord<PoolRecord<Rule, Dim, Scalar, Space>, Space,
                                         SparseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  PoolRecord(Tensor const& y, Tensor const& x, PoolOptions<Dim> const& with)
      : PoolRecord::FunctionRecord{Recorded<Tensor>{y}, Recorded<Tensor>{x}}, options{with}
  {
    options.config(detail::pool_config(with));
  }

  [[nodiscard]] char const* name() const noexcept override { return Rule::name; }
  [[nodiscard]] Tensor compute(Tensor const& x, Execution<Space> const& exec) const
  {
    return detail::pool_unrecorded<Rule>(x, options, exec);
  }
  [[nodiscard]] OperationWork work(Execution<Space> const& exec) const override
  {
    auto work = PoolRecord::FunctionRecord::work(exec);
    auto const* const x = this->input().value();
    if (x == nullptr) { return work; }
    auto const map = detail::pool_map(*x, options, Rule::name, exec).map;
    work.pairs = detail::count_pairs(*map, exec);
    work.gathered_bytes = static_cast<double>(work.pairs) * x->channels() * sizeof(Scalar);
    return work;
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(x.id(), detail::pool_backward<Rule>(grad, *x.value(), options, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    if (!Rule::takes_one) { this->input().give_features_back(); }
    this->output().give_back();
  }

  PoolOptions<Dim> options;  // with the configuration of the thread that recorded
};

}  // namespace ops

namespace detail {

template <class Rule, int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                    PoolOptions<Dim> const& options,
                                                    Execution<Space> const& exec)
{
  return run_recorded(
      exec, [&](auto const& inside) { return pool_unrecorded<Rule>(x, options, inside); },
      [&](auto const& y) {
        return std::make_shared<ops::PoolRecord<Rule, Dim, Scalar, Space>>(y, x, options);
      });
}

}  // namespace detail

/// The largest value of each channel over the voxels in each output's window, NaN where there is one: absent
/// voxels do not take part.
///
/// `y[o, c] = max over existing x[stride * o - padding + d * dilation, c]`; the outputs are those of a
/// strided convolution, new rows in lexicographic order. compat::spconv starts from 0, so that no result is
/// negative.
/// @throws invalid_argument  what kernel_map() throws; a kernel of -1 on a tensor without a spatial range
/// Cost: kernel_map() the first time; one read of every pair.
/// Stream: enqueues one kernel; waits only where kernel_map() does.
/// Determinism: the same bits on every run and for every order of the input rows.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> max_pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                        PoolOptions<Dim> const& options,
                                                        Execution<Space> const& exec)
{
  return detail::pool<detail::LargestInWindow<Scalar>>(x, options, exec);
}

/// The mean of each channel over the existing voxels in each output's window; sums in float (double for
/// double). Outputs, errors, cost, stream, determinism: as max_pool().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> average_pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                            PoolOptions<Dim> const& options,
                                                            Execution<Space> const& exec)
{
  return detail::pool<detail::MeanOfWindow<Scalar>>(x, options, exec);
}

/// The sum of each channel over the existing voxels in each output's window, in float (double for double).
/// Outputs, errors, cost, stream, determinism: as max_pool().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sum_pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                        PoolOptions<Dim> const& options,
                                                        Execution<Space> const& exec)
{
  return detail::pool<detail::SumOfWindow<Scalar>>(x, options, exec);
}

/// @name Gradients of pools for their input `x` `grad` [outputs, channels] in `Space` is on the outputs of
/// the pool with these options; the result has the rows of `x`.
///
/// Of sum_pool(), `g[i, c] = sum over the outputs o whose window holds i of grad[o, c]`; of average_pool()
/// each divided by the number of inputs of o; of max_pool() of those alone that have their value from i, the
/// first of equal ones.
/// @throws invalid_argument  another number of rows than outputs, and what the pool says
/// Cost: the map and its transpose the first time; one read of every pair.
/// Stream: enqueues on `exec`; waits only where kernel_map() does.
/// Determinism: same input, same bits; sums in float (double for double), offsets ascending.
/// @{
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> sum_pool_backward(MatrixView<Scalar const> const& grad,
                                                      SparseTensor<Dim, Scalar, Space> const& x,
                                                      PoolOptions<Dim> const& options,
                                                      Execution<Space> const& exec)
{
  return detail::pool_backward<detail::SumOfWindow<Scalar>>(grad, x, options, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> average_pool_backward(MatrixView<Scalar const> const& grad,
                                                          SparseTensor<Dim, Scalar, Space> const& x,
                                                          PoolOptions<Dim> const& options,
                                                          Execution<Space> const& exec)
{
  return detail::pool_backward<detail::MeanOfWindow<Scalar>>(grad, x, options, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> max_pool_backward(MatrixView<Scalar const> const& grad,
                                                      SparseTensor<Dim, Scalar, Space> const& x,
                                                      PoolOptions<Dim> const& options,
                                                      Execution<Space> const& exec)
{
  return detail::pool_backward<detail::LargestInWindow<Scalar>>(grad, x, options, exec);
}
/// @}

}  // namespace v0
}  // namespace tessera
