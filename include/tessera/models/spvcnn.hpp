// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/detail/point_unet.hpp>
#include <tessera/models/detail/unet.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/spvconv.hpp>

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

/// Options of an SPVCNN: `SPVCNNOptions(4, 19).width(0.5).voxel_size(0.05F)`.
struct SPVCNNOptions {
  SPVCNNOptions(int in, int classes) : in_channels{in}, num_classes{classes} {}

  /// Multiplies the channels 32, 32, 64, 128, 256, 256, 128, 96, 96.
  SPVCNNOptions& width(double value) { return width_ = value, *this; }
  [[nodiscard]] double width() const noexcept { return width_; }
  /// The unit of the points' positions, and the size of the voxels made of them: SPVNAS's `pres` and `vres`.
  SPVCNNOptions& voxel_size(float points, float voxels)
  {
    return point_unit_ = points, voxel_size_ = voxels, *this;
  }
  [[nodiscard]] float voxel_size() const noexcept { return voxel_size_; }
  [[nodiscard]] float point_unit() const noexcept { return point_unit_; }
  /// Run-time choices of all convolutions, and how points meet voxels (`compat`); without them those of the
  /// calling thread.
  SPVCNNOptions& config(ConvConfig const& value) { return config_ = value, *this; }
  [[nodiscard]] std::optional<ConvConfig> const& config() const noexcept { return config_; }
  /// Seed of the initial values.
  SPVCNNOptions& seed(std::uint64_t value) { return seed_ = value, *this; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

  int in_channels;
  int num_classes;

 private:
  double width_ = 1;
  float point_unit_ = 1;
  float voxel_size_ = 1;
  std::optional<ConvConfig> config_;
  std::uint64_t seed_ = 0;
};

namespace models {

/// The segmentation network SPVCNN of SPVNAS: MinkUNet with a branch on the points beside the voxels, which
/// meet at the stem, at the bottom, halfway up and at the end. forward() gives logits [num_points,
/// num_classes] on the points of the input, in their order.
///
/// Parameter names are those of SPVNAS's state_dict: MinkUNet's and `point_transforms.{0,1,2}.{0,1}.*`.
/// Networks trained in TorchSparse without a spatial range need `ConvConfig::compat = compat::torchsparse`.
///
/// Source: Tang et al., Searching Efficient 3D Architectures with Sparse Point-Voxel Convolution, ECCV 2020.
template <int Dim, class Scalar, class Space = Device>
class SPVCNN final : public nn::ModuleBase {
  static_assert(detail::layer::LayerArguments<Dim, Scalar, Space>::are_valid);

 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Points = PointTensor<Dim, Scalar, Space>;

  /// @throws invalid_argument  channels or classes below 1, a width that leaves none, sizes that are not
  ///                           positive
  /// Stream: enqueues the upload of the initial values.
  SPVCNN(SPVCNNOptions const& options, Execution<Space> const& exec)
      : SPVCNN{options, detail::LayerFactory<Dim>{options.config(), options.seed()}, exec}
  {}

  /// @throws invalid_argument  z has other channels than in_channels or no points, what initial_voxelize() and
  /// convolution() say
  /// Stream: enqueues on `exec`; waits for the numbers of voxels, once for each level and twice for the finest;
  /// for none where the points have room for their voxels (PointSet::voxel_room()).
  [[nodiscard]] Points forward(Points const& z, Execution<Space> const& exec)
  {
    detail::expect_points(z, "SPVCNN");
    expect_channels(z.channels());
    auto made = initial_voxelize(z, options_.point_unit(), options_.voxel_size(), exec);
    return run(std::exchange(made.voxels, {}), std::exchange(made.points, {}), exec);
  }
  /// Voxels, each of which is one point too: what SPVNAS trains and evaluates on.
  /// @throws invalid_argument  x has other channels or no coordinates, what convolution() throws
  /// Stream: enqueues on `exec`; waits once for each coarser level's number of voxels.
  [[nodiscard]] Points forward(Tensor const& x, Execution<Space> const& exec)
  {
    expect_channels(x.channels());
    return run(x, points_of_voxels(x, exec), exec);
  }
  [[nodiscard]] Points operator()(Points const& z, Execution<Space> const& exec) { return forward(z, exec); }

  [[nodiscard]] SPVCNNOptions const& options() const noexcept { return options_; }

 private:
  using Classifier = nn::Linear<Dim, Scalar, Space>;
  using Transform = nn::PointTransform<Dim, Scalar, Space>;

  void expect_channels(int channels) const
  {
    detail::expects(channels == options_.in_channels, "SPVCNN: the input has ", channels, " channels but ",
                    options_.in_channels, " were expected");
  }
  [[nodiscard]] Points run(Tensor voxels, Points points, Execution<Space> const& exec)
  {
    auto const compat = options_.config() ? options_.config()->compat : thread_conv_config().compat;
    points =
        detail::point_unet(unet_, transforms_, dropouts_, std::move(voxels), std::move(points), compat, exec);
    return classifier_->forward(points, exec);
  }

  SPVCNN(SPVCNNOptions const& options, detail::LayerFactory<Dim> layers, Execution<Space> const& exec)
      : options_{options},
        unet_{options.in_channels,
              detail::unet_channels(options.width(), "SPVCNN"),
              detail::minkunet_names(),
              layers,
              exec,
              [this](std::string const& name, nn::ModuleBase& part) { this->register_child(name, part); }},
        dropouts_{{{0.3, options.seed()}, {0.3, options.seed() + 1}}}
  {
    auto const c = detail::unet_channels(options.width(), "SPVCNN");
    auto const math = options.config() ? options.config()->math : MathMode::exact;
    auto const linear = [&](int in, int out) {
      return LinearOptions{in, out}.math(math).seed(layers.next_seed());
    };
    constexpr std::size_t level_of[] = {0, 4, 6, 8};  // where points and voxels meet
    for (std::size_t k = 0; k < 3; ++k) {
      transforms_.push_back(std::make_unique<Transform>(linear(c[level_of[k]], c[level_of[k + 1]]), exec));
      this->register_child("point_transforms." + std::to_string(k), *transforms_.back());
    }
    classifier_ = std::make_unique<Classifier>(linear(c[8], options.num_classes), exec);
    this->register_child("classifier.0", *classifier_);
    this->register_child("dropout.0", dropouts_[0]);
    this->register_child("dropout.1", dropouts_[1]);
  }

  SPVCNNOptions options_;
  detail::UNet<Dim, Scalar, Space> unet_;
  std::vector<std::unique_ptr<Transform>> transforms_;
  std::unique_ptr<Classifier> classifier_;
  std::array<nn::Dropout<Dim, Scalar, Space>, 2> dropouts_;
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
