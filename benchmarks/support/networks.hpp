// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// The networks that are measured, as lists of their convolutions: what their floors are computed from.

#include "floor.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/models/sparse_encoder_options.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

namespace ts = tessera;

/// One convolution: inside a level, from a level to the next coarser one, or back.
struct NetworkLayer {
  enum class Kind : std::uint8_t { submanifold, pointwise, down, up };

  Kind kind;
  int level;  ///< the finer one of the two
  int in_channels;
  int out_channels;
};

struct Network {
  std::vector<NetworkLayer> layers;
  std::vector<ts::ConvolutionGeometry<3>> downs;  ///< [levels - 1]
};

[[nodiscard]] inline ts::ConvolutionGeometry<3> geometry_of(ts::IntArray<3> size, ts::IntArray<3> stride,
                                                            ts::IntArray<3> padding)
{
  ts::ConvolutionGeometry<3> g;
  g.kernel_size = size;
  g.stride = stride;
  g.padding = padding;
  return g;
}

/// MinkUNet without its classifier, a dense layer.
[[nodiscard]] inline Network minkunet_layers(int in, double width)
{
  using Kind = NetworkLayer::Kind;
  std::array<int, 9> channels{32, 32, 64, 128, 256, 256, 128, 96, 96};
  for (int& c : channels) { c = static_cast<int>(c * width); }
  Network network;
  network.downs.assign(4, geometry_of(2, 2, 0));
  auto const add = [&](Kind kind, int level, int from, int to) {
    network.layers.push_back({kind, level, from, to});
  };
  auto const add_block = [&](int level, int from, int to) {
    add(Kind::submanifold, level, from, to);
    add(Kind::submanifold, level, to, to);
    if (from != to) { add(Kind::pointwise, level, from, to); }
  };
  add(Kind::submanifold, 0, in, channels[0]);
  add(Kind::submanifold, 0, channels[0], channels[0]);
  for (std::size_t k = 0; k < 4; ++k) {
    int const level = static_cast<int>(k);
    add(Kind::down, level, channels[k], channels[k]);
    add_block(level + 1, channels[k], channels[k + 1]);
    add_block(level + 1, channels[k + 1], channels[k + 1]);
  }
  for (std::size_t k = 0; k < 4; ++k) {
    int const level = 3 - static_cast<int>(k);
    add(Kind::up, level, channels[k + 4], channels[k + 5]);
    add_block(level, channels[k + 5] + channels[3 - k], channels[k + 5]);
    add_block(level, channels[k + 5], channels[k + 5]);
  }
  return network;
}

/// An encoder of residual blocks, CenterPoint's for instance.
[[nodiscard]] inline Network encoder_layers(ts::SparseEncoderOptions const& options)
{
  using Kind = NetworkLayer::Kind;
  Network network;
  int channels = options.base();
  network.layers.push_back({Kind::submanifold, 0, options.in_channels, channels});
  int level = 0;
  auto const& stages = options.channels();
  for (std::size_t i = 0; i < stages.size(); ++i) {
    for (std::size_t j = 0; j < stages[i].size(); ++j) {
      bool const strided = j + 1 == stages[i].size() && i + 1 < stages.size();
      if (strided) {
        network.downs.push_back(geometry_of(3, 2, options.paddings()[i][j]));
        network.layers.push_back({Kind::down, level++, channels, stages[i][j]});
      } else {
        network.layers.insert(network.layers.end(), 2, {Kind::submanifold, level, channels, channels});
      }
      channels = stages[i][j];
    }
  }
  ts::IntArray<3> size(1);
  ts::IntArray<3> stride(1);
  size[options.axis()] = 3;
  stride[options.axis()] = 2;
  network.downs.push_back(geometry_of(size, stride, 0));
  network.layers.push_back({Kind::down, level, channels, options.out()});
  return network;
}

/// The channels of spconv's benchmark network, before and after each level.
inline constexpr std::array<int, 8> spconv_benchmark_channels{3, 64, 96, 128, 160, 192, 224, 256};

/// spconv's benchmark network: seven levels of two submanifold convolutions. Between two levels is a max
/// pool, which counts for the floor by its map alone.
[[nodiscard]] inline Network spconv_benchmark_layers()
{
  using Kind = NetworkLayer::Kind;
  Network network;
  auto const& channels = spconv_benchmark_channels;
  network.downs.assign(channels.size() - 2, geometry_of(2, 2, 0));
  for (std::size_t k = 0; k + 1 < channels.size(); ++k) {
    int const level = static_cast<int>(k);
    network.layers.push_back({Kind::submanifold, level, channels[k], channels[k + 1]});
    network.layers.push_back({Kind::submanifold, level, channels[k + 1], channels[k + 1]});
  }
  return network;
}

/// The channels of the decoder that is shaped as TRELLIS.2's, from the coarsest level on.
inline constexpr std::array<int, 5> shape_decoder_channels{1024, 512, 256, 128, 64};
inline constexpr int shape_decoder_inputs = 32;
inline constexpr int shape_decoder_outputs = 7;
/// Residual blocks of each level but the finest: a convolution, and two layers of rows around four times the
/// channels.
inline constexpr int shape_decoder_blocks = 2;

/// That decoder, from the finest level's view. Channels that become children count as the map of a strided
/// convolution.
[[nodiscard]] inline Network shape_decoder_layers()
{
  using Kind = NetworkLayer::Kind;
  Network network;
  auto const& channels = shape_decoder_channels;
  int const coarsest = static_cast<int>(channels.size()) - 1;
  network.downs.assign(channels.size() - 1, geometry_of(2, 2, 0));
  network.layers.push_back({Kind::pointwise, coarsest, shape_decoder_inputs, channels[0]});
  for (std::size_t k = 0; k + 1 < channels.size(); ++k) {
    int const level = coarsest - static_cast<int>(k);
    int const c = channels[k];
    for (int block = 0; block < shape_decoder_blocks; ++block) {
      network.layers.push_back({Kind::submanifold, level, c, c});
      network.layers.push_back({Kind::pointwise, level, c, 4 * c});
      network.layers.push_back({Kind::pointwise, level, 4 * c, c});
    }
    network.layers.push_back({Kind::submanifold, level, c, 8 * channels[k + 1]});
    network.layers.push_back({Kind::submanifold, level - 1, channels[k + 1], channels[k + 1]});
  }
  network.layers.push_back({Kind::pointwise, 0, channels.back(), shape_decoder_outputs});
  return network;
}

/// Entries of a map in use: pairs of an input and an output row.
/// Stream: waits.
template <class Space>
[[nodiscard]] std::int64_t count_pairs(ts::KernelMap<Space> const& map, ts::Execution<Space> const& exec)
{
  std::int64_t pairs = 0;
  for (auto const in : ts::download(map.out_in(exec), map.num_out() * map.volume(), exec)) {
    pairs += in >= 0;
  }
  return pairs;
}

/// What `network` has to do on `set`. A submanifold map is five steps (table, neighbours, three of the
/// order), a strided one four (outputs, neighbours, two of the order).
/// Stream: waits.
template <class Space>
[[nodiscard]] Work network_work(Network const& network, ts::CoordinateSet<3, Space>& set, int scalar_bytes,
                                ts::Execution<Space> const& exec)
{
  constexpr int steps_inside = 5;
  constexpr int steps_down = 4;
  struct Level {
    std::int64_t rows = 0;
    std::int64_t inside = 0;  // pairs of its submanifold map, if any layer has it
    std::int64_t down = 0;    // of the map to the next level
  };
  Work work;
  std::vector<Level> levels;
  auto level = set.shared();
  for (std::size_t k = 0; k <= network.downs.size(); ++k) {
    Level found;
    found.rows = level->num_rows();
    for (auto const& layer : network.layers) {
      if (layer.kind != NetworkLayer::Kind::submanifold || layer.level != static_cast<int>(k)) { continue; }
      auto const map =
          ts::kernel_map(*level, ts::ConvolutionKind::submanifold, {}, ts::compat::none, exec).map;
      found.inside = count_pairs(*map, exec);
      work.add_steps(steps_inside);
      break;
    }
    if (k < network.downs.size()) {
      auto const mapped =
          ts::kernel_map(*level, ts::ConvolutionKind::strided, network.downs[k], ts::compat::none, exec);
      found.down = count_pairs(*mapped.map, exec);
      work.add_steps(steps_down);
      level = mapped.coordinates;
    }
    levels.push_back(found);
  }
  for (auto const& layer : network.layers) {
    auto const& at = levels[static_cast<std::size_t>(layer.level)];
    auto const pairs = layer.kind == NetworkLayer::Kind::submanifold ? at.inside
                       : layer.kind == NetworkLayer::Kind::pointwise ? at.rows
                                                                     : at.down;
    work.add({pairs, layer.in_channels, layer.out_channels, scalar_bytes});
  }
  return work;
}

}  // namespace bench
