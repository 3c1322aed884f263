// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/detail/point_unet.hpp>
#include <tessera/models/detail/spvnas_layers.hpp>
#include <tessera/models/spvnas_config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Throws unless every layer of `config` has channels, and blocks fit together; `who` begins the sentence.
inline void check_config(models::SPVNASConfig const& config, char const* who)
{
  for (auto const& layer : models::layers_of(config)) {
    expects(layer.in_channels >= 1 && layer.out_channels >= 1, who, ": a layer of ", layer.in_channels,
            " -> ", layer.out_channels, " channels; both must be at least 1");
  }
  auto const& c = config.output_channels;
  expects(config.classifier_channels >= c.back(), who, ": a classifier of ", config.classifier_channels,
          " channels for the ", c.back(), " of the last stage");
  for (auto const* const stages : {&config.down, &config.up}) {
    for (auto const& stage : *stages) {
      expects(stage.depth >= 1 && stage.depth <= models::SPVNASConfig::most_blocks, who, ": a stage of ",
              stage.depth, " blocks; 1 or 2");
    }
  }
  for (std::size_t i = 0; i < config.down.size(); ++i) {
    expects(config.down[i].has_shortcut || config.down[i].transition == c[i + 1], who, ": stage ", i,
            " goes from ", config.down[i].transition, " to ", c[i + 1],
            " channels and has no shortcut that could");
    expects(config.up[i].has_shortcut, who, ": a stage up needs a shortcut");
  }
}

}  // namespace detail

namespace models {

template <int Dim, class Scalar, class Space>
class SPVNASSupernet;

/// A network of the SPVNAS family: SPVCNN with channels and numbers of blocks of its own. forward() gives
/// logits [num_points, num_classes] on the points of the input, in their order.
///
/// Parameter names are those of a subnet that SPVNAS has determinized
/// (`downsample.0.feature.0.net.0.net.conv.kernel`, `point_transforms.0.net.conv.weight`, ...), so that
/// published subnets load with their configuration (io::parse_spvnas_config()). Networks trained in
/// TorchSparse need `ConvConfig::compat = compat::torchsparse`.
///
/// Source: Tang et al., Searching Efficient 3D Architectures with Sparse Point-Voxel Convolution, ECCV 2020.
template <int Dim, class Scalar, class Space = Device>
class SPVNAS final : public nn::ModuleBase {
  static_assert(detail::layer::LayerArguments<Dim, Scalar, Space>::are_valid);

 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Points = PointTensor<Dim, Scalar, Space>;

  /// @param conv_config  of all convolutions, and how points meet voxels; without it that of the calling thread
  /// @param seed         of the initial values
  /// @throws invalid_argument  a configuration that is none
  /// Stream: enqueues the upload of the initial values.
  SPVNAS(SPVNASConfig const& config, Execution<Space> const& exec,
         std::optional<ConvConfig> const& conv_config = {}, std::uint64_t seed = 0)
      : SPVNAS{config, detail::SPVNASNames{false}, conv_config, seed, exec}
  {}

  /// Points in units of `config().point_unit`: initial_voxelize() makes the voxels, as in SPVCNN.
  /// @throws invalid_argument  z has other channels or no points, what initial_voxelize() and convolution()
  ///                           throw
  /// Stream: enqueues on `exec`; waits for the numbers of voxels, once for each level and twice for the finest;
  /// for none where the points have room for their voxels (PointSet::voxel_room()).
  [[nodiscard]] Points forward(Points const& z, Execution<Space> const& exec)
  {
    detail::expect_points(z, "SPVNAS");
    expect_channels(z.channels());
    auto made = initial_voxelize(z, config_.point_unit, config_.voxel_size, exec);
    return run(std::exchange(made.voxels, {}), std::exchange(made.points, {}), exec);
  }
  /// Voxels, each of which is one point too: what SPVNAS itself trains and evaluates on.
  /// @throws invalid_argument  x has other channels or no coordinates, what convolution() throws
  /// Stream: enqueues on `exec`; waits once for each coarser level's number of voxels.
  [[nodiscard]] Points forward(Tensor const& x, Execution<Space> const& exec)
  {
    expect_channels(x.channels());
    return run(x, points_of_voxels(x, exec), exec);
  }
  [[nodiscard]] Points operator()(Points const& z, Execution<Space> const& exec) { return forward(z, exec); }
  [[nodiscard]] Points operator()(Tensor const& x, Execution<Space> const& exec) { return forward(x, exec); }

  [[nodiscard]] SPVNASConfig const& config() const noexcept { return config_; }

 private:
  friend class SPVNASSupernet<Dim, Scalar, Space>;
  using Stage = detail::SPVNASStage<Dim, Scalar, Space>;
  using Transform = nn::PointTransform<Dim, Scalar, Space>;
  using Layers = std::vector<detail::ElasticLayer<Dim, Scalar, Space>>;

  SPVNAS(SPVNASConfig const& config, detail::SPVNASNames const& names,
         std::optional<ConvConfig> const& conv_config, std::uint64_t seed, Execution<Space> const& exec)
      : config_{config}, conv_config_{conv_config}, dropouts_{{{0.3, seed}, {0.3, seed + 1}}}
  {
    detail::check_config(config, "SPVNAS");
    detail::LayerFactory<Dim> factory{conv_config, seed};
    auto const math = conv_config ? conv_config->math : MathMode::exact;
    auto const linear = [&](int in, int out) {
      return LinearOptions{in, out}.math(math).seed(factory.next_seed());
    };
    auto const& c = config.output_channels;
    parts_.emplace_back();
    for (int i = 0; i < 2; ++i) {
      auto conv = std::make_unique<nn::Conv<Dim, Scalar, Space>>(
          factory.conv(i == 0 ? config.in_channels : c[0], c[0], 3), exec);
      auto norm = std::make_unique<nn::BatchNorm<Dim, Scalar, Space>>(c[0], exec);
      parts_.back().push_back({conv.get(), norm.get()});
      stem_.append(std::move(conv));
      stem_.append(std::move(norm));
      stem_.append(std::make_unique<nn::ReLU<Dim, Scalar, Space>>());
    }
    this->register_child("stem", stem_);
    auto const add_stage = [&](std::vector<std::unique_ptr<Stage>>& to, char const* name, int in, int skip,
                               int out, SPVNASConfig::Stage const& stage) {
      bool const is_up = skip > 0;
      // parts of a stage of fewer blocks keep their places
      auto const first = parts_.size();
      to.push_back(std::make_unique<Stage>(in, skip, out, stage, is_up, factory, names, parts_, exec));
      parts_.resize(first + 1 + SPVNASConfig::most_blocks);
      this->register_child(name + std::to_string(to.size() - 1), *to.back());
    };
    for (std::size_t i = 0; i < SPVNASConfig::num_stages; ++i) {
      add_stage(down_, "downsample.", c[i], 0, c[i + 1], config.down[i]);
    }
    for (std::size_t i = 0; i < SPVNASConfig::num_stages; ++i) {
      add_stage(up_, "upsample.", c[i + 4], c[3 - i], c[i + 5], config.up[i]);
    }
    constexpr std::size_t meets[] = {0, 4, 6, 8};
    for (std::size_t k = 0; k < 3; ++k) {
      transforms_.push_back(std::make_unique<Transform>(linear(c[meets[k]], c[meets[k + 1]]), exec,
                                                        nn::PointTransformNames{names.linear, names.norm}));
      this->register_child("point_transforms." + std::to_string(k), *transforms_.back());
    }
    classifier_ = std::make_unique<detail::LeadingLinear<Dim, Scalar, Space>>(
        linear(config.classifier_channels, config.num_classes), exec);
    this->register_child("classifier", *classifier_);
    this->register_child("dropout.0", dropouts_[0]);
    this->register_child("dropout.1", dropouts_[1]);
  }

  /// The parts as detail::point_unet() calls them.
  struct Voxels {
    SPVNAS& net;

    [[nodiscard]] Tensor stem(Tensor const& x, Execution<Space> const& exec)
    {
      return net.stem_.forward(x, exec);
    }
    [[nodiscard]] Tensor encode(std::size_t level, Tensor const& x, Execution<Space> const& exec)
    {
      return net.down_[level]->forward(x, nullptr, exec);
    }
    [[nodiscard]] Tensor decode(std::size_t level, Tensor x, Tensor const& skip, Execution<Space> const& exec)
    {
      return net.up_[level]->forward(std::exchange(x, {}), &skip, exec);
    }
  };

  void expect_channels(int channels) const
  {
    detail::expects(channels == config_.in_channels, "SPVNAS: the input has ", channels, " channels but ",
                    config_.in_channels, " were expected");
  }
  [[nodiscard]] Points run(Tensor voxels, Points points, Execution<Space> const& exec)
  {
    auto const compat = conv_config_ ? conv_config_->compat : thread_conv_config().compat;
    Voxels parts{*this};
    points =
        detail::point_unet(parts, transforms_, dropouts_, std::move(voxels), std::move(points), compat, exec);
    return classifier_->forward(points, exec);
  }

  SPVNASConfig config_;
  std::optional<ConvConfig> conv_config_;
  nn::Sequential<Dim, Scalar, Space> stem_;
  std::vector<std::unique_ptr<Stage>> down_;
  std::vector<std::unique_ptr<Stage>> up_;
  std::vector<std::unique_ptr<Transform>> transforms_;
  std::unique_ptr<detail::LeadingLinear<Dim, Scalar, Space>> classifier_;
  std::array<nn::Dropout<Dim, Scalar, Space>, 2> dropouts_;
  std::vector<Layers>
      parts_;  // the stem's layers, then for every stage its transition and each of its blocks
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
