// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/dense.hpp>
#include <tessera/ops/record.hpp>

#include <memory>

namespace tessera {
inline namespace v0 {
namespace ops {

/// `y = dense(x)`.
template <int Dim, class Scalar, class Space>
struct DenseRecord final : FunctionRecord<DenseRecord<Dim, Scalar, Space>, Space,
                                          DenseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using DenseRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "dense"; }
  [[nodiscard]] DenseTensor<Dim, Scalar, Space> compute(SparseTensor<Dim, Scalar, Space> const& x,
                                                        Execution<Space> const& exec) const
  {
    return detail::dense_unrecorded(x, options, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(x.id(), detail::dense_gradient(grad, *x.value(), options, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->output().give_back();
  }

  DenseOptions<Dim> options;
};

/// `y = sparse(x)`.
template <int Dim, class Scalar, class Space>
struct SparseRecord final
    : FunctionRecord<SparseRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     DenseTensor<Dim, Scalar, Space>> {
  using SparseRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "sparse"; }
  [[nodiscard]] SparseTensor<Dim, Scalar, Space> compute(DenseTensor<Dim, Scalar, Space> const& x,
                                                         Execution<Space> const& exec) const
  {
    return detail::sparse_unrecorded(x, tensor_stride, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const& y = this->output();
    gradients.add(x.id(),
                  detail::scatter_cells(gradients.template of<Scalar>(y.id()), *y.value()->coordinates(),
                                        x.value()->indexing(), "sparse_backward", exec),
                  exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_features_back(); }

  IntArray<Dim> tensor_stride = IntArray<Dim>(1);
};

/// `y = gather_from_dense(x, from)`; of `x` the voxels count alone.
template <int Dim, class Scalar, class Space>
struct GatherFromDenseRecord final
    : FunctionRecord<GatherFromDenseRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, DenseTensor<Dim, Scalar, Space>> {
  using GatherFromDenseRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "gather_from_dense"; }
  [[nodiscard]] SparseTensor<Dim, Scalar, Space> compute(SparseTensor<Dim, Scalar, Space> const& x,
                                                         DenseTensor<Dim, Scalar, Space> const& from,
                                                         Execution<Space> const& exec) const
  {
    return detail::gather_from_dense_unrecorded(x, from, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& from = this->template input<1>();
    if (!gradients.wants(from.id())) { return; }
    gradients.add(from.id(),
                  detail::scatter_cells(gradients.template of<Scalar>(this->output().id()),
                                        *this->input().value()->coordinates(), from.value()->indexing(),
                                        "gather_from_dense_backward", exec),
                  exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->output().give_back();
  }
};

}  // namespace ops

/// `dense[b, x, y, ..., c] = features[row of (b, x, y, ...), c]`, zero where there is no voxel.
///
/// @throws invalid_argument  neither the tensor nor the options have a range; a voxel lies outside it; the
///                           elements are too many for 63 bits
/// Cost: a fill of all elements and one pass over the features.
/// Stream: enqueues a fill and a kernel; waits only where the range asked for is smaller than the tensor's
/// bounds. A row that breaks the tensor's own range is left out and reported where the host next waits.
/// Determinism: same input, same bits.
/// Source: TorchSparse's to_dense, which does not check.
template <int Dim, class Scalar, class Space>
[[nodiscard]] DenseTensor<Dim, Scalar, Space> dense(SparseTensor<Dim, Scalar, Space> const& x,
                                                    DenseOptions<Dim> const& options,
                                                    Execution<Space> const& exec)
{
  using Record = ops::DenseRecord<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::dense_unrecorded(x, options, inside); },
      [&](auto const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<DenseTensor<Dim, Scalar, Space>>{y},
                                               ops::Recorded<SparseTensor<Dim, Scalar, Space>>{x});
        record->options = options;
        return record;
      });
}

/// The same on the tensor's own spatial range, channels last.
template <int Dim, class Scalar, class Space>
[[nodiscard]] DenseTensor<Dim, Scalar, Space> dense(SparseTensor<Dim, Scalar, Space> const& x,
                                                    Execution<Space> const& exec)
{
  return dense(x, DenseOptions<Dim>{}, exec);
}

/// The cells of which a channel is not zero, as voxels in lexicographic order (batch, x, y, ...); undoes
/// dense() but for voxels whose channels are all zero. NaN is not zero. The result has the grid as its range.
///
/// @throws invalid_argument  2^31 voxels or more, tensor stride below 1
/// Cost: 8 bytes and two passes per cell.
/// Stream: enqueues on `exec`; waits once, for the number of voxels.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sparse(DenseTensor<Dim, Scalar, Space> const& x,
                                                      IntArray<Dim> const& tensor_stride,
                                                      Execution<Space> const& exec)
{
  using Record = ops::SparseRecord<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::sparse_unrecorded(x, tensor_stride, inside); },
      [&](auto const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<SparseTensor<Dim, Scalar, Space>>{y},
                                               ops::Recorded<DenseTensor<Dim, Scalar, Space>>{x});
        record->tensor_stride = tensor_stride;
        return record;
      });
}

/// The same at tensor stride 1.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sparse(DenseTensor<Dim, Scalar, Space> const& x,
                                                      Execution<Space> const& exec)
{
  return sparse(x, IntArray<Dim>(1), exec);
}

/// What a dense tensor holds at the voxels of `x`: `features[row, c] = dense[coordinate of row, c]`, on x's
/// coordinates.
///
/// @throws invalid_argument  a voxel lies outside the dense tensor
/// Cost: one pass over the features.
/// Stream: as dense(), but for the fill.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> gather_from_dense(SparseTensor<Dim, Scalar, Space> const& x,
                                                                 DenseTensor<Dim, Scalar, Space> const& from,
                                                                 Execution<Space> const& exec)
{
  using Record = ops::GatherFromDenseRecord<Dim, Scalar, Space>;
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::gather_from_dense_unrecorded(x, from, inside); },
      [&](Tensor const& y) {
        return std::make_shared<Record>(ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{x},
                                        ops::Recorded<DenseTensor<Dim, Scalar, Space>>{from});
      });
}

/// The gradient of dense() with these options for `x`: `g[row, c] = grad[coordinate of row, c]`, 0 in rows
/// that are not in use.
/// @param grad  [1, size] in `Space`: the dense tensor's gradient in the order of its layout
/// @throws invalid_argument  a gradient of another size; neither the tensor nor the options have a range
/// Cost: one pass over the features.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> dense_backward(MatrixView<Scalar const> const& grad,
                                                   SparseTensor<Dim, Scalar, Space> const& x,
                                                   DenseOptions<Dim> const& options,
                                                   Execution<Space> const& exec)
{
  return detail::dense_gradient(grad, x, options, exec);
}

/// The gradient of sparse() and of gather_from_dense() for the dense tensor: `g[coordinate of row, c] =
/// grad[row, c]`, 0 in cells that no row is of; [1, size] in the order of the layout. Cells that sparse()
/// left out have none, since they are no voxels.
/// @param grad    [rows, channels] in `Space`, on the voxels of `y`
/// @param y       what the operation returned
/// @param layout  of the dense tensor
/// @throws invalid_argument  a gradient of another shape; a range below 1 on an axis
/// Cost: a fill, and one pass over the gradient.
/// Stream: enqueues both, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> gather_from_dense_backward(MatrixView<Scalar const> const& grad,
                                                               SparseTensor<Dim, Scalar, Space> const& y,
                                                               SpatialRange<Dim> const& range,
                                                               DenseLayout layout,
                                                               Execution<Space> const& exec)
{
  detail::expect_coordinates(y, "gather_from_dense_backward");
  return detail::scatter_cells(grad, *y.coordinates(), {range, grad.columns, layout},
                               "gather_from_dense_backward", exec);
}

}  // namespace v0
}  // namespace tessera
