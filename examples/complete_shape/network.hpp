// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "completion.hpp"

#include <tessera/kmap/coordinate_operations.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/ops/loss/add_losses.hpp>
#include <tessera/ops/loss/cross_entropy.hpp>
#include <tessera/ops/prune.hpp>
#include <tessera/tensor/labels.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace complete_shape {

namespace ts = tessera;

inline constexpr std::size_t num_levels = 5;  // strides 1, 2, 4, 8, 16
inline constexpr std::array<int, num_levels> level_channels{12, 16, 20, 24, 32};

struct FillFeatures {
  float* to;
  float value;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { to[i] = value; }
};
/// A constant and the position of each voxel's centre, the grid being from -1 to 1: what layers cannot see of
/// where they are.
struct WritePositions {
  ts::CoordinateView<3> voxels;
  float scale;  // of a voxel's side
  float* to;    // [voxels, 4]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    to[4 * i] = 1;
    for (int axis = 0; axis < 3; ++axis) {
      to[4 * i + 1 + axis] = (static_cast<float>(voxels[i].position[axis]) + 0.5F) * scale - 1;
    }
  }
};
struct LabelVoxels {
  float const* found;  // 1 where the voxel is of the shape
  std::int32_t* labels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { labels[i] = found[i] > 0 ? 1 : 0; }
};
/// What is predicted is kept and, while the network learns, what is right, so that each level learns from
/// more than the mistakes of those above it.
struct KeepVoxels {
  std::int32_t const* predicted;
  std::int32_t const* labels;  // or null
  std::uint8_t* mask;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    mask[i] = predicted[i] == 1 || (labels != nullptr && labels[i] == 1) ? 1 : 0;
  }
};

template <class Space>
using Voxels = ts::SparseTensor<3, float, Space>;

/// One channel of `value` on the voxels of a set.
template <class Space>
[[nodiscard]] Voxels<Space> constant_on(ts::CoordinateSetPointer<3, Space> const& set, float value,
                                        ts::Execution<Space> const& exec)
{
  ts::Matrix<float, Space> features{set->capacity(), 1, exec};
  ts::for_each(features.size(), FillFeatures{features.data(), value}, exec);
  return {set, std::move(features)};
}

/// Four channels on the voxels of a set: 1, and where they are.
template <class Space>
[[nodiscard]] Voxels<Space> positions_on(ts::CoordinateSetPointer<3, Space> const& set,
                                         ts::Execution<Space> const& exec)
{
  ts::Matrix<float, Space> features{set->capacity(), 4, exec};
  auto const scale = 2.0F / static_cast<float>(set->spatial_range()->extent[0]);
  ts::for_each(features.rows(), WritePositions{set->view(), scale, features.data()}, exec);
  return {set, std::move(features)};
}

/// The whole shape at every level, one channel of ones.
template <class Space>
[[nodiscard]] std::vector<Voxels<Space>> truth_at_levels(Voxels<Space> const& whole,
                                                         ts::Execution<Space> const& exec)
{
  std::vector<Voxels<Space>> levels{whole};
  while (levels.size() < num_levels) {
    auto const coarser = ts::downsample_coordinates(*levels.back().coordinates(), ts::IntArray<3>(2), exec);
    levels.push_back(constant_on<Space>(coarser, 1, exec));
  }
  return levels;
}

/// What a pass gives.
template <class Space>
struct Completion {
  Voxels<Space> voxels;                                 // of the finest level, kept
  std::vector<LevelCounts> levels;                      // coarsest first
  std::optional<ts::Matrix<float, Space>> loss;         // where there is a truth
  std::vector<ts::Buffer<std::int32_t, Space>> labels;  // which its gradient reads
};

/// Completes shapes. The encoder goes down to a few voxels, the largest grid's 2^3; there a generative
/// convolution makes all cells around them, and each level of the decoder splits what was kept into eight
/// children, adds what the encoder has there, and keeps the voxels that it takes for the shape's.
template <class Space>
class CompletionNet final : public ts::nn::ModuleBase {
  using Conv = ts::nn::Conv<3, float, Space>;
  using Block = ts::nn::SparseConvBlock<3, float, Space>;
  using Residual = ts::nn::SparseResBlock<3, float, Space>;
  using Options = ts::ConvOptions<3>;
  using Exec = ts::Execution<Space>;

 public:
  using Tensor = Voxels<Space>;

  CompletionNet(std::uint64_t seed, Exec const& exec)
      : seed_{seed * 1000}, class_weights_{ts::upload(std::vector<float>{1, 1.5F}, exec)}
  {
    auto const& c = level_channels;
    // [layers]
    stem_ = make<Block>("stem", options(4, c[0], 3), exec);
    for (std::size_t i = 0; i + 1 < num_levels; ++i) {
      auto const number = std::to_string(i);
      down_.push_back(make<Block>("down." + number, options(c[i], c[i + 1], 3).stride(2), exec));
      up_.push_back(make<Block>("up." + number, options(c[i + 1], c[i], 2).stride(2).generative(), exec));
      mix_.push_back(make<Residual>("mix." + number, options(c[i] + 4, c[i], 3), exec));
    }
    grow_ = make<Block>("grow", options(c.back() + 4, c.back(), 3).generative(), exec);
    // [layers]
    for (std::size_t i = 0; i < num_levels; ++i) {
      heads_.push_back(make<Conv>("head." + std::to_string(i), options(c[i], 2, 1).bias(true), exec));
    }
  }

  /// @param partial  one channel of ones, with a spatial range whose extents are multiples of 16
  /// @param truth    truth_at_levels(), or null
  [[nodiscard]] Completion<Space> forward(Voxels<Space> const& partial,
                                          std::vector<Voxels<Space>> const* truth, Exec const& exec)
  {
    std::vector<Voxels<Space>> skips{stem_->forward(positions_on<Space>(partial.coordinates(), exec), exec)};
    for (auto const& down : down_) { skips.push_back(down->forward(skips.back(), exec)); }

    Completion<Space> result;
    auto voxels = grow_->forward(with_positions(skips.back(), exec), exec);
    for (std::size_t level = num_levels; level-- > 0;) {
      if (level + 1 < num_levels) {
        // [level]
        auto const children = up_[level]->forward(voxels, exec);  // generative: all eight of each voxel
        auto const met = ts::add_by_coordinate({children, skips[level]}, ts::Join::outer, exec);
        voxels = mix_[level]->forward(with_positions(met, exec), exec);
        // [level]
      }
      auto const grown = voxels.num_rows();
      voxels = select(voxels, level, truth, result, exec);
      result.levels.push_back({1 << level, skips[level].num_rows(), grown, voxels.num_rows(),
                               truth != nullptr ? (*truth)[level].num_rows() : 0});
    }
    result.voxels = std::move(voxels);
    return result;
  }

 private:
  template <class Layer>
  std::unique_ptr<Layer> make(std::string const& name, Options const& layer, Exec const& exec)
  {
    auto result = std::make_unique<Layer>(layer, exec);
    this->register_child(name, *result);
    return result;
  }
  [[nodiscard]] static Voxels<Space> with_positions(Voxels<Space> const& x, Exec const& exec)
  {
    return ts::cat({x, positions_on<Space>(x.coordinates(), exec)}, exec);
  }
  // [config]
  /// MinkowskiEngine's geometry: kernels are centred, and coarser voxels are those that finer ones lie in.
  [[nodiscard]] Options options(int in, int out, int kernel_size)
  {
    ts::ConvConfig config;
    config.kmap = ts::KmapMode::hashmap;
    config.downsample = ts::DownsampleMode::minkowski;
    return Options(in, out, kernel_size).config(config).seed(seed_ += 10);
  }
  // [config]

  /// The voxels that are kept at a level; where there is a truth its loss is added.
  [[nodiscard]] Voxels<Space> select(Voxels<Space> const& x, std::size_t level,
                                     std::vector<Voxels<Space>> const* truth, Completion<Space>& result,
                                     Exec const& exec)
  {
    // [select]
    auto const logits = heads_[level]->forward(x, exec);  // of empty and of occupied
    ts::Buffer<std::int32_t, Space> labels;
    if (truth != nullptr) {
      labels = labels_of(x, (*truth)[level], exec);
      // A voxel in doubt is kept: what is wrong costs the IoU less than what is missing.
      auto const weights = ts::CrossEntropyOptions<float>().class_weights(class_weights_.data());
      auto loss = ts::cross_entropy(logits, labels, weights, exec);
      result.loss = result.loss ? ts::add_losses(*result.loss, 1, loss, 1, exec) : std::move(loss);
    }
    auto const predicted = ts::argmax(logits.features(), exec);
    ts::Matrix<std::uint8_t, Space> mask{x.capacity(), 1, exec};
    auto const* const right = this->is_training() && truth != nullptr ? labels.data() : nullptr;
    ts::for_each(mask.rows(), KeepVoxels{predicted.data(), right, mask.data()}, exec);
    auto kept = ts::prune(x, mask, exec);
    // [select]
    if (truth != nullptr) { result.labels.push_back(std::move(labels)); }
    return kept;
  }

  /// 1 for voxels of `x` that `truth` has.
  [[nodiscard]] static ts::Buffer<std::int32_t, Space> labels_of(Voxels<Space> const& x,
                                                                 Voxels<Space> const& truth,
                                                                 Exec const& recording)
  {
    auto const exec = recording.without_recorder();
    auto const zeros = constant_on<Space>(x.coordinates(), 0, exec);
    auto const found = ts::add_by_coordinate({zeros, truth}, ts::Join::left, exec);
    ts::Buffer<std::int32_t, Space> labels{x.capacity(), exec};
    ts::for_each(labels.size(), LabelVoxels{found.features().data, labels.data()}, exec);
    return labels;
  }

  std::uint64_t seed_;
  ts::Buffer<float, Space> class_weights_;  // of empty and of occupied
  std::unique_ptr<Block> stem_;
  std::vector<std::unique_ptr<Block>> down_;  // [level] to the next coarser one
  std::vector<std::unique_ptr<Block>> up_;    // [level] from the next coarser one
  std::vector<std::unique_ptr<Residual>> mix_;
  std::unique_ptr<Block> grow_;
  std::vector<std::unique_ptr<Conv>> heads_;
};

}  // namespace complete_shape
