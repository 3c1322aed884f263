// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/detail/encoder_layers.hpp>
#include <tessera/models/detail/layer_factory.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/ops/combine.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace models {

/// The library that a MinkUNetBackbone was trained with: names and geometry are its.
enum class SparseBackend : std::uint8_t { spconv, torchsparse };

}  // namespace models

/// Options of a MinkUNetBackbone: `MinkUNetBackboneOptions(4).backend(SparseBackend::torchsparse)`.
struct MinkUNetBackboneOptions {
  explicit MinkUNetBackboneOptions(int in) : in_channels{in} {}

  MinkUNetBackboneOptions& backend(models::SparseBackend value) { return backend_ = value, *this; }
  [[nodiscard]] models::SparseBackend backend() const noexcept { return backend_; }
  MinkUNetBackboneOptions& base(int value) { return base_ = value, *this; }
  [[nodiscard]] int base() const noexcept { return base_; }
  /// Channels and numbers of residual blocks of each level; as many levels up as down.
  MinkUNetBackboneOptions& encoder(std::vector<int> channels, std::vector<int> blocks)
  {
    return encoder_channels_ = std::move(channels), encoder_blocks_ = std::move(blocks), *this;
  }
  [[nodiscard]] std::vector<int> const& encoder_blocks() const noexcept { return encoder_blocks_; }
  [[nodiscard]] std::vector<int> const& encoder_channels() const noexcept { return encoder_channels_; }
  MinkUNetBackboneOptions& decoder(std::vector<int> channels, std::vector<int> blocks)
  {
    return decoder_channels_ = std::move(channels), decoder_blocks_ = std::move(blocks), *this;
  }
  [[nodiscard]] std::vector<int> const& decoder_blocks() const noexcept { return decoder_blocks_; }
  [[nodiscard]] std::vector<int> const& decoder_channels() const noexcept { return decoder_channels_; }
  /// Run-time choices of all convolutions; without them those of the calling thread.
  MinkUNetBackboneOptions& config(ConvConfig const& value) { return config_ = value, *this; }
  [[nodiscard]] std::optional<ConvConfig> const& config() const noexcept { return config_; }
  /// Seed of the initial values.
  MinkUNetBackboneOptions& seed(std::uint64_t value) { return seed_ = value, *this; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  int in_channels;

 private:
  models::SparseBackend backend_ = models::SparseBackend::spconv;
  int base_ = 32;
  std::vector<int> encoder_channels_{32, 64, 128, 256};
  std::vector<int> encoder_blocks_{2, 2, 2, 2};
  std::vector<int> decoder_channels_{256, 128, 96, 96};
  std::vector<int> decoder_blocks_{2, 2, 2, 2};
  std::optional<ConvConfig> config_;
  std::uint64_t seed_ = 0;
};

namespace models {

/// mmdetection3d's MinkUNet without its head: features [num_rows, channels of the last level] on the voxels
/// of the input, in their order.
///
/// Parameter names are those of its checkpoints behind `backbone.`, which differ with the backend:
/// `encoder.0.1.conv1.weight` (spconv), `encoder.0.1.net.0.kernel` (torchsparse). mmdetection3d gives spconv
/// the largest coordinate plus one as the spatial shape; with that as the tensor's range the result is the
/// same.
///
/// Source: Choy et al., 4D Spatio-Temporal ConvNets, CVPR 2019; mmdetection3d's MinkUNetBackbone.
template <class Scalar, class Space = Device>
class MinkUNetBackbone final : public nn::Module<3, Scalar, Space> {
 public:
  using typename nn::Module<3, Scalar, Space>::Tensor;

  /// @throws invalid_argument  levels and blocks that do not fit together, channels below 1
  /// Stream: enqueues the upload of the initial values.
  MinkUNetBackbone(MinkUNetBackboneOptions const& options, Execution<Space> const& exec)
      : options_{options},
        spconv_layers_{options.config(), options.seed(), nn::LayerConfig{"BN1d"}},
        torchsparse_layers_{options.config(), options.seed()}
  {
    auto const levels = options.encoder_channels().size();
    detail::expects(levels >= 1 && options.encoder_blocks().size() == levels &&
                        options.decoder_channels().size() == levels &&
                        options.decoder_blocks().size() == levels,
                    "MinkUNetBackbone: ", levels, ", ", options.encoder_blocks().size(), ", ",
                    options.decoder_channels().size(), " and ", options.decoder_blocks().size(),
                    " entries for the levels; all must be as many, and at least 1");
    for (int i = 0; i < 2; ++i) {
      input_.push_back(conv("conv_input." + std::to_string(i), "SubMConv3d",
                            i == 0 ? options.in_channels : options.base(), options.base(), 3, 1, exec));
    }
    auto channels = options.encoder_channels();
    channels.insert(channels.begin(), options.base());
    for (std::size_t i = 0; i < levels; ++i) {
      auto const name = "encoder." + std::to_string(i) + ".";
      auto& stage = encoder_.emplace_back();
      stage.push_back(conv(name + "0", "SparseConv3d", channels[i], channels[i], 2, 2, exec));
      add_blocks(stage, name, 1, options.encoder_blocks()[i], channels[i], channels[i + 1], false, exec);
    }
    int in = channels.back();
    for (std::size_t i = 0; i < levels; ++i) {
      auto const name = "decoder." + std::to_string(i) + ".";
      int const out = options.decoder_channels()[i];
      up_.push_back(conv(name + "0", "SparseInverseConv3d", in, out, 2, 2, exec));
      add_blocks(decoder_.emplace_back(), name + "1.", 0, options.decoder_blocks()[i],
                 out + channels[levels - 1 - i], out, true, exec);
      detail::expects(!decoder_.back().empty(), "MinkUNetBackbone: level ", i,
                      " of the decoder has no blocks");
      merge_.push_back(dynamic_cast<ResBlock*>(decoder_.back().front().get()));
      in = out;
    }
  }

  /// @throws invalid_argument  x has other channels, and what convolution() throws
  ///
  /// Cost: that of its convolutions.
  /// Stream: enqueues on `exec`; waits once for each coarser level's number of voxels where the coordinate set
  /// does not have it yet.
  /// Determinism: as convolution().
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    std::vector<Tensor> laterals{run(input_, x, exec)};
    for (auto const& stage : encoder_) { laterals.push_back(run(stage, laterals.back(), exec)); }
    auto y = laterals.back();
    for (std::size_t i = 0; i < up_.size(); ++i) {
      auto const up = up_[i]->forward(y, exec);
      auto const& lateral = laterals[laterals.size() - 2 - i];
      y = merge_[i] != nullptr ? merge_[i]->forward(up, lateral, exec)
                               : decoder_[i].front()->forward(cat({up, lateral}, exec), exec);
      for (std::size_t k = 1; k < decoder_[i].size(); ++k) { y = decoder_[i][k]->forward(y, exec); }
    }
    return y;
  }

  [[nodiscard]] MinkUNetBackboneOptions const& options() const noexcept { return options_; }

 private:
  using Pointer = nn::ModulePointer<3, Scalar, Space>;
  using ResBlock = nn::SparseResBlock<3, Scalar, Space>;

  [[nodiscard]] static Tensor run(std::vector<Pointer> const& layers, Tensor x, Execution<Space> const& exec)
  {
    for (auto const& layer : layers) { x = layer->forward(x, exec); }
    return x;
  }

  /// Convolution, normalisation and ReLU under `name`.
  [[nodiscard]] Pointer conv(std::string const& name, char const* type, int in, int out, int size, int stride,
                             Execution<Space> const& exec)
  {
    Pointer result;
    if (options_.backend() == SparseBackend::spconv) {
      result = spconv_layers_.template conv_module<Scalar, Space>(type, in, out, size, stride, 0, exec);
      this->register_child(name, *result);
      return result;
    }
    bool const inverse = std::string{type} == "SparseInverseConv3d";
    auto const layer = torchsparse_layers_.conv(in, out, size).stride(stride).transposed(inverse);
    result = std::make_unique<nn::SparseConvBlock<3, Scalar, Space>>(layer, exec);
    this->register_child(name + ".net", *result);
    return result;
  }

  /// `count` residual blocks named `name` + first, ...; the first has a branch of its own where channels
  /// change, in spconv's decoder always.
  void add_blocks(std::vector<Pointer>& to, std::string const& name, int first, int count, int in, int out,
                  bool always, Execution<Space> const& exec)
  {
    for (int j = 0; j < count; ++j) {
      bool const branch = j == 0 && (always || in != out);
      int const channels = j == 0 ? in : out;
      if (options_.backend() == SparseBackend::spconv) {
        Pointer downsample;
        if (branch) {
          downsample = spconv_layers_.template conv_module<Scalar, Space>("SubMConv3d", channels, out, 1, 1,
                                                                          0, exec, false);
        }
        to.push_back(spconv_layers_.template basic_block<Scalar, Space>(channels, out, false, exec,
                                                                        std::move(downsample)));
      } else {
        auto const layer = torchsparse_layers_.conv(channels, out, 3);
        to.push_back(std::make_unique<ResBlock>(layer, exec, nn::ResidualNames{"net", "downsample"}));
      }
      this->register_child(name + std::to_string(first + j), *to.back());
    }
  }

  MinkUNetBackboneOptions options_;
  detail::EncoderLayers spconv_layers_;
  detail::LayerFactory<3> torchsparse_layers_;
  std::vector<Pointer> input_;
  std::vector<std::vector<Pointer>> encoder_;
  std::vector<Pointer> up_;
  std::vector<std::vector<Pointer>> decoder_;
  std::vector<ResBlock*>
      merge_;  // the first block of each level of the decoder where it takes two tensors, or null
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
