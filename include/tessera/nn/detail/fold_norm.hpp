// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/folded_weights.hpp>
#include <tessera/nn/detail/norm_as_affine.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/linear.hpp>
#include <tessera/ops/normalization.hpp>

#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The weight and bias `weight * scale`, `bias * scale + shift` of `folded`'s size; null where the scalar does not
/// hold them.
template <class Scalar, class Space>
[[nodiscard]] std::shared_ptr<FoldedWeights<Scalar, Space>> fold_norm(
    std::shared_ptr<FoldedWeights<Scalar, Space>> folded, Scalar const* weight, Scalar const* bias,
    ops::BatchNormOptions<accumulator_t<Scalar>> const& norm, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  Buffer<Sum, Space> scale{norm.channels, exec};
  Buffer<Sum, Space> shift{norm.channels, exec};
  for_each(norm.channels,
           NormAsAffine<Sum>{norm.mean.data, norm.variance.data, norm.weight.data, norm.bias.data,
                             static_cast<Sum>(norm.eps), scale.data(), shift.data()},
           exec);
  ScaledChannels<Scalar> const scaled{weight, bias, scale.data(), shift.data(), norm.channels};
  if (!holds_scaled(scaled, folded->weight().size(), exec)) { return nullptr; }
  folded->write(scaled, exec);
  return folded;
}

/// Those of a convolution with `norm` behind it.
/// Stream: enqueues a few kernels, and waits once.
template <int Dim, class Scalar, class Space>
[[nodiscard]] auto fold_norm(ops::ConvolutionRecord<Dim, Scalar, Space> const& record,
                             ops::BatchNormOptions<accumulator_t<Scalar>> const& norm,
                             Execution<Space> const& exec)
{
  auto folded = std::make_shared<FoldedWeights<Scalar, Space>>(
      record.options.geometry.volume(), record.in_channels, record.options.out_channels, false, exec);
  return fold_norm(std::move(folded), record.weight.data, record.bias.data, norm, exec);
}

/// Those of a linear layer, whose weight becomes [in, out] where it is not.
template <class Value, class Scalar, class Space>
[[nodiscard]] auto fold_norm(ops::LinearRecord<Value, Scalar, Space> const& record,
                             ops::BatchNormOptions<accumulator_t<Scalar>> const& norm,
                             Execution<Space> const& exec)
{
  auto const out = record.options.out_channels;
  auto folded = std::make_shared<FoldedWeights<Scalar, Space>>(1, record.in_channels, out, true, exec);
  Buffer<Scalar, Space> matrix;
  if (record.options.is_transposed) {
    matrix = transposed_weight(record.weight.data, record.in_channels, out, exec);
  }
  auto const* const weight = record.options.is_transposed ? matrix.data() : record.weight.data;
  return fold_norm(std::move(folded), weight, record.bias.data, norm, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
