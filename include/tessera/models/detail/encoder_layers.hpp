// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/sparse_encoder_options.hpp>
#include <tessera/nn/sparse_blocks.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What the constructors of encoders hand to their layers, each of which gets a seed of its own.
class EncoderLayers {
 public:
  EncoderLayers(std::optional<ConvConfig> const& config, std::uint64_t seed, nn::LayerConfig norm)
      : config_{config}, seed_{seed}, norm_{std::move(norm)}
  {}

  /// Convolution without bias, normalisation, ReLU (or without the latter).
  template <class Scalar, class Space>
  [[nodiscard]] nn::ModulePointer<3, Scalar, Space> conv_module(
      char const* type, int in, int out, IntArray<3> const& size, IntArray<3> const& stride,
      IntArray<3> const& padding, Execution<Space> const& exec, bool activate = true)
  {
    ConvModuleOptions<3> options{in, out, size};
    options.type(type).stride(stride).padding(padding).norm_config(norm_).seed(next_seed());
    if (config_) { options.config(*config_); }
    if (!activate) { options.order({"conv", "norm"}); }
    return nn::make_sparse_convmodule<3, Scalar, Space>(options, exec);
  }

  template <class Scalar, class Space>
  [[nodiscard]] nn::ModulePointer<3, Scalar, Space> basic_block(
      int in, int out, bool bias, Execution<Space> const& exec,
      nn::ModulePointer<3, Scalar, Space> downsample = nullptr)
  {
    SparseBlockOptions<3> options{in, out};
    options.norm_config(norm_).bias(bias).seed(next_seed());
    if (config_) { options.config(*config_); }
    return std::make_unique<nn::SparseBasicBlock<3, Scalar, Space>>(options, exec, std::move(downsample));
  }

  [[nodiscard]] std::uint64_t next_seed() { return std::exchange(seed_, seed_ + 6); }

 private:
  std::optional<ConvConfig> config_;
  std::uint64_t seed_;
  nn::LayerConfig norm_;
};

[[nodiscard]] inline nn::LayerConfig encoder_norm(double epsilon)
{
  return nn::sparse_norm_config().set("eps", epsilon);
}

/// Throws unless `x` lives on the grid that the encoder was made for: borders shape what it computes.
template <class Tensor>
void expect_shape(Tensor const& x, IntArray<3> const& shape, char const* who)
{
  expect_coordinates(x, who);
  auto const& range = x.coordinates()->spatial_range();
  expects(range.has_value(), who, ": the tensor has no spatial range, but the encoder was made for ",
          list(shape));
  expects(range->extent == shape, who, ": the tensor's spatial range is ", list(range->extent),
          ", but the encoder was made for ", list(shape));
}

/// The name of layer `j` of stage `i`.
[[nodiscard]] inline std::string layer_name(SparseEncoderOptions const& options, std::size_t i, std::size_t j,
                                            bool strided)
{
  using models::EncoderNames;
  if (options.names() == EncoderNames::mmdet3d) {
    return "encoder_layers.encoder_layer" + std::to_string(i + 1) + "." + std::to_string(j);
  }
  // The others write a strided convolution at the head of the stage it leads to; det3d its three layers: 0,
  // 1, 2.
  bool const blocks = options.block() == models::EncoderBlock::basicblock;
  bool const det3d = options.names() == EncoderNames::det3d;
  auto const stage = "conv" + std::to_string(blocks && strided ? i + 2 : i + 1);
  if (blocks && strided) { return det3d ? stage : stage + ".0"; }
  std::size_t const before = !blocks || i == 0 ? 0 : det3d ? 3 : 1;
  return stage + "." + std::to_string(before + j);
}

/// Input layer and stages of an encoder.
template <class Scalar, class Space>
class EncoderStages {
 public:
  using Tensor = SparseTensor<3, Scalar, Space>;
  using Pointer = nn::ModulePointer<3, Scalar, Space>;

  /// @param add_child  called with the name of each layer and the layer
  template <class AddChild>
  EncoderStages(SparseEncoderOptions const& options, EncoderLayers& layers, Execution<Space> const& exec,
                AddChild const& add_child)
  {
    check(options);
    bool const blocks = options.block() == models::EncoderBlock::basicblock;
    auto const conv = [&](char const* type, int in, int out, IntArray<3> const& step,
                          IntArray<3> const& padding) {
      return layers.conv_module<Scalar, Space>(type, in, out, 3, step, padding, exec);
    };
    int channels = options.base();
    input_ = conv("SubMConv3d", options.in_channels, channels, 1, 1);
    add_child("conv_input", *input_);
    auto const num_stages = options.channels().size();
    for (std::size_t i = 0; i < num_stages; ++i) {
      auto const& stage = options.channels()[i];
      auto& list = stages_.emplace_back();
      for (std::size_t j = 0; j < stage.size(); ++j) {
        auto const& padding = options.paddings()[i][j];
        bool const strided = blocks ? j + 1 == stage.size() && i + 1 < num_stages : i > 0 && j == 0;
        if (strided) {
          list.push_back(conv("SparseConv3d", channels, stage[j], 2, padding));
        } else if (blocks) {
          expects(channels == stage[j], "SparseEncoder: block ", j, " of stage ", i, " has ", stage[j],
                  " channels, but gets ", channels);
          list.push_back(
              layers.basic_block<Scalar, Space>(channels, channels, options.biased_blocks(), exec));
        } else {
          list.push_back(conv("SubMConv3d", channels, stage[j], 1, padding));
        }
        channels = stage[j];
        auto const name = layer_name(options, i, j, strided);
        add_child(name, *list.back());
      }
    }
    out_channels_ = channels;
  }

  /// The tensor after each stage.
  [[nodiscard]] std::vector<Tensor> forward(Tensor const& x, Execution<Space> const& exec)
  {
    std::vector<Tensor> result;
    auto y = input_->forward(x, exec);
    for (auto const& stage : stages_) {
      for (auto const& layer : stage) { y = layer->forward(y, exec); }
      result.push_back(y);
    }
    return result;
  }
  [[nodiscard]] int out_channels() const noexcept { return out_channels_; }

 private:
  static void check(SparseEncoderOptions const& options)
  {
    char const* const who = "SparseEncoder: ";
    expects(!options.channels().empty(), who, "no stages");
    expects(options.channels().size() == options.paddings().size(), who, options.channels().size(),
            " stages but paddings of ", options.paddings().size());
    for (std::size_t i = 0; i < options.channels().size(); ++i) {
      expects(!options.channels()[i].empty() && options.channels()[i].size() == options.paddings()[i].size(),
              who, "stage ", i, " has ", options.channels()[i].size(), " layers and ",
              options.paddings()[i].size(), " paddings");
    }
    expects(options.axis() >= 0 && options.axis() <= 2, who, "height axis ", options.axis(),
            "; the axes are 0, 1 and 2");
    bool const det3d = options.names() == models::EncoderNames::det3d;
    expects(!det3d || options.block() == models::EncoderBlock::basicblock, who,
            "det3d's names are those of an encoder of basic blocks");
  }

  Pointer input_;
  std::vector<std::vector<Pointer>> stages_;
  int out_channels_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
