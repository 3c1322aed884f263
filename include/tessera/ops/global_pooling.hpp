// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/kmap/rules/rules.hpp>
#include <tessera/ops/detail/global_pool_gradients.hpp>
#include <tessera/ops/record.hpp>

#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// pooled[b, c] = value / count of an average, value of a maximum; 0 for an entry without rows.
template <class Scalar>
struct FinishPooling {
  using Sum = accumulator_t<Scalar>;

  Sum const* values;           // [batches, channels]
  std::int32_t const* counts;  // [batches]
  Scalar* pooled;              // [batches, channels]
  std::int64_t channels;
  bool average;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const count = counts[n / channels];
    auto const value = average ? values[n] / static_cast<Sum>(count) : values[n];
    pooled[n] = static_cast<Scalar>(count > 0 ? value : Sum{0});
  }
};

template <int Dim, class Scalar, class Space, class Term>
[[nodiscard]] Matrix<Scalar, Space> global_pool(SparseTensor<Dim, Scalar, Space> const& x, Term const& term,
                                                int channels, bool average, Execution<Space> const& exec)
{
  expect_coordinates(x, average ? "global_average_pool" : "global_max_pool");
  auto& set = *x.coordinates();
  auto const counts = rows_of_entries(set, average ? "global_average_pool: " : "global_max_pool: ", exec);
  Matrix<Scalar, Space> pooled{set.num_batches(), channels, exec};
  auto const values = reduce_rows(term, set.data(), set.row_count(), set.num_batches(), channels, exec);
  for_each(pooled.size(),
           FinishPooling<Scalar>{values.data(), counts->data(), pooled.data(), channels, average}, exec);
  return pooled;
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> global_average_unrecorded(SparseTensor<Dim, Scalar, Space> const& x,
                                                              Compatibility compat,
                                                              Execution<Space> const& exec)
{
  auto const channels =
      rules::visit(compat, [&](auto rules) { return rules.averaged_channels(x.channels()); });
  return global_pool(x, SumOfRows<Scalar>{x.features().data, x.channels()}, channels, true, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> global_max_unrecorded(SparseTensor<Dim, Scalar, Space> const& x,
                                                          Execution<Space> const& exec)
{
  return global_pool(x, LargestOfRows<Scalar>{x.features().data, x.channels()}, x.channels(), false, exec);
}

}  // namespace detail

namespace ops {

/// The mean over the voxels of each batch entry.
template <int Dim, class Scalar, class Space>
struct GlobalAveragePoolRecord final
    : FunctionRecord<GlobalAveragePoolRecord<Dim, Scalar, Space>, Space, Matrix<Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using GlobalAveragePoolRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "global_average_pool"; }
  [[nodiscard]] Matrix<Scalar, Space> compute(Tensor const& x, Execution<Space> const& exec) const
  {
    return detail::global_average_unrecorded(x, compat, exec);
  }

  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(x.id(), detail::global_average_gradient(grad, *x.value(), channels, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->output().give_back();
  }

  [[nodiscard]] Matrix<Scalar, Space> compute_again(Tensor const& x, Execution<Space> const& exec)
  {
    channels = x.channels();
    return compute(x, exec);
  }

  Compatibility compat = Compatibility::none;
  int channels = 0;  // of the recorded input
};

/// The largest value over the voxels of each batch entry.
template <int Dim, class Scalar, class Space>
struct GlobalMaxPoolRecord final : FunctionRecord<GlobalMaxPoolRecord<Dim, Scalar, Space>, Space,
                                                  Matrix<Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using GlobalMaxPoolRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "global_max_pool"; }
  [[nodiscard]] Matrix<Scalar, Space> compute(Tensor const& x, Execution<Space> const& exec) const
  {
    return detail::global_max_unrecorded(x, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(x.id(), detail::global_max_gradient(grad, *x.value(), exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_back(); }
};

}  // namespace ops

/// The mean of every channel over each batch entry's voxels: [num_batches, channels] in `Space`. An entry
/// without voxels gives 0.
///
/// Entries are those of CoordinateSet::num_batches(): of the spatial range or the clouds quantized, else up
/// to the highest that has a voxel.
/// Cost: one pass over the features.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run; they depend on the order of the rows.
/// @throws invalid_argument  more than 131,072 entries and four for each row of the tensor: a far batch entry
///                           would cost memory for all before it
/// @param compat  compat::spconv gives the mean of channel 0 alone, [num_batches, 1]
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> global_average_pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                        Compatibility compat, Execution<Space> const& exec)
{
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::global_average_unrecorded(x, compat, inside); },
      [&](auto const& y) {
        using Record = ops::GlobalAveragePoolRecord<Dim, Scalar, Space>;
        auto record = std::make_shared<Record>(ops::Recorded<Matrix<Scalar, Space>>{y},
                                               ops::Recorded<SparseTensor<Dim, Scalar, Space>>{x});
        record->compat = compat;
        record->channels = x.channels();
        return record;
      });
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> global_average_pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                        Execution<Space> const& exec)
{
  return global_average_pool(x, Compatibility::none, exec);
}

/// The largest value of every channel over each batch entry's voxels: [num_batches, channels] in `Space`, NaN
/// where there is one. An entry without voxels gives 0.
/// Cost, stream: as global_average_pool().
/// Determinism: the same bits for every order of the rows too.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> global_max_pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                    Execution<Space> const& exec)
{
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::global_max_unrecorded(x, inside); },
      [&](auto const& y) {
        using Record = ops::GlobalMaxPoolRecord<Dim, Scalar, Space>;
        return std::make_shared<Record>(ops::Recorded<Matrix<Scalar, Space>>{y},
                                        ops::Recorded<SparseTensor<Dim, Scalar, Space>>{x});
      });
}

/// The gradient of global_average_pool() for `x`: `g[i, c] = grad[b, c] / (rows of b)`, b the batch entry of
/// row i; 0 in rows that are not in use, and in channels that `grad` does not have (those that compat::spconv
/// leaves out).
/// @param grad  [num_batches, channels] in `Space`
/// @throws invalid_argument  a gradient of another shape; the tensor has no coordinates
/// Cost: one pass.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> global_average_pool_backward(MatrixView<Scalar const> const& grad,
                                                                 SparseTensor<Dim, Scalar, Space> const& x,
                                                                 Execution<Space> const& exec)
{
  return detail::global_average_gradient(grad, x, x.channels(), exec);
}

/// The gradient of global_max_pool() for `x`: `g[i, c] = grad[b, c]` in the row of entry b that has the
/// largest value of channel c, the first of equal ones, the first NaN; else 0.
/// @param grad  [num_batches, channels] in `Space`
/// @throws invalid_argument  a gradient of another shape; the tensor has no coordinates
/// Cost: one pass over the features, and one over the gradient.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> global_max_pool_backward(MatrixView<Scalar const> const& grad,
                                                             SparseTensor<Dim, Scalar, Space> const& x,
                                                             Execution<Space> const& exec)
{
  return detail::global_max_gradient(grad, x, exec);
}

}  // namespace v0
}  // namespace tessera
