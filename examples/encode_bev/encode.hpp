// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/bev_layers.hpp"
#include "../support/layer_progress.hpp"
#include "../support/passes.hpp"
#include "../support/stopwatch.hpp"
#include "../support/transfer.hpp"
#include "encoding.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace encode_bev {

namespace ts = tessera;
using program::Stopwatch;
using program::bev::Encoder;

/// The points in host memory, and the way from there to the map.
template <class Space, class Scalar>
class BevEncoder {
 public:
  using Tensor = ts::SparseTensor<3, Scalar, Space>;
  static constexpr int num_stages = 4;
  static constexpr std::array<char const*, num_stages> stage_names{"upload", "voxelize", "encode", "bev"};

  BevEncoder(Task const& task, ts::Execution<Space> const& exec)
      : task_{&task},
        exec_{&exec},
        points_{program::staged<Space>(task.points)},
        layout_{task.options->channels_last ? ts::DenseLayout::channels_last
                                            : ts::DenseLayout::channels_first}
  {}

  [[nodiscard]] program::Staging<float, Space> const& points() const { return points_; }
  [[nodiscard]] ts::DenseLayout layout() const { return layout_; }

  [[nodiscard]] ts::Matrix<float, Space> upload() const
  {
    ts::Matrix<float, Space> points{task_->num_points(), task_->network.encoder.in_channels, *exec_};
    points_.upload(points.data(), *exec_);
    return points;
  }
  [[nodiscard]] Tensor voxelize(ts::Matrix<float, Space> const& points) const
  {
    return program::bev::voxelize<Scalar>(points.view(), task_->voxels, *exec_);
  }

  struct Pass {
    std::array<double, num_stages> milliseconds{};
    Tensor voxels;
    Tensor sparse;
    std::optional<ts::DenseTensor<2, float, Space>> map;
  };

  /// One pass, layer by layer.
  /// @param fused  what nn::fuse() made of `net`
  template <class Fused>
  [[nodiscard]] Pass run(Fused& fused, Encoder<Scalar, Space>& net) const
  {
    auto& progress = *task_->progress;
    Pass pass;
    Stopwatch<Space> watch{*exec_};
    progress.begin(stage_names[0]);
    auto const points = upload();
    pass.milliseconds[0] = watch.lap();
    progress.begin(stage_names[1]);
    pass.voxels = voxelize(points);
    pass.milliseconds[1] = watch.lap();
    {
      program::LayerProgress<Scalar, Space> layers{progress, stage_names[2], fused};
      pass.sparse = fused.forward(pass.voxels, layers.execution(*exec_));
    }
    pass.milliseconds[2] = watch.lap();
    progress.begin(stage_names[3]);
    pass.map.emplace(net.bev(pass.sparse, *exec_, layout_));
    pass.milliseconds[3] = watch.lap();
    progress.end();
    return pass;
  }

 private:
  Task const* task_;
  ts::Execution<Space> const* exec_;
  program::Staging<float, Space> points_;
  ts::DenseLayout layout_;
};

}  // namespace encode_bev

#ifdef __CUDACC__
#include "planned.cuh"
#endif

namespace encode_bev {

/// What a pass came to, for the report and the files.
template <class Scalar, class Space, class Pass>
void describe(Pass const& pass, Encoder<Scalar, Space>& net, Task const& task, Encoding& result,
              ts::Execution<Space> const& exec)
{
  result.num_voxels = pass.voxels.num_rows();
  result.num_sites = pass.sparse.num_rows();
  result.shape = pass.map->shape();
  result.map = ts::download(pass.map->data(), pass.map->size(), exec);
  if (task.options->voxel_features.empty()) { return; }
  auto const decoded = net.decode(pass.voxels, exec);
  result.coordinates = decoded.coordinates_on_host(exec);
  result.voxel_channels = static_cast<int>(decoded.channels());
  auto const values = decoded.features_on_host(exec);
  result.voxel_features.resize(values.size());
  std::transform(values.begin(), values.end(), result.voxel_features.begin(),
                 [](Scalar value) { return static_cast<float>(value); });
}

/// Why the task is not one CUDA graph; empty if it is.
template <class Space>
[[nodiscard]] std::string absence_of_plan(Task const& task)
{
  if constexpr (std::is_same_v<Space, ts::Host>) { return "the CPU has no CUDA graphs"; }
  if (task.num_points() == 0) { return "there are no points"; }
  return "";
}

/// Everything between reading and writing.
template <class Space, class Scalar>
[[nodiscard]] Encoding encode(Task const& task, ts::Execution<Space> const& exec)
{
  auto& progress = *task.progress;
  progress.begin("load");
  Encoder<Scalar, Space> net{task.network, exec};
  if (task.weights != nullptr) { net.load(*task.weights, exec); }
  std::int64_t num_parameters = 0;
  for (auto const& parameter : net.parameters()) {
    if (parameter.role != ts::nn::ParameterRole::buffer) { num_parameters += parameter.size; }
  }
  progress.end();
  task.network_made(num_parameters);

  BevEncoder<Space, Scalar> const encoder{task, exec};
  auto const x = encoder.voxelize(encoder.upload());
  if (task.weights == nullptr) {
    // Without training, batch normalisation has no statistics; those of this scan keep activations in scale.
    program::LayerProgress<Scalar, Space> layers{progress, "calibrate", net};
    if (x.num_rows() > 1) { ts::nn::calibrate(net, x, layers.execution(exec)); }
  }
  auto const fused = ts::nn::fuse(net, x, exec);

  Encoding result;
  result.no_plan = absence_of_plan<Space>(task);
  bool const planned = result.no_plan.empty();
  bool const timed = !planned || task.options->stages;
  program::TimedPasses<4> passes{timed ? task.repeat : 1};
  auto const pass = passes.run([&] { return encoder.run(fused, net); });
  describe(pass, net, task, result, exec);
#ifdef __CUDACC__
  if constexpr (std::is_same_v<Space, ts::Device>) {
    if (planned) {
      try {
        result.planned = run_planned(task, net, *pass.voxels.coordinates(), encoder, result.map, exec);
      } catch (ts::invalid_argument const& error) {
        result.no_plan = error.what();
      }
    }
  }
#endif
  if (timed || !result.planned) { result.stages = passes.medians(encoder.stage_names); }
  return result;
}

}  // namespace encode_bev
