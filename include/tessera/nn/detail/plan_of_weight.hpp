// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The plan of a layer's convolutions, by which its weight is packed: of one split, without an epilogue.
/// @param is_identity  whether rows pair with themselves alone, as in a linear layer
template <class Scalar, class Space>
[[nodiscard]] KernelPlan plan_of_weight(Scalar const* weight, int in_channels, int out_channels, int volume,
                                        bool is_identity, ConvConfig const& config,
                                        Execution<Space> const& exec)
{
  auto arguments = make_arguments<Scalar>(weight, nullptr, out_channels, config.math);
  arguments.kernel = config.kernel;
  arguments.in_channels = in_channels;
  return ConvolutionBackend<Space>::plan(arguments, {0, volume, is_identity}, 1, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
