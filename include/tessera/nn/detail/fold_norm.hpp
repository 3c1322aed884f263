// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/folded_weights.hpp>
#include <tessera/nn/detail/norm_as_affine.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/linear.hpp>
#include <tessera/ops/normalization.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Writes `weight * scale` and `bias * scale + shift`, as `norm` says; false where the scalar does not hold
/// them.
/// Stream: enqueues three kernels, and waits for the second.
template <class Scalar, class Space>
[[nodiscard]] bool write_folded(Scalar const* weight, Scalar const* bias,
                                BatchNormOptions<accumulator_t<Scalar>> const& norm,
                                nn::Parameter<Scalar, Space>& to_weight,
                                nn::Parameter<Scalar, Space>& to_bias, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  Buffer<Sum, Space> scale{norm.channels, exec};
  Buffer<Sum, Space> shift{norm.channels, exec};
  for_each(norm.channels,
           NormAsAffine<Sum>{norm.mean.data(), norm.variance.data(), norm.weight.data(), norm.bias.data(),
                             static_cast<Sum>(norm.eps), scale.data(), shift.data()},
           exec);
  ScaledChannels<Scalar> const scaled{weight, bias, scale.data(), shift.data(), norm.channels};
  auto const size = to_weight.size();
  if (!holds_scaled(scaled, size, exec)) { return false; }
  for_each(size + to_bias.size(), WriteScaled<Scalar>{scaled, size, to_weight.write(), to_bias.write()},
           exec);
  return true;
}

/// The weight and bias of `record` with `norm` behind it, [volume, in, out] and [out]; null where the scalar
/// does not hold them.
/// Stream: enqueues a few kernels, and waits once.
template <class Record, class Scalar, class Space>
[[nodiscard]] std::shared_ptr<FoldedWeights<Scalar, Space>> fold_norm(
    Record const& record, ParameterRef<Scalar> const& weight, int volume, bool is_identity,
    bool is_transposed, BatchNormOptions<accumulator_t<Scalar>> const& norm, Execution<Space> const& exec)
{
  using Folded = FoldedWeights<Scalar, Space>;
  using Computed = ComputedWeights<Scalar, Space>;
  std::vector<SeenParameter> from;
  std::shared_ptr<Computed> before;  // what weight and bias are computed from themselves
  if (auto const folded = std::dynamic_pointer_cast<Folded const>(record.source)) {
    before = folded->computed();
    from = before->from();
  } else {
    from = {SeenParameter{weight}, SeenParameter{record.bias}};
  }
  from.emplace_back(norm.mean);
  from.emplace_back(norm.variance);
  from.emplace_back(norm.weight);
  from.emplace_back(norm.bias);
  auto const in = record.in_channels;
  auto const out = record.options.out_channels;
  auto const compute = [=, bias = record.bias](auto& to_weight, auto& to_bias, Execution<Space> const& on) {
    if (before != nullptr && !before->update(on)) { return false; }
    Buffer<Scalar, Space> matrix;
    if (is_transposed) { matrix = transposed_weight(weight.data(), in, out, on); }
    return write_folded(is_transposed ? std::as_const(matrix).data() : weight.data(), bias.data(), norm,
                        to_weight, to_bias, on);
  };
  auto computed =
      std::make_shared<Computed>(std::vector<std::int64_t>{volume, in, out}, std::move(from), compute, exec);
  if (!computed->compute(exec)) { return nullptr; }
  return std::make_shared<Folded>(std::move(computed), volume, in, is_identity);
}

/// Those of a convolution.
template <int Dim, class Scalar, class Space>
[[nodiscard]] auto fold_norm(ops::ConvolutionRecord<Dim, Scalar, Space> const& record,
                             BatchNormOptions<accumulator_t<Scalar>> const& norm,
                             Execution<Space> const& exec)
{
  return fold_norm(record, record.weight, record.options.geometry.volume(), false, false, norm, exec);
}

/// Those of a linear layer, whose weight becomes [in, out] where it is not.
template <class Value, class Scalar, class Space>
[[nodiscard]] auto fold_norm(ops::LinearRecord<Value, Scalar, Space> const& record,
                             BatchNormOptions<accumulator_t<Scalar>> const& norm,
                             Execution<Space> const& exec)
{
  return fold_norm(record, record.weight, 1, true, record.options.is_transposed, norm, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
