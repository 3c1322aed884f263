// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/combine_by_coordinate.hpp>
#include <tessera/ops/detail/select_rows.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// result[rows[i]] = i for the rows of the result that are in use. @pre  no two rows[i] are the same row
template <int Dim>
struct RowsInResult {
  CoordinateView<Dim> joined;
  std::int32_t const* rows;  // [capacity of `joined`] or -1
  std::int32_t* result;      // [rows of the tensor]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (i < joined.size() && rows[i] >= 0) { result[rows[i]] = static_cast<std::int32_t>(i); }
  }
};

/// result[r] = r.
struct SameRows {
  std::int32_t* result;

  TESSERA_HOST_DEVICE void operator()(std::int64_t r) const { result[r] = static_cast<std::int32_t>(r); }
};

/// The row of the result that holds each row of tensor `k`, or -1; `num_rows` of them.
template <int Dim, class Space>
[[nodiscard]] Buffer<std::int32_t, Space> rows_in_result(JoinedSets<Dim, Space> const& joined, std::size_t k,
                                                         std::int64_t num_rows, Execution<Space> const& exec)
{
  Buffer<std::int32_t, Space> result{num_rows, exec};
  auto const* const rows = joined.rows_of(k);
  if (rows == nullptr) {
    for_each(num_rows, SameRows{result.data()}, exec);
  } else {
    fill_bytes(result, 0xff, exec);
    for_each(joined.coordinates->capacity(),
             RowsInResult<Dim>{joined.coordinates->view(), rows, result.data()}, exec);
  }
  return result;
}

/// dx[r, c] = grad[i, c] times the other tensors' factors at voxel i, which r is of; 0 where a factor is
/// missing.
template <class Scalar>
struct GradientOfFactor {
  using Sum = accumulator_t<Scalar>;
  static constexpr std::size_t most = CombineRows<Scalar, ProductOfVoxels, 1>::most;

  Scalar const* grad;              // [voxels, channels]
  std::int32_t const* own;         // [rows] the voxel of each, or -1
  Scalar const* features[most];    // each [rows of the tensor, channels]
  std::int32_t const* rows[most];  // each [voxels], or null: row i is row i
  Scalar* dx;                      // [rows, channels]
  int count;
  int factor;  // that the gradient is for
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / channels;
    auto const c = n - row * channels;
    auto const voxel = std::int64_t{own[row]};
    Sum product{0};
    if (voxel >= 0) {
      product = static_cast<Sum>(grad[voxel * channels + c]);
      bool is_complete = true;
      for (int k = 0; k < count; ++k) {
        if (k == factor) { continue; }
        auto const from = rows[k] != nullptr ? std::int64_t{rows[k][voxel]} : voxel;
        is_complete = is_complete && from >= 0;
        if (from >= 0) { product *= static_cast<Sum>(features[k][from * channels + c]); }
      }
      product = is_complete ? product : Sum{0};
    }
    dx[n] = static_cast<Scalar>(product);
  }
};

/// The gradient for tensor `k`, whose rows must be those of `tensors[k]`; features are read of the factors of
/// a product alone.
template <class Rule, int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> combine_gradient(MatrixView<Scalar const> const& grad,
                                                     JoinedSets<Dim, Space> const& joined,
                                                     SparseTensor<Dim, Scalar, Space> const* const* tensors,
                                                     std::size_t count, std::size_t k,
                                                     Execution<Space> const& exec)
{
  auto const own = rows_in_result(joined, k, tensors[k]->capacity(), exec);
  if constexpr (!Rule::needs_all) {
    return gather_rows<Scalar>(grad, own, exec);
  } else {
    Matrix<Scalar, Space> dx{own.size(), grad.columns, exec};
    GradientOfFactor<Scalar> body{};
    body.grad = grad.data;
    body.own = own.data();
    for (std::size_t other = 0; other < count; ++other) {
      body.features[other] = tensors[other]->features().data;
      body.rows[other] = joined.rows_of(other);
    }
    body.dx = dx.data();
    body.count = static_cast<int>(count);
    body.factor = static_cast<int>(k);
    body.channels = grad.columns;
    for_each(dx.size(), body, exec);
    return dx;
  }
}

/// dx[r, c] = grad[i, offset + c] of the voxel i that row r is of, 0 where there is none.
template <class Scalar>
struct GatherColumns {
  Scalar const* grad;       // [voxels, columns]
  std::int32_t const* own;  // [rows]
  Scalar* dx;               // [rows, channels]
  std::int64_t columns;
  std::int64_t offset;
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / channels;
    auto const c = n - row * channels;
    dx[n] = own[row] >= 0 ? grad[own[row] * columns + offset + c] : Scalar(0.0F);
  }
};

/// @param offset  of the tensor's `channels` among those of the result
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> cat_gradient(MatrixView<Scalar const> const& grad,
                                                 JoinedSets<Dim, Space> const& joined, std::size_t k,
                                                 std::int64_t num_rows, std::int64_t offset,
                                                 std::int64_t channels, Execution<Space> const& exec)
{
  auto const own = rows_in_result(joined, k, num_rows, exec);
  Matrix<Scalar, Space> dx{num_rows, channels, exec};
  for_each(dx.size(), GatherColumns<Scalar>{grad.data, own.data(), dx.data(), grad.columns, offset, channels},
           exec);
  return dx;
}

/// The sets that `tensors` are joined on, of which number `k` exists and `grad` has the rows.
template <int Dim, class Scalar, class Space>
[[nodiscard]] JoinedSets<Dim, Space> join_for_backward(
    MatrixView<Scalar const> const& grad, std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors,
    std::size_t k, std::int64_t columns, Join join, char const* who, Execution<Space> const& exec)
{
  expects(k < tensors.size(), who, ": tensor number ", k, " of ", tensors.size());
  auto joined = join_tensors(tensors.data(), tensors.size(), join, who, exec);
  expects(grad.rows == joined.coordinates->capacity() && grad.columns == columns, who, ": a gradient of ",
          grad.rows, " x ", grad.columns, " for ", joined.coordinates->capacity(), " voxels of ", columns,
          " channels");
  return joined;
}

template <class Rule, int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> combine_backward(
    MatrixView<Scalar const> const& grad, std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors,
    std::size_t k, Join join, Execution<Space> const& exec)
{
  std::vector<SparseTensor<Dim, Scalar, Space> const*> each;
  auto const columns = k < tensors.size() ? tensors[k].channels() : 0;
  constexpr auto most = GradientOfFactor<Scalar>::most;
  expects(tensors.size() <= most, Rule::backward_name, ": ", tensors.size(), " tensors; at most ", most,
          " at once");
  for (auto const& tensor : tensors) {
    each.push_back(&tensor);
    expects(tensor.channels() == columns, Rule::backward_name, ": ", columns, " and ", tensor.channels(),
            " channels; all must have as many");
  }
  auto const joined = join_for_backward(grad, tensors, k, columns, join, Rule::backward_name, exec);
  return combine_gradient<Rule, Dim, Scalar>(grad, joined, each.data(), each.size(), k, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> cat_backward(MatrixView<Scalar const> const& grad,
                                                 std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors,
                                                 std::size_t k, Join join, Execution<Space> const& exec)
{
  std::int64_t offset = 0;
  std::int64_t columns = 0;
  for (std::size_t j = 0; j < tensors.size(); ++j) {
    offset += j < k ? tensors[j].channels() : 0;
    columns += tensors[j].channels();
  }
  auto const joined = join_for_backward(grad, tensors, k, columns, join, "cat_by_coordinate_backward", exec);
  return cat_gradient<Dim, Scalar>(grad, joined, k, tensors[k].capacity(), offset, tensors[k].channels(),
                                   exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
