// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/layer_norm.hpp>
#include <tessera/nn/registry.hpp>
#include <tessera/nn/sparse_layers.hpp>
#include <tessera/nn/sparse_pooling.hpp>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>

namespace tessera {
inline namespace v0 {
namespace detail {

/// "none", "torchsparse", "spconv" or "spconv1", where `config` has such an option.
[[nodiscard]] inline std::optional<Compatibility> compat_of(nn::LayerConfig const& config)
{
  if (!config.has("compat")) { return {}; }
  auto const name = config.require<std::string>("compat");
  if (name == "none") { return Compatibility::none; }
  if (name == "torchsparse") { return Compatibility::torchsparse; }
  if (name == "spconv1") { return Compatibility::spconv1; }
  expects(name == "spconv", "config of \"", config.type(), "\": compat \"", name,
          "\" does not exist; there are: [none, torchsparse, spconv, spconv1]");
  return Compatibility::spconv;
}

/// What every convolution takes.
template <int Dim>
void apply_config(ConvOptions<Dim>& options, nn::LayerConfig const& config)
{
  options.stride(config.get<IntArray<Dim>>("stride", 1)).padding(config.get<IntArray<Dim>>("padding", 0));
  options.dilation(config.get<IntArray<Dim>>("dilation", 1)).bias(config.get("bias", options.bias()));
  options.seed(config.get("seed", std::uint64_t{0}));
  options.compat(compat_of(config)).config(config.conv_config);
  auto const groups = config.get("groups", 1);
  expects(groups == 1, "config of \"", config.type(), "\": ", groups, " groups; only 1 is supported");
}

/// A convolution of spconv; `Options` is one of nn/sparse_layers.hpp.
template <template <int> class Options, int Dim, class Scalar, class Space>
[[nodiscard]] nn::ModulePointer<Dim, Scalar, Space> make_spconv_layer(nn::LayerConfig const& config,
                                                                      Execution<Space> const& exec)
{
  config.expect_only({"in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
                      "bias", "indice_key", "algo", "output_padding", "seed", "compat"});
  Options<Dim> options{config.require<int>("in_channels"), config.require<int>("out_channels"),
                       config.require<IntArray<Dim>>("kernel_size")};
  apply_config<Dim>(options, config);
  options.output_padding(config.get<IntArray<Dim>>("output_padding", 0));
  return std::make_unique<nn::Conv<Dim, Scalar, Space>>(options, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] nn::ModulePointer<Dim, Scalar, Space> make_torchsparse_layer(nn::LayerConfig const& config,
                                                                           Execution<Space> const& exec)
{
  config.expect_only({"in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
                      "bias", "indice_key", "transposed", "generative", "seed", "compat"});
  ConvOptions<Dim> options{config.require<int>("in_channels"), config.require<int>("out_channels"),
                           config.require<IntArray<Dim>>("kernel_size")};
  apply_config<Dim>(options, config);
  options.transposed(config.get("transposed", false)).generative(config.get("generative", false));
  return std::make_unique<nn::Conv<Dim, Scalar, Space>>(options, exec);
}

template <class Pool, int Dim>
[[nodiscard]] std::unique_ptr<Pool> make_pool(nn::LayerConfig const& config)
{
  config.expect_only({"kernel_size", "stride", "padding", "dilation", "indice_key", "algo", "compat"});
  PoolOptions<Dim> options{config.require<IntArray<Dim>>("kernel_size")};
  if (config.has("stride")) { options.stride(config.require<IntArray<Dim>>("stride")); }
  options.padding(config.get<IntArray<Dim>>("padding", 0));
  options.dilation(config.get<IntArray<Dim>>("dilation", 1));
  options.compat(compat_of(config)).config(config.conv_config);
  return std::make_unique<Pool>(options);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] nn::ModulePointer<Dim, Scalar, Space> make_batch_norm(nn::LayerConfig const& config,
                                                                    Execution<Space> const& exec)
{
  config.expect_only({"num_features", "eps", "momentum", "affine", "requires_grad"});
  NormOptions options{config.require<int>("num_features")};
  options.eps(config.get("eps", 1e-5)).momentum(config.get("momentum", 0.1));
  options.affine(config.get("affine", true));
  return std::make_unique<nn::BatchNorm<Dim, Scalar, Space>>(options, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] nn::ModulePointer<Dim, Scalar, Space> make_layer_norm(nn::LayerConfig const& config,
                                                                    Execution<Space> const& exec)
{
  config.expect_only({"num_features", "eps", "affine", "elementwise_affine", "requires_grad"});
  NormOptions options{config.require<int>("num_features")};
  options.eps(config.get("eps", 1e-5));
  options.affine(config.get("affine", config.get("elementwise_affine", true)));
  return std::make_unique<nn::LayerNorm<Dim, Scalar, Space>>(options, exec);
}

/// Adds an activation without options of its own under each of `names`.
template <class Layer, int Dim, class Scalar, class Space>
void add_activation(nn::Registry<Dim, Scalar, Space>& registry, std::initializer_list<char const*> names)
{
  for (auto const* name : names) {
    registry.add(name, [](nn::LayerConfig const& config, Execution<Space> const&) {
      config.expect_only({"inplace"});
      return nn::ModulePointer<Dim, Scalar, Space>{std::make_unique<Layer>()};
    });
  }
}

/// Adds Tessera's layers; layer_registry() has the table.
template <int Dim, class Scalar, class Space>
void register_layers(nn::Registry<Dim, Scalar, Space>& registry)
{
  using Config = nn::LayerConfig;
  using Exec = Execution<Space>;
  using Pointer = nn::ModulePointer<Dim, Scalar, Space>;
  auto const dims = std::to_string(Dim) + "d";
  registry.add("SubMConv" + dims, make_spconv_layer<nn::SubMConv, Dim, Scalar, Space>);
  registry.add("SparseConv" + dims, make_spconv_layer<nn::SparseConv, Dim, Scalar, Space>);
  registry.add("SparseInverseConv" + dims, make_spconv_layer<nn::SparseInverseConv, Dim, Scalar, Space>);
  registry.add("SparseConvTranspose" + dims, make_spconv_layer<nn::SparseConvTranspose, Dim, Scalar, Space>);
  registry.add("TorchSparseConv" + dims, make_torchsparse_layer<Dim, Scalar, Space>);
  registry.add("SparseMaxPool" + dims, [](Config const& config, Exec const&) -> Pointer {
    return make_pool<nn::MaxPool<Dim, Scalar, Space>, Dim>(config);
  });
  registry.add("SparseAvgPool" + dims, [](Config const& config, Exec const&) -> Pointer {
    return make_pool<nn::AveragePool<Dim, Scalar, Space>, Dim>(config);
  });
  for (auto const* name : {"BN1d", "SyncBN", "naiveSyncBN1d", "TorchSparseBatchNorm", "TorchSparseBN"}) {
    registry.add(name, make_batch_norm<Dim, Scalar, Space>);
  }
  registry.add("LN", make_layer_norm<Dim, Scalar, Space>);
  add_activation<nn::ReLU<Dim, Scalar, Space>>(registry, {"ReLU", "TorchSparseReLU"});
  add_activation<nn::SiLU<Dim, Scalar, Space>>(registry, {"SiLU", "Swish"});
  add_activation<nn::Sigmoid<Dim, Scalar, Space>>(registry, {"Sigmoid"});
  add_activation<nn::Tanh<Dim, Scalar, Space>>(registry, {"Tanh"});
  add_activation<nn::GELU<Dim, Scalar, Space>>(registry, {"GELU"});
  for (auto const* name : {"LeakyReLU", "TorchSparseLeakyReLU"}) {
    registry.add(name, [](Config const& config, Exec const&) -> Pointer {
      config.expect_only({"negative_slope", "inplace"});
      return std::make_unique<nn::LeakyReLU<Dim, Scalar, Space>>(config.get("negative_slope", 0.01));
    });
  }
  registry.add("Identity", [](Config const& config, Exec const&) -> Pointer {
    config.expect_only({});
    return std::make_unique<nn::Identity<Dim, Scalar, Space>>();
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
