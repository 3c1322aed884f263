// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/layer_progress.hpp"
#include "../support/passes.hpp"
#include "../support/segmentation_layers.hpp"
#include "../support/stopwatch.hpp"
#include "../support/transfer.hpp"
#include "segmentation.hpp"

#include <tessera/conv/tuning.hpp>
#include <tessera/nn/costs.hpp>
#include <tessera/tensor/labels.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace segment_scan {

namespace ts = tessera;
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
    constexpr int rows =
        ts::TunedTiles<ts::ScalarFamily::float16, true>::medium::rows;  // all tuned tiles have as many
    int const split_length = (map.volume() + config.splits - 1) / config.splits;
    int const splits = (map.volume() + split_length - 1) / split_length;
    static_cast<void>(ts::tile_map(map, config.sort && map.volume() > 1, splits, rows, exec));
  }
}

/// Makes the coordinates of all levels of a MinkUNet and all its kernel maps, which the coordinate set keeps
/// and the network finds there; it would make them itself. Here they are made first so that they can be
/// timed.
template <class Space>
void prepare_maps(ts::CoordinateSetPointer<3, Space> const& voxels, ts::ConvConfig const& config,
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
}

/// Why the task is not one CUDA graph; empty if it is.
template <class Space>
[[nodiscard]] std::string absence_of_plan(Task const& task)
{
  if constexpr (std::is_same_v<Space, ts::Host>) { return "the CPU has no CUDA graphs"; }
  if (task.options->config.dataflow != ts::Dataflow::implicit_gemm) {
    return "this dataflow waits for the host";
  }
  if (task.shape.has_range()) { return "spconv's networks end at each scan's largest voxel"; }
  if (task.cloud->empty()) { return "there are no points"; }
  return "";
}

/// The scan in host memory, and the way from there to labels in host memory, layer by layer.
template <class Space, class Scalar>
class Segmenter {
 public:
  using Tensor = ts::SparseTensor<3, Scalar, Space>;
  using Quantized = ts::QuantizedPoints<3, Scalar, Space>;
  static constexpr int num_stages = 4;
  static constexpr std::array<char const*, num_stages> stage_names{"voxelize", "maps", "network", "label"};

  Segmenter(Task const& task, ts::Execution<Space> const& exec)
      : task_{&task},
        exec_{&exec},
        positions_{program::staged<Space>(task.cloud->positions)},
        features_{program::staged<Space>(task.features)},
        labels_{static_cast<std::size_t>(task.cloud->size())}
  {}

  [[nodiscard]] program::Staging<float, Space> const& positions() const { return positions_; }
  [[nodiscard]] program::Staging<float, Space> const& features() const { return features_; }
  [[nodiscard]] program::Staging<std::int32_t, Space>& labels() { return labels_; }

  /// Voxels with the features of their first points, in the network's type.
  [[nodiscard]] Quantized voxelize() const
  {
    auto const& exec = *exec_;
    auto const num_points = task_->cloud->size();
    ts::Matrix<float, Space> positions{num_points, 3, exec};
    ts::Matrix<float, Space> features{num_points, task_->shape.in_channels, exec};
    positions_.upload(positions.data(), exec);
    features_.upload(features.data(), exec);
    return program::segmentation::voxelize<Scalar>(positions.view(), features.view(), task_->voxels,
                                                   task_->shape, exec);
  }

  /// The class of each point, in labels(): that of the largest logit of its voxel. Waits.
  void label(Tensor const& logits, Quantized const& voxels)
  {
    auto const& exec = *exec_;
    auto const labels = ts::gather(ts::argmax(logits.features(), exec), voxels.inverse, -1, exec);
    labels_.download(labels.data(), exec);
    exec.wait();
  }

  struct Pass {
    std::array<double, num_stages> milliseconds{};
    Tensor voxels;
    Tensor logits;
  };

  /// One pass, layer by layer.
  template <class Network>
  [[nodiscard]] Pass run(Network& net)
  {
    auto const& exec = *exec_;
    auto& progress = *task_->progress;
    Pass pass;
    Stopwatch<Space> watch{exec};
    progress.begin(stage_names[0]);
    auto voxels = voxelize();
    pass.voxels = {voxels.coordinates, std::move(voxels.features)};
    pass.milliseconds[0] = watch.lap();
    if (!task_->shape.backbone) {
      progress.begin(stage_names[1]);
      prepare_maps<Space>(voxels.coordinates, task_->options->config, exec);
      pass.milliseconds[1] = watch.lap();
    }
    {
      program::LayerProgress<Scalar, Space> layers{progress, stage_names[2], net};
      pass.logits = net.forward(pass.voxels, layers.execution(exec));
    }
    pass.milliseconds[2] = watch.lap();
    progress.begin(stage_names[3]);
    label(pass.logits, voxels);
    pass.milliseconds[3] = watch.lap();
    progress.end();
    return pass;
  }

 private:
  Task const* task_;
  ts::Execution<Space> const* exec_;
  program::Staging<float, Space> positions_;
  program::Staging<float, Space> features_;
  program::Staging<std::int32_t, Space> labels_;
};

}  // namespace segment_scan

#ifdef __CUDACC__
#include "planned.cuh"
#endif

namespace segment_scan {

/// Levels, and what --logits asks for, of a pass.
template <class Pass, class Space>
void describe(Pass const& pass, Options const& options, Segmentation& result,
              ts::Execution<Space> const& exec)
{
  pass.voxels.coordinates()->for_each_in_manager([&](auto const& level) {
    result.levels.push_back({ts::max_element(level.tensor_stride()), level.num_rows()});
  });
  if (options.logits.empty()) { return; }
  auto const values = pass.logits.features_on_host(exec);
  result.coordinates = pass.logits.coordinates_on_host(exec);
  result.logits.resize(values.size());
  std::transform(values.begin(), values.end(), result.logits.begin(),
                 [](auto value) { return static_cast<float>(value); });
}

/// Everything between reading and writing.
template <class Space, class Scalar>
[[nodiscard]] Segmentation segment(Task const& task, ts::Execution<Space> const& exec)
{
  auto& progress = *task.progress;
  progress.begin("load");
  auto const net =
      program::segmentation::make_network<Scalar, Space>(task.shape, *task.options, task.weights, exec);
  progress.end();
  task.network_made(ts::nn::num_parameters(*net));

  Segmenter<Space, Scalar> segmenter{task, exec};
  auto voxels = segmenter.voxelize();
  ts::SparseTensor<3, Scalar, Space> const x{voxels.coordinates, std::move(voxels.features)};
  if (task.weights == nullptr) {
    // Without training, batch normalisation has no statistics; those of this scan keep activations in scale.
    prepare_maps<Space>(x.coordinates(), task.options->config, exec);
    program::LayerProgress<Scalar, Space> layers{progress, "calibrate", *net};
    if (program::segmentation::enough_to_calibrate(x)) { ts::nn::calibrate(*net, x, layers.execution(exec)); }
  }
  auto fused = ts::nn::fuse(*net, x, exec);

  Segmentation result;
  result.no_plan = absence_of_plan<Space>(task);
  bool const planned = result.no_plan.empty();
  bool const timed = !planned || task.options->stages;
  program::TimedPasses<4> passes{timed ? task.repeat : 1};
  auto const pass = passes.run([&] { return segmenter.run(fused); });
  describe(pass, *task.options, result, exec);
#ifdef __CUDACC__
  if constexpr (std::is_same_v<Space, ts::Device>) {
    if (planned && pass.voxels.num_rows() == 0) {
      result.no_plan = "no point is in a voxel";
    } else if (planned) {
      try {
        result.planned = run_planned_on_voxels(task, fused, *pass.voxels.coordinates(), segmenter, exec);
      } catch (ts::invalid_argument const& error) {
        result.no_plan = error.what();
        static_cast<void>(segmenter.run(fused));  // labels() as they were
      }
    }
  }
#endif
  if (timed || !result.planned) { result.stages = passes.medians(segmenter.stage_names); }
  if (task.shape.backbone && !result.stages.empty()) {
    result.stages.erase(result.stages.begin() + 1);  // its maps are made in its layers
  }
  result.labels.assign(segmenter.labels().data(), segmenter.labels().data() + segmenter.labels().size());
  return result;
}

}  // namespace segment_scan
