// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/stopwatch.hpp"
#include "segmentation.hpp"

#ifdef __CUDACC__
#include <tessera/tessera.cuh>
#else
#include <tessera/tessera.hpp>
#endif
#include <tessera/conv/tuning.hpp>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace segment_scan {

namespace ts = tessera;
using program::median;
using program::Stopwatch;

/// Calls `body` with the kernel-map and downsample policies that `config` names.
template <class Body>
void with_policies(ts::ConvConfig const& config, Body const& body)
{
  bool const spconv = config.downsample == ts::DownsampleMode::spconv;
  if (config.kmap == ts::KmapMode::hashmap) {
    spconv ? body(ts::Hashmap{}, ts::SpconvDownsample{}) : body(ts::Hashmap{}, ts::MinkowskiDownsample{});
  } else {
    spconv ? body(ts::HashmapOnTheFly{}, ts::SpconvDownsample{})
           : body(ts::HashmapOnTheFly{}, ts::MinkowskiDownsample{});
  }
}

/// What the dataflow derives from a map before its first multiplication. Like the maps, it is kept.
template <class Space>
void prepare_map(ts::KernelMap<Space>& map, ts::ConvConfig const& config, ts::Execution<Space> const& exec)
{
  if (config.dataflow != ts::Dataflow::implicit_gemm) {
    static_cast<void>(ts::pair_list(map, exec));
  } else if constexpr (std::is_same_v<Space, ts::Device>) {
    constexpr int rows = ts::TunedTiles<2, true>::medium::rows;  // all tuned tiles have as many
    int const split_length = (map.volume() + config.splits - 1) / config.splits;
    int const splits = (map.volume() + split_length - 1) / split_length;
    static_cast<void>(ts::tile_map(map, config.sort && map.volume() > 1, splits, rows, exec));
  }
}

/// Makes the coordinates of all levels of a MinkUNet and all its kernel maps, which the coordinate set keeps
/// and the network finds there; it would make them itself. Here they are made first so that they can be
/// timed. Returns the coordinate sets, the finest first.
template <class Space>
[[nodiscard]] std::vector<ts::CoordinateSetPointer<3, Space>> prepare_maps(
    ts::CoordinateSetPointer<3, Space> const& voxels, ts::ConvConfig const& config,
    ts::Execution<Space> const& exec)
{
  ts::ConvolutionGeometry<3> block;  // the residual blocks' 3x3x3
  block.kernel_size = 3;
  ts::ConvolutionGeometry<3> pointwise;  // their shortcuts
  pointwise.kernel_size = 1;
  ts::ConvolutionGeometry<3> halve;  // 2x2x2 of stride 2, down and back up
  halve.kernel_size = 2;
  halve.stride = 2;

  std::vector<ts::CoordinateSetPointer<3, Space>> levels{voxels};
  with_policies(config, [&](auto kmap, auto downsample) {
    auto const map = [&](auto const& set, ts::ConvolutionKind kind,
                         ts::ConvolutionGeometry<3> const& geometry) {
      auto const mapped =
          ts::kernel_map<decltype(kmap), decltype(downsample)>(*set, kind, geometry, config.compat, exec);
      prepare_map(*mapped.map, config, exec);
      return mapped.coordinates;
    };
    for (int level = 0; level < 5; ++level) {
      auto const set = levels.back();
      map(set, ts::ConvolutionKind::submanifold, block);
      map(set, ts::ConvolutionKind::submanifold, pointwise);
      if (level < 4) { levels.push_back(map(set, ts::ConvolutionKind::strided, halve)); }
    }
    for (std::size_t level = 4; level > 0; --level) {
      map(levels[level], ts::ConvolutionKind::transposed, halve);
    }
  });
  return levels;
}

/// The class of the largest logit of each row; -1 where all are NaN.
template <class Scalar>
[[nodiscard]] std::vector<std::int32_t> largest_of_rows(std::vector<Scalar> const& logits, int classes)
{
  std::vector<std::int32_t> result(logits.size() / static_cast<std::size_t>(classes), -1);
  for (std::size_t row = 0; row < result.size(); ++row) {
    auto best = -std::numeric_limits<float>::infinity();
    for (std::int32_t c = 0; c < classes; ++c) {
      auto const index = row * static_cast<std::size_t>(classes) + static_cast<std::size_t>(c);
      auto const value = static_cast<float>(logits[index]);
      if (value > best) {
        best = value;
        result[row] = c;
      }
    }
  }
  return result;
}

/// Everything between reading and writing.
template <class Space, class Scalar>
[[nodiscard]] Segmentation segment(Task const& task, ts::Execution<Space> const& exec)
{
  auto const& options = *task.options;
  auto const& config = options.config;
  ts::models::MinkUNet<3, Scalar, Space> net(
      ts::models::MinkUNetOptions(task.shape.in_channels, task.shape.num_classes)
          .width(task.shape.width)
          .config(config)
          .seed(options.seed),
      exec);
  Segmentation result;
  for (auto const& parameter : net.parameters()) {
    if (parameter.role != ts::nn::ParameterRole::buffer) { result.num_parameters += parameter.size; }
  }

  auto const voxelize = [&] {
    std::vector<Scalar> measured(task.features.size());
    std::transform(task.features.begin(), task.features.end(), measured.begin(),
                   [](float value) { return static_cast<Scalar>(value); });
    auto const positions = ts::upload_matrix(task.cloud->positions, 3, exec);
    auto const features = ts::upload_matrix(measured, task.shape.in_channels, exec);
    auto const rule = ts::QuantizeOptions<3>(static_cast<float>(options.voxel_size))
                          .origin(ts::GridOrigin::lowest_voxel)
                          .rounding(options.rounding);
    return ts::sparse_quantize(ts::PointsView<Scalar>{positions, features}, rule, exec);
  };

  if (task.checkpoint != nullptr) {
    ts::io::load(net, *task.checkpoint, ts::io::TorchSparse{}, exec,
                 ts::io::LoadOptions().prefix(options.prefix));
  } else {
    // Without training, batch normalisation has no statistics; those of this scan keep activations in scale.
    auto voxels = voxelize();
    auto const levels = prepare_maps<Space>(voxels.coordinates, config, exec);
    bool const enough =
        std::all_of(levels.begin(), levels.end(), [](auto const& l) { return l->num_rows() > 1; });
    if (enough) {
      ts::nn::calibrate(
          net, ts::SparseTensor<3, Scalar, Space>{voxels.coordinates, std::move(voxels.features)}, exec);
    }
  }

  int const warm_up = task.repeat > 1 ? 1 : 0;
  std::vector<double> milliseconds[4];
  for (int run = -warm_up; run < task.repeat; ++run) {
    Stopwatch<Space> watch{exec};
    auto voxels = voxelize();
    double const voxelized = watch.lap();
    auto const levels = prepare_maps<Space>(voxels.coordinates, config, exec);
    double const mapped = watch.lap();
    auto const logits =
        net(ts::SparseTensor<3, Scalar, Space>{voxels.coordinates, std::move(voxels.features)}, exec);
    double const computed = watch.lap();
    auto const values = logits.features_on_host(exec);
    auto const inverse = ts::download(voxels.inverse, exec);
    auto const classes = largest_of_rows(values, task.shape.num_classes);
    result.labels.resize(inverse.size());
    std::transform(inverse.begin(), inverse.end(), result.labels.begin(),
                   [&](std::int32_t row) { return row < 0 ? -1 : classes[static_cast<std::size_t>(row)]; });
    double const labelled = watch.lap();

    if (run >= 0) {
      double const laps[] = {voxelized, mapped, computed, labelled};
      for (int stage = 0; stage < 4; ++stage) { milliseconds[stage].push_back(laps[stage]); }
    }
    if (run + 1 < task.repeat) { continue; }
    for (auto const& level : levels) {
      result.levels.push_back({level->tensor_stride()[0], level->num_rows()});
    }
    if (!options.logits.empty()) {
      result.coordinates = logits.coordinates_on_host(exec);
      result.logits.resize(values.size());
      std::transform(values.begin(), values.end(), result.logits.begin(),
                     [](Scalar value) { return static_cast<float>(value); });
    }
  }
  char const* const names[] = {"voxelize", "maps", "network", "label"};
  for (int stage = 0; stage < 4; ++stage) {
    result.stages.push_back({names[stage], median(milliseconds[stage])});
  }
  return result;
}

}  // namespace segment_scan
