// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/detail/registered_layers.hpp>
#include <tessera/nn/registry.hpp>

#include <memory>
#include <string>

namespace tessera {
inline namespace v0 {
namespace nn {

/// The registry of the process for one dimension, scalar and space. It begins with Tessera's layers under the
/// names that mmdetection3d's configurations give them, `#` being the number of dimensions:
///
/// | name                         | layer                                          |
/// |------------------------------|------------------------------------------------|
/// | SubMConv#d, SparseConv#d     | Conv of SubMConv, of SparseConv                |
/// | SparseInverseConv#d          | Conv of SparseInverseConv                      |
/// | SparseConvTranspose#d        | Conv of SparseConvTranspose                    |
/// | SparseMaxPool#d              | MaxPool                                        |
/// | SparseAvgPool#d              | AveragePool                                    |
/// | TorchSparseConv#d            | Conv of ConvOptions; `transposed`, `generative` |
/// | BN1d, SyncBN, naiveSyncBN1d  | BatchNorm                                      |
/// | TorchSparseBatchNorm, TorchSparseBN | BatchNorm                               |
/// | LN                           | LayerNorm                                      |
/// | ReLU, TorchSparseReLU        | ReLU                                           |
/// | LeakyReLU, TorchSparseLeakyReLU | LeakyReLU                                   |
/// | SiLU, Swish                  | SiLU                                           |
/// | Sigmoid, Tanh, GELU          | Sigmoid, Tanh, GELU                            |
/// | Identity                     | Identity                                       |
///
/// `indice_key` and `algo` are accepted and have no effect. Add layers of your own with add().
template <int Dim, class Scalar, class Space = Device>
[[nodiscard]] Registry<Dim, Scalar, Space>& layer_registry()
{
  struct Filled : Registry<Dim, Scalar, Space> {
    Filled() { detail::register_layers(*this); }
  };
  static Filled registry;
  return registry;
}

/// The layer that `config` describes.
/// @throws invalid_argument  no such type or option; the sentence lists those there are
/// Stream: enqueues the upload of the initial values.
template <int Dim, class Scalar, class Space>
[[nodiscard]] ModulePointer<Dim, Scalar, Space> build_layer(LayerConfig const& config,
                                                            Execution<Space> const& exec)
{
  return layer_registry<Dim, Scalar, Space>().build(config, exec);
}

/// The convolution that `config` describes with these sizes, which replace those in it:
/// `build_conv_layer<3, float>("SubMConv3d", 16, 32, 3, 1, 1, exec)`. What else the layer takes (bias,
/// dilation, output_padding, seed, compat, ...) is in the configuration.
/// @throws invalid_argument  as build_layer()
/// Source: mmcv's build_conv_layer, without its default of a dense Conv2d.
template <int Dim, class Scalar, class Space>
[[nodiscard]] ModulePointer<Dim, Scalar, Space> build_conv_layer(LayerConfig config, int in, int out,
                                                                 IntArray<Dim> const& kernel_size,
                                                                 IntArray<Dim> const& stride,
                                                                 IntArray<Dim> const& padding,
                                                                 Execution<Space> const& exec)
{
  config.set("in_channels", in).set("out_channels", out).set("kernel_size", kernel_size);
  config.set("stride", stride).set("padding", padding);
  return build_layer<Dim, Scalar>(config, exec);
}

/// The normalisation that `config` describes for so many channels: `build_norm_layer<3, float>("BN1d", 64,
/// exec)`. Errors, stream: as build_layer().
template <int Dim, class Scalar, class Space>
[[nodiscard]] ModulePointer<Dim, Scalar, Space> build_norm_layer(LayerConfig config, int channels,
                                                                 Execution<Space> const& exec)
{
  return build_layer<Dim, Scalar>(config.set("num_features", channels), exec);
}

/// The activation called "relu", "swish", or as the registry names it. Errors, stream: as build_layer().
template <int Dim, class Scalar, class Space>
[[nodiscard]] ModulePointer<Dim, Scalar, Space> build_activation_layer(LayerConfig const& config,
                                                                       Execution<Space> const& exec)
{
  if (config.type() == "relu" && config.values().empty()) { return build_layer<Dim, Scalar>("ReLU", exec); }
  if (config.type() == "swish" && config.values().empty()) { return build_layer<Dim, Scalar>("SiLU", exec); }
  return build_layer<Dim, Scalar>(config, exec);
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
