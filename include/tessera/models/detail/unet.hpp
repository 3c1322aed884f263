// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/detail/layer_factory.hpp>
#include <tessera/nn/blocks.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What MinkUNet and SparseResUNet42, which are one network, call its parts. Levels count from 0.
struct UNetNames {
  std::string encoder;  ///< before the number of a level
  std::string decoder;
  int first_level;         ///< the number of level 0
  std::string down_block;  ///< inside an encoder
  std::string up_block;    ///< inside a decoder
  std::string fuse;
  nn::ResidualNames residual;
};

/// Those of MinkUNet and of SPVCNN, its sibling with points.
[[nodiscard]] inline UNetNames minkunet_names()
{
  return {"stage", "up", 1, "0.net", "0.net", "1", {"net", "downsample"}};
}

/// Channels of the stem, the encoders and the decoders of these networks, `width` times the usual ones.
[[nodiscard]] inline std::array<int, 9> unet_channels(double width, char const* who)
{
  return scaled_channels<9>({32, 32, 64, 128, 256, 256, 128, 96, 96}, width, who);
}

/// One level up: upsample, concatenate the skipped features, fuse.
template <int Dim, class Scalar, class Space>
class UNetDecoder final : public nn::ModuleBase {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  UNetDecoder(int in, int skip, int out, UNetNames const& names, LayerFactory<Dim>& layers,
              Execution<Space> const& exec)
      : upsample_{layers.conv(in, out, 2).stride(2).transposed(), exec},
        first_{layers.conv(out + skip, out, 3), exec, names.residual},
        second_{layers.conv(out, out, 3), exec, names.residual}
  {
    this->register_child(names.up_block, upsample_);
    this->register_child(names.fuse + ".0", first_);
    this->register_child(names.fuse + ".1", second_);
  }

  /// @param x  given back as soon as it has been read
  [[nodiscard]] Tensor forward(Tensor x, Tensor const& skip, Execution<Space> const& exec)
  {
    auto const up = upsample_.forward(std::exchange(x, {}), exec);
    return second_.forward(first_.forward(up, skip, exec), exec);
  }

 private:
  nn::SparseConvBlock<Dim, Scalar, Space> upsample_;
  nn::SparseResBlock<Dim, Scalar, Space> first_, second_;
};

template <int Dim, class Scalar, class Space>
class UNet {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  static constexpr int levels = 4;

  /// @param channels   of the stem, the encoders and the decoders
  /// @param add_child  called with the name of each part and the part
  template <class AddChild>
  UNet(int in_channels, std::array<int, 2 * levels + 1> const& channels, UNetNames const& names,
       LayerFactory<Dim>& layers, Execution<Space> const& exec, AddChild const& add_child)
  {
    using Conv = nn::Conv<Dim, Scalar, Space>;
    using Norm = nn::BatchNorm<Dim, Scalar, Space>;
    using Relu = nn::ReLU<Dim, Scalar, Space>;
    for (int i = 0; i < 2; ++i) {
      stem_.template add<Conv>(layers.conv(i == 0 ? in_channels : channels[0], channels[0], 3), exec);
      stem_.template add<Norm>(channels[0], exec);
      stem_.template add<Relu>();
    }
    add_child("stem", stem_);
    for (std::size_t k = 0; k < levels; ++k) {
      encoders_.push_back(std::make_unique<Encoder>(channels[k], channels[k + 1], names, layers, exec));
      add_child(names.encoder + std::to_string(names.first_level + static_cast<int>(k)), *encoders_.back());
    }
    for (std::size_t k = 0; k < levels; ++k) {
      decoders_.push_back(std::make_unique<UNetDecoder<Dim, Scalar, Space>>(
          channels[k + 4], channels[3 - k], channels[k + 5], names, layers, exec));
      add_child(names.decoder + std::to_string(names.first_level + static_cast<int>(k)), *decoders_.back());
    }
  }

  /// Stem, four encoders, four decoders: [x0, x1, x2, x3, x4, y1, y2, y3, y4].
  [[nodiscard]] std::array<Tensor, 2 * levels + 1> forward(Tensor const& x, Execution<Space> const& exec)
  {
    std::array<Tensor, 2 * levels + 1> result;
    result[0] = stem(x, exec);
    for (std::size_t k = 0; k < levels; ++k) { result[k + 1] = encode(k, result[k], exec); }
    for (std::size_t k = 0; k < levels; ++k) {
      result[k + 5] = decode(k, result[k + 4], result[3 - k], exec);
    }
    return result;
  }

  /// The last of these alone: y4. What nothing reads any more is given back on the way.
  [[nodiscard]] Tensor forward_last(Tensor const& x, Execution<Space> const& exec)
  {
    std::array<Tensor, levels> skips;
    Tensor y = stem(x, exec);
    for (std::size_t k = 0; k < levels; ++k) {
      skips[k] = y;
      y = encode(k, y, exec);
    }
    for (std::size_t k = 0; k < levels; ++k) {
      auto const skip = std::exchange(skips[levels - 1 - k], {});
      y = decode(k, std::exchange(y, {}), skip, exec);
    }
    return y;
  }

  /// @name The parts one by one, levels from 0
  /// @{
  [[nodiscard]] Tensor stem(Tensor const& x, Execution<Space> const& exec) { return stem_.forward(x, exec); }
  [[nodiscard]] Tensor encode(std::size_t level, Tensor const& x, Execution<Space> const& exec)
  {
    return encoders_[level]->forward(x, exec);
  }
  /// @param x  given back as soon as it has been read
  [[nodiscard]] Tensor decode(std::size_t level, Tensor x, Tensor const& skip, Execution<Space> const& exec)
  {
    return decoders_[level]->forward(std::exchange(x, {}), skip, exec);
  }
  /// @}

 private:
  /// One level down: a strided convolution and two residual blocks.
  class Encoder final : public nn::Module<Dim, Scalar, Space> {
   public:
    using ResBlock = nn::SparseResBlock<Dim, Scalar, Space>;

    Encoder(int in, int out, UNetNames const& names, LayerFactory<Dim>& layers, Execution<Space> const& exec)
        : down_{layers.conv(in, in, 2).stride(2), exec},
          first_{layers.conv(in, out, 3), exec, names.residual},
          second_{layers.conv(out, out, 3), exec, names.residual}
    {
      this->register_child(names.down_block, down_);
      this->register_child("1", first_);
      this->register_child("2", second_);
    }

    [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
    {
      return second_.forward(first_.forward(down_.forward(x, exec), exec), exec);
    }

   private:
    nn::SparseConvBlock<Dim, Scalar, Space> down_;
    ResBlock first_;
    ResBlock second_;
  };

  nn::Sequential<Dim, Scalar, Space> stem_;
  std::vector<std::unique_ptr<Encoder>> encoders_;
  std::vector<std::unique_ptr<UNetDecoder<Dim, Scalar, Space>>> decoders_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
