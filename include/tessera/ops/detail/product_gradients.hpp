// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution_backward.hpp>
#include <tessera/ops/gradients.hpp>
#include <tessera/ops/weight_source.hpp>

#include <cstdint>
#include <type_traits>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

// What the records of convolutions and linear layers share: gradients of weight and bias over a kernel map.

/// Whether a dataflow is one of the library's, whose weight gradients are all the same.
template <class Dataflow>
struct is_library_dataflow : std::false_type {};
template <bool Sort, int Splits, class Tile>
struct is_library_dataflow<ImplicitGemm<Sort, Splits, Tile>> : std::true_type {};
template <>
struct is_library_dataflow<GatherScatter> : std::true_type {};
template <>
struct is_library_dataflow<FetchOnDemand> : std::true_type {};

/// Throws if somebody watches a parameter that the weight of `source` was folded from: those of the list that
/// nn::fuse() makes are not trained.
template <class Scalar, class Space>
void expect_unfolded(ops::WeightSource<Scalar, Space> const* source, ops::Gradients<Space> const& gradients,
                     char const* operation)
{
  if (source == nullptr) { return; }
  std::vector<VariableId> origins;
  source->append_origins(origins);
  for (auto const id : origins) {
    expects(!gradients.wants(id), operation,
            ": its weight was folded by nn::fuse(); train the network that was fused");
  }
}

/// Adds the gradient of a weight [volume, x.columns, grad.columns], where it is a parameter that somebody
/// watches.
/// @tparam Policy  whose dataflow may have a weight gradient of its own
template <class Policy, class Scalar, class Space>
void add_weight_gradient(ops::Gradients<Space>& gradients, VariableId weight,
                         MatrixView<Scalar const> const& x, MatrixView<Scalar const> const& grad,
                         KernelMap<Space>& map, Execution<Space> const& exec)
{
  using Dataflow = typename Policy::dataflow;
  auto const size = std::int64_t{map.volume()} * x.columns * grad.columns;
  auto* const sums = gradients.template parameter<accumulator_t<Scalar>>(weight, size, exec);
  if (sums == nullptr) { return; }
  if constexpr (has_operation<Dataflow, Operation::backward_weight, Scalar, Space>::value &&
                !is_library_dataflow<Dataflow>::value) {
    convolution_backward_weight<Policy>(x, grad, map, sums, GradientMode::accumulate, exec);
  } else {
    gradients.template weight_gradient<Scalar>(weight)(x, grad, map, sums, GradientMode::accumulate, exec);
  }
}

/// Adds the gradient of a bias [out_channels], where somebody wants it.
template <class Scalar, class Space>
void add_bias_gradient(ops::Gradients<Space>& gradients, VariableId bias,
                       MatrixView<Scalar const> const& grad, KernelMap<Space> const& map,
                       Execution<Space> const& exec)
{
  auto* const sums = gradients.template parameter<accumulator_t<Scalar>>(bias, grad.columns, exec);
  if (sums != nullptr) { convolution_backward_bias(grad, map, sums, GradientMode::accumulate, exec); }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
