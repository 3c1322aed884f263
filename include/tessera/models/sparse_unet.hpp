// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/detail/encoder_layers.hpp>
#include <tessera/ops/bev.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/custom.hpp>

#include <array>
#include <string>
#include <tuple>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Options of a SparseUNet: the encoder's, and three channels for each level of the decoder, the coarsest
/// first: of the lateral block, the merge and the upsampling.
struct SparseUNetOptions {
  explicit SparseUNetOptions(SparseEncoderOptions value) : encoder{std::move(value)} {}

  SparseUNetOptions& decoder(std::vector<std::array<int, 3>> value)
  {
    return decoder_ = std::move(value), *this;
  }
  [[nodiscard]] std::vector<std::array<int, 3>> const& decoder() const noexcept { return decoder_; }

  SparseEncoderOptions encoder;

 private:
  std::vector<std::array<int, 3>> decoder_{{64, 64, 64}, {64, 64, 32}, {32, 32, 16}, {16, 16, 16}};
};

namespace models {

/// Part-A2 on KITTI. Source: mmdetection3d's configuration.
[[nodiscard]] inline SparseUNetOptions parta2_kitti()
{
  return SparseUNetOptions{second_kitti()};
}

/// What a SparseUNet computes.
template <class Scalar, class Space = Device>
struct SparseUNetOutput {
  SparseTensor<3, Scalar, Space> encoded;  ///< as a SparseEncoder's, for the detector's 2D network
  SparseTensor<3, Scalar, Space> decoded;  ///< on the voxels of the input, in their order

  /// For nn::trace().
  [[nodiscard]] auto variables() { return std::tie(encoded, decoded); }
};

}  // namespace models

namespace detail {

/// y[i, c] = merged[i, c] + sum of x[i, c * group .. c * group + group - 1].
template <class Scalar>
struct AddChannelGroups {
  Scalar const* x;       // [rows, channels * group]
  Scalar const* merged;  // [rows, channels]
  Scalar* y;             // [rows, channels]
  std::int64_t group;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    using Sum = accumulator_t<Scalar>;
    Sum sum{0};
    for (std::int64_t k = 0; k < group; ++k) { sum += static_cast<Sum>(x[i * group + k]); }
    y[i] = static_cast<Scalar>(static_cast<Sum>(merged[i]) + static_cast<Sum>(static_cast<Scalar>(sum)));
  }
};

}  // namespace detail

namespace models {

/// The U-Net of Part-A2: a SparseEncoder, and a decoder that goes back to the voxels of the input by inverse
/// convolutions.
///
/// A level of the decoder takes the encoder's tensor of that level through a residual block, puts it beside
/// what came from below, merges the two by a convolution, adds to that the sums of adjacent channels of the
/// pair, and goes one level up. Parameter names are those of mmdetection3d's SparseUNet.
///
/// Source: Shi et al., From Points to Parts, TPAMI 2020; mmdetection3d's SparseUNet.
template <class Scalar, class Space = Device>
class SparseUNet final : public nn::ModuleBase {
  static_assert(detail::layer::LayerArguments<3, Scalar, Space>::are_valid);

 public:
  using Tensor = SparseTensor<3, Scalar, Space>;

  /// @throws invalid_argument  as SparseEncoder; decoder levels that do not fit the encoder's stages
  SparseUNet(SparseUNetOptions const& options, Execution<Space> const& exec)
      : SparseUNet{options,
                   {options.encoder.config(), options.encoder.seed(),
                    detail::encoder_norm(options.encoder.norm_epsilon())},
                   exec}
  {}

  /// Errors, cost, stream, determinism: as SparseEncoder::forward(); inverse convolutions have their maps
  /// already.
  [[nodiscard]] SparseUNetOutput<Scalar, Space> forward(Tensor const& x, Execution<Space> const& exec)
  {
    detail::expect_shape(x, options_.encoder.sparse_shape, "SparseUNet");
    auto const stages = stages_.forward(x, exec);
    auto y = stages.back();
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      auto const& level = levels_[i];
      auto const pair = cat({y, level.lateral->forward(stages[stages.size() - 1 - i], exec)}, exec);
      y = level.upsample->forward(add_groups(level.merge->forward(pair, exec), pair, exec), exec);
    }
    return {out_->forward(stages.back(), exec), y};
  }

  [[nodiscard]] SparseUNetOptions const& options() const noexcept { return options_; }

 private:
  using Pointer = nn::ModulePointer<3, Scalar, Space>;
  struct Level {
    Pointer lateral, merge, upsample;
  };

  SparseUNet(SparseUNetOptions const& options, detail::EncoderLayers layers, Execution<Space> const& exec)
      : options_{options},
        stages_{options.encoder, layers, exec,
                [this](std::string const& name, nn::ModuleBase& part) { this->register_child(name, part); }}
  {
    auto const num_levels = options.decoder().size();
    detail::expects(num_levels == options.encoder.channels().size(), "SparseUNet: ", num_levels,
                    " levels of the decoder for ", options.encoder.channels().size(),
                    " stages of the encoder");
    int channels = stages_.out_channels();
    for (std::size_t i = 0; i < num_levels; ++i) {
      auto const& [lateral, merged, up] = options.decoder()[i];
      auto const number = std::to_string(num_levels - i);
      detail::expects(lateral == channels && merged >= 1 && 2 * channels % merged == 0, "SparseUNet: level ",
                      number, " of the decoder has ", lateral, " and ", merged, " channels on ", channels,
                      "; the first must be as many, the second divide twice as many");
      auto& level = levels_.emplace_back();
      level.lateral = layers.basic_block<Scalar, Space>(channels, lateral, false, exec);
      level.merge = layers.conv_module<Scalar, Space>("SubMConv3d", 2 * channels, merged, 3, 1, 1, exec);
      bool const last = i + 1 == num_levels;
      level.upsample = layers.conv_module<Scalar, Space>(last ? "SubMConv3d" : "SparseInverseConv3d", merged,
                                                         up, 3, 1, last ? 1 : 0, exec);
      this->register_child("lateral_layer" + number, *level.lateral);
      this->register_child("merge_layer" + number, *level.merge);
      this->register_child("upsample_layer" + number, *level.upsample);
      channels = up;
    }
    out_ = layers.conv_module<Scalar, Space>("SparseConv3d", stages_.out_channels(), options.encoder.out(),
                                             {3, 1, 1}, {2, 1, 1}, 0, exec);
    this->register_child("conv_out", *out_);
  }

  [[nodiscard]] static Tensor add_groups(Tensor const& merged, Tensor const& pair,
                                         Execution<Space> const& exec)
  {
    auto const add = [](Tensor const& to, Tensor const& from, Execution<Space> const& inside) {
      Matrix<Scalar, Space> sum{to.capacity(), to.channels(), inside};
      for_each(sum.size(),
               detail::AddChannelGroups<Scalar>{from.features().data, to.features().data, sum.data(),
                                                from.channels() / to.channels()},
               inside);
      return to.with_features(std::move(sum));
    };
    return ops::custom("add_channel_groups", exec, add, merged, pair);
  }

  SparseUNetOptions options_;
  detail::EncoderStages<Scalar, Space> stages_;
  std::vector<Level> levels_;
  Pointer out_;
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
