// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/combine_gradients.hpp>
#include <tessera/ops/record.hpp>

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

/// The sum (detail::SumOfVoxels) or product (detail::ProductOfVoxels) of tensors by coordinate.
template <class Rule, int Dim, class Scalar, class Space>
struct CombineByCoordinateRecord final
    : FunctionRecord<CombineByCoordinateRecord<Rule, Dim, Scalar, Space>, Space,
                     SparseTensor<Dim, Scalar, Space>, std::vector<SparseTensor<Dim, Scalar, Space>>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  CombineByCoordinateRecord(Tensor const& y, Tensor const* first, std::size_t count, Join by)
      : CombineByCoordinateRecord::FunctionRecord{Recorded<Tensor>{y},
                                                  Recorded<std::vector<Tensor>>{first, count}},
        join{by}
  {}

  [[nodiscard]] char const* name() const noexcept override { return Rule::name; }
  [[nodiscard]] Tensor compute(std::vector<Tensor> const& x, Execution<Space> const& exec) const
  {
    detail::SharedJoin<Dim, Space> unused;
    return detail::combine_by_coordinate_unrecorded<Rule>(x.data(), x.size(), join, unused, exec);
  }
  [[nodiscard]] Tensor compute_again(std::vector<Tensor> const& x, Execution<Space> const& exec)
  {
    return detail::combine_by_coordinate_unrecorded<Rule>(x.data(), x.size(), join, joined, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& inputs = this->input();
    std::vector<Tensor const*> tensors;
    for (std::size_t k = 0; k < inputs.size(); ++k) { tensors.push_back(inputs[k].value()); }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      if (!gradients.wants(inputs[k].id())) { continue; }
      gradients.add(
          inputs[k].id(),
          detail::combine_gradient<Rule, Dim, Scalar>(grad, *joined, tensors.data(), inputs.size(), k, exec),
          exec);
    }
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    if (!Rule::needs_all) { this->input().give_features_back(); }
    this->output().give_back();
  }
  void drop_kept() { joined = nullptr; }

  Join join;
  detail::SharedJoin<Dim, Space> joined;  // of the recorded tensors
};

/// Tensors side by side, by coordinate.
template <int Dim, class Scalar, class Space>
struct CatByCoordinateRecord final
    : FunctionRecord<CatByCoordinateRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     std::vector<SparseTensor<Dim, Scalar, Space>>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  CatByCoordinateRecord(Tensor const& y, Tensor const* first, std::size_t count, Join by)
      : CatByCoordinateRecord::FunctionRecord{Recorded<Tensor>{y},
                                              Recorded<std::vector<Tensor>>{first, count}},
        join{by}
  {
    keep_channels(first, count);
  }

  [[nodiscard]] char const* name() const noexcept override { return "cat_by_coordinate"; }
  [[nodiscard]] Tensor compute(std::vector<Tensor> const& x, Execution<Space> const& exec) const
  {
    detail::SharedJoin<Dim, Space> unused;
    return detail::cat_by_coordinate_unrecorded(x.data(), x.size(), join, unused, exec);
  }
  [[nodiscard]] Tensor compute_again(std::vector<Tensor> const& x, Execution<Space> const& exec)
  {
    keep_channels(x.data(), x.size());
    return detail::cat_by_coordinate_unrecorded(x.data(), x.size(), join, joined, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& inputs = this->input();
    auto const grad = gradients.template of<Scalar>(this->output().id());
    std::int64_t offset = 0;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      if (gradients.wants(inputs[k].id())) {
        gradients.add(inputs[k].id(),
                      detail::cat_gradient<Dim, Scalar>(grad, *joined, k, inputs[k].value()->capacity(),
                                                        offset, channels[k], exec),
                      exec);
      }
      offset += channels[k];
    }
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->output().give_back();
  }
  void drop_kept() { joined = nullptr; }

  Join join;
  detail::SharedJoin<Dim, Space> joined;  // of the recorded tensors

 private:
  void keep_channels(Tensor const* first, std::size_t count)
  {
    channels.clear();
    for (auto const* x = first; x != first + count; ++x) { channels.push_back(x->channels()); }
  }

  std::vector<std::int64_t> channels;  // of the recorded tensors; NOLINT(readability-identifier-naming)
};

}  // namespace ops

namespace detail {

template <class Rule, int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> combine_by_coordinate(
    SparseTensor<Dim, Scalar, Space> const* tensors, std::size_t count, Join join,
    Execution<Space> const& exec)
{
  SharedJoin<Dim, Space> joined;
  return run_recorded(
      exec,
      [&](auto const& inside) {
        return combine_by_coordinate_unrecorded<Rule>(tensors, count, join, joined, inside);
      },
      [&](auto const& y) {
        using Record = ops::CombineByCoordinateRecord<Rule, Dim, Scalar, Space>;
        auto record = std::make_shared<Record>(y, tensors, count, join);
        record->joined = joined;
        return record;
      });
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat_by_coordinate(
    SparseTensor<Dim, Scalar, Space> const* tensors, std::size_t count, Join join,
    Execution<Space> const& exec)
{
  SharedJoin<Dim, Space> joined;
  return run_recorded(
      exec,
      [&](auto const& inside) { return cat_by_coordinate_unrecorded(tensors, count, join, joined, inside); },
      [&](auto const& y) {
        auto record =
            std::make_shared<ops::CatByCoordinateRecord<Dim, Scalar, Space>>(y, tensors, count, join);
        record->joined = joined;
        return record;
      });
}

}  // namespace detail

/// The sum of tensors whose voxels are matched by coordinate, whatever sets they are on:
/// `y[v, c] = sum over the tensors that have voxel v of x_k[v, c]`, in their order, rounded once.
///
/// add() is for tensors on one set, whose rows are known to agree. This is for tensors that were made from
/// different clouds, or reached the same voxels in different ways: `add_by_coordinate({a, b}, Join::outer,
/// exec)`. A transposed convolution leads back from the first tensor's set alone, so that a decoder wants
/// Join::left.
///
/// | name    | shape                  | memory | holds                                               |
/// |---------|------------------------|--------|-----------------------------------------------------|
/// | tensors | each [rows_k, C]       | Space  | 1 to 16, of one tensor stride                       |
/// | join    |                        |        | which voxels the result has; see Join               |
/// | returns | [voxels of `join`, C]  | Space  | on a new set; on the tensors' where all share one   |
///
/// @throws invalid_argument  no tensors or more than 16, other channels, other tensor strides, and what
/// unite_coordinates() says
/// Cost: for each further set, one sort of the rows of both (Join::left: one table, and a lookup for each row),
/// the first time if they belong to one input; then one pass over the features.
/// Stream: enqueues on `exec`; waits once for each further set, for the number of voxels; under a fixed
/// capacity (a Plan) and with Join::left never.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> add_by_coordinate(
    std::initializer_list<SparseTensor<Dim, Scalar, Space>> tensors, Join join, Execution<Space> const& exec)
{
  return detail::combine_by_coordinate<detail::SumOfVoxels>(tensors.begin(), tensors.size(), join, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> add_by_coordinate(
    std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors, Join join, Execution<Space> const& exec)
{
  return detail::combine_by_coordinate<detail::SumOfVoxels>(tensors.data(), tensors.size(), join, exec);
}

/// The elementwise product of tensors whose voxels are matched by coordinate:
/// `y[v, c] = product over all tensors of x_k[v, c]`, in their order, rounded once; 0 where a tensor does not
/// have voxel v (with Join::inner there is no such voxel).
/// Arguments, errors, cost, stream, determinism: as add_by_coordinate().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> multiply_by_coordinate(
    std::initializer_list<SparseTensor<Dim, Scalar, Space>> tensors, Join join, Execution<Space> const& exec)
{
  return detail::combine_by_coordinate<detail::ProductOfVoxels>(tensors.begin(), tensors.size(), join, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> multiply_by_coordinate(
    std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors, Join join, Execution<Space> const& exec)
{
  return detail::combine_by_coordinate<detail::ProductOfVoxels>(tensors.data(), tensors.size(), join, exec);
}

/// Tensors side by side, the first one's channels first, voxels matched by coordinate:
/// `y[v, offset_k + c] = x_k[v, c]`, 0 where tensor k does not have voxel v; `offset_k` is the number of
/// channels before those of tensor k.
///
/// The tensors may have different channels, and there may be any number of them. Other arguments, errors,
/// cost, stream, determinism: as add_by_coordinate().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat_by_coordinate(
    std::initializer_list<SparseTensor<Dim, Scalar, Space>> tensors, Join join, Execution<Space> const& exec)
{
  return detail::cat_by_coordinate(tensors.begin(), tensors.size(), join, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat_by_coordinate(
    std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors, Join join, Execution<Space> const& exec)
{
  return detail::cat_by_coordinate(tensors.data(), tensors.size(), join, exec);
}

/// @name Gradients of combinations by coordinate, for tensor number `k` `grad` [voxels of `join`, columns] in
/// `Space` is the gradient of the result. With i the voxel of the result that row r of tensor k is of, `g[r,
/// c]` is
///
/// - of add_by_coordinate(): `grad[i, c]`;
/// - of multiply_by_coordinate(): `grad[i, c] * product over the other tensors of x_j[i, c]`, 0 where one
///   does not have the voxel;
/// - of cat_by_coordinate(): `grad[i, offset_k + c]`;
///
/// and 0 where the result does not have the voxel.
/// @throws invalid_argument  no tensor `k`, other rows or columns than the result's, and what the combination
///                           says
/// Cost: joining the sets again where they do not belong to one input; one pass.
/// Stream: as the combination.
/// Determinism: same input, same bits.
/// @{
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> add_by_coordinate_backward(
    MatrixView<Scalar const> const& grad, std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors,
    std::size_t k, Join join, Execution<Space> const& exec)
{
  return detail::combine_backward<detail::SumOfVoxels>(grad, tensors, k, join, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> multiply_by_coordinate_backward(
    MatrixView<Scalar const> const& grad, std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors,
    std::size_t k, Join join, Execution<Space> const& exec)
{
  return detail::combine_backward<detail::ProductOfVoxels>(grad, tensors, k, join, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> cat_by_coordinate_backward(
    MatrixView<Scalar const> const& grad, std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors,
    std::size_t k, Join join, Execution<Space> const& exec)
{
  return detail::cat_backward(grad, tensors, k, join, exec);
}
/// @}

}  // namespace v0
}  // namespace tessera
