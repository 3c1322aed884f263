// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/bev_layers.hpp"
#include "../support/network_input.hpp"
#include "../support/segmentation_layers.hpp"
#include "../support/transfer.hpp"
#include "engine.hpp"

#include <tessera/data/lidar_simulator.hpp>
#include <tessera/tensor/labels.hpp>

#ifdef __CUDACC__
#include "growing_plan.cuh"
#else
#include "growing_plan.hpp"
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace label_scans {

namespace ts = tessera;

/// What a network of random weights takes its statistics from, and every encoder the shape of its map: the
/// same scan in every process, so that what becomes of a scan does not depend on which other ones there are.
[[nodiscard]] inline ts::PointCloud typical_scan()
{
  ts::LidarOptions lidar;
  lidar.beams = 32;
  lidar.azimuth_steps = 512;
  return ts::simulate_lidar(lidar);
}

[[nodiscard]] inline std::int64_t count_parameters(ts::nn::ModuleBase& net)
{
  std::int64_t number = 0;
  for (auto const& parameter : net.parameters()) {
    if (parameter.role != ts::nn::ParameterRole::buffer) { number += parameter.size; }
  }
  return number;
}

/// What both engines have.
template <class Space>
class EngineOn : public Engine {
 public:
  explicit EngineOn(ts::Execution<Space> exec, int in_channels)
      : exec_{std::move(exec)}, in_channels_{in_channels}
  {}

  [[nodiscard]] std::shared_ptr<void> allocate(std::size_t bytes) const override
  {
    auto const staging = std::make_shared<program::Staging<std::uint8_t, Space>>(bytes);
    return {staging, staging->data()};
  }

 protected:
  /// Points of the host's memory on the device; `keep` holds them there.
  [[nodiscard]] ts::MatrixView<float const> bring(float const* points, std::int64_t num_points,
                                                  ts::Matrix<float, Space>& keep) const
  {
    if constexpr (std::is_same_v<Space, ts::Host>) {
      static_cast<void>(keep);
      return {points, num_points, in_channels_};
    } else {
      keep = ts::Matrix<float, Space>{num_points, in_channels_, exec_};
      program::copy_to(keep.data(), points, static_cast<std::size_t>(keep.size()), exec_);
      return keep.view();
    }
  }

  static constexpr Outcome planned{0, true, 0, 0};

  ts::Execution<Space> exec_;
  int in_channels_;
};

/// The class of each point: that of the largest logit of its voxel.
template <class Space, class Scalar>
class SegmentationEngine final : public EngineOn<Space> {
 public:
  using Network = ts::nn::Module<3, Scalar, Space>;
  using Tensor = ts::SparseTensor<3, Scalar, Space>;
  using Fused = ts::nn::TracedModel<Tensor>;

  SegmentationEngine(Task const& task, ts::Execution<Space> exec)
      : EngineOn<Space>{std::move(exec), task.in_channels()}, task_{*task.segmentation}
  {
    auto const* const weights = task_.weights ? &*task_.weights : nullptr;
    net_ =
        program::segmentation::make_network<Scalar, Space>(task_.shape, task_.options, weights, this->exec_);
    this->num_parameters_ = count_parameters(*net_);
    auto const x = typical_voxels();
    if (weights == nullptr) { calibrate(x); }
    fused_.emplace(ts::nn::fuse(*net_, x, this->exec_));
    if (task_.shape.has_range()) {
      this->plan_state_.no_plan = "spconv's networks end at each scan's largest voxel";
    } else {
      plan_.emplace(*fused_, task_.voxels, task.max_points, this->in_channels_);
    }
  }

  [[nodiscard]] Outcome run(float const* points, std::int64_t num_points, void* results) override
  {
    auto* const labels = static_cast<std::int32_t*>(results);
    if (plan_ && plan_->try_run(points, num_points, labels, this->exec_)) { return this->planned; }
    ts::Matrix<float, Space> keep;
    auto const rows = this->bring(points, num_points, keep);
    auto voxels = program::segmentation::voxelize<Scalar>(
        ts::StridedView<float const>{rows}.columns_from(0, 3), rows, task_.voxels, task_.shape, this->exec_);
    Tensor const x{voxels.coordinates, std::move(voxels.features)};
    auto const logits = fused_->forward(x, this->exec_);
    auto const classes = ts::argmax(logits.features(), this->exec_);
    auto const of_points = ts::gather(classes, voxels.inverse, -1, this->exec_);
    program::copy_to(labels, of_points.data(), static_cast<std::size_t>(num_points), this->exec_);
    this->exec_.wait();
    if (plan_) { this->plan_state_ = plan_->make_for(*x.coordinates(), this->exec_); }
    return {};
  }

 private:
  [[nodiscard]] Tensor typical_voxels() const
  {
    auto const cloud = typical_scan();
    std::vector<float> input;
    program::append_input(program::segmentation_channels(cloud, this->in_channels_, 1), cloud, input);
    auto const staged = program::staged<Space>(input);
    ts::Matrix<float, Space> keep;
    auto const rows = this->bring(staged.data(), cloud.size(), keep);
    auto voxels = program::segmentation::voxelize<Scalar>(
        ts::StridedView<float const>{rows}.columns_from(0, 3), rows, task_.voxels, task_.shape, this->exec_);
    return {voxels.coordinates, std::move(voxels.features)};
  }
  void calibrate(Tensor const& x)
  {
    static_cast<void>(net_->forward(x, this->exec_));  // makes the coarser levels
    if (program::segmentation::enough_to_calibrate(x)) { ts::nn::calibrate(*net_, x, this->exec_); }
  }

  SegmentationTask task_;
  std::unique_ptr<Network> net_;
  std::optional<Fused> fused_;
  std::optional<GrowingPlan<Fused, ts::QuantizeOptions<3>, Space>> plan_;
};

/// The dense map of an encoder, float, channels first.
template <class Space, class Scalar>
class EncoderEngine final : public EngineOn<Space> {
 public:
  using Network = program::bev::Encoder<Scalar, Space>;
  using Fused = ts::nn::TracedModel<ts::SparseTensor<3, Scalar, Space>, ts::DenseTensor<2, float, Space>>;

  EncoderEngine(Task const& task, ts::Execution<Space> exec)
      : EngineOn<Space>{std::move(exec), task.in_channels()},
        task_{*task.encoder},
        net_{task_.shape, this->exec_}
  {
    if (task_.weights) { net_.load(*task_.weights, this->exec_); }
    this->num_parameters_ = count_parameters(net_);
    auto const cloud = typical_scan();
    std::vector<float> input;
    program::append_input(program::detector_channels(cloud, this->in_channels_,
                                                     program::bev::highest_intensity(task_.shape.name),
                                                     task_.shape.name == "second_waymo", 0),
                          cloud, input);
    auto const staged = program::staged<Space>(input);
    ts::Matrix<float, Space> keep;
    auto const x = program::bev::voxelize<Scalar>(this->bring(staged.data(), cloud.size(), keep),
                                                  task_.voxels, this->exec_);
    if (!task_.weights && x.num_rows() > 1) { ts::nn::calibrate(net_, x, this->exec_); }
    fused_.emplace(ts::nn::fuse(ts::forward_bev<float>(net_, layout), x, this->exec_));
    this->map_shape_ = fused_->forward(x, this->exec_).shape();
    plan_.emplace(*fused_, task_.voxels, task.max_points, this->in_channels_);
  }

  [[nodiscard]] Outcome run(float const* points, std::int64_t num_points, void* results) override
  {
    auto* const map = static_cast<float*>(results);
    if (plan_->try_run(points, num_points, map, this->exec_)) { return this->planned; }
    ts::Matrix<float, Space> keep;
    auto const x =
        program::bev::voxelize<Scalar>(this->bring(points, num_points, keep), task_.voxels, this->exec_);
    auto const dense = fused_->forward(x, this->exec_);
    program::copy_to(map, dense.data(), static_cast<std::size_t>(dense.size()), this->exec_);
    this->exec_.wait();
    this->plan_state_ = plan_->make_for(*x.coordinates(), this->exec_);
    return {};
  }

 private:
  static constexpr auto layout = ts::DenseLayout::channels_first;

  EncoderTask task_;
  Network net_;
  std::optional<Fused> fused_;
  std::optional<GrowingPlan<Fused, ts::VoxelizeOptions, Space>> plan_;
};

/// The engine of a task.
template <class Space, class Scalar>
[[nodiscard]] std::unique_ptr<Engine> make_engine(Task const& task, ts::Execution<Space> const& exec)
{
  if (task.segmentation) { return std::make_unique<SegmentationEngine<Space, Scalar>>(task, exec); }
  return std::make_unique<EncoderEngine<Space, Scalar>>(task, exec);
}

}  // namespace label_scans
