// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Networks from points on the device to the labels of the points: voxels, maps, layers, the largest logit.

#include "networks.cuh"

#include <tessera/ops/cast.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace bench {
namespace {

constexpr float voxel_size = 0.05F;

/// Times `run(exec)` eager, and a plan's runs; one scan, its points on the device.
class PointBenchmark {
 public:
  PointBenchmark(Session& session, Result result, Work const& work, ts::PoolMemoryResource& pool)
      : session_{session},
        pool_{pool},
        map_streams_{session.exec().stream()},
        pooled_{ts::Execution<ts::Device>{session.exec().stream(), &pool}.with_map_streams(map_streams_)},
        result_{std::move(result)},
        work_{work}
  {
    if (session.options().precision == "fp16" || session.options().precision == "bf16") {
      result_.floor_ms = work_.floor_ms();
    }
  }

  template <class Run>
  void eager(std::string const& variant, Run const& run)
  {
    auto result = variant_of(variant);
    if (!session_.wants(result)) { return; }
    measure_eager(session_, pool_, pooled_, std::move(result), CallTimes::single, &work_, run);
  }

  template <class Plan>
  void planned(std::string const& variant, Plan& plan, ts::MatrixView<float const> const& points)
  {
    auto result = variant_of(variant);
    auto const call = [&] { static_cast<void>(plan.run(points, session_.exec())); };
    call();
    session_.count(result, call, static_cast<std::int64_t>(plan.num_nodes()));
    result.peak_bytes = static_cast<std::int64_t>(plan.bytes());
    auto const calls = session_.options().calls;
    session_.add(result, "calls", session_.timer().calls(10 * calls, call), &work_);
    session_.add(result, "cold", session_.timer().cold(calls, call), &work_);
    plan.check();
  }
  [[nodiscard]] bool wants(std::string const& variant) const { return session_.wants(variant_of(variant)); }

 private:
  [[nodiscard]] Result variant_of(std::string const& variant) const
  {
    auto result = result_;
    result.variant = variant + " " + session_.options().precision;
    return result;
  }

  Session& session_;
  ts::PoolMemoryResource& pool_;
  ts::MapStreams map_streams_;
  ts::Execution<ts::Device> pooled_;
  Result result_;
  Work work_;
};

[[nodiscard]] ts::ConvConfig config_of(Session const& session)
{
  auto config = ts::thread_conv_config();
  if (session.options().precision == "tf32") { config.math = ts::MathMode::tf32; }
  return config;
}

[[nodiscard]] Result result_of(std::string const& name, Points const& points)
{
  Result result;
  result.name = name;
  result.workload = points.name;
  result.rows = points.size();
  return result;
}

/// MinkUNet: a point has the class of its voxel.
template <class Scalar>
void measure_minkunet(Session& session, Points const& points)
{
  auto const result = result_of("MinkUNet 1.0, points to labels", points);
  if (!wants_any(session, result, {"eager", "fused eager", "fused planned"})) { return; }
  auto const& exec = session.exec();
  ts::PoolMemoryResource pool{exec.device()};
  {
    PointBenchmark benchmark{
        session, result, work_on<Scalar>(minkunet_layers(4, 1.0), semkitti(session.folder()), session), pool};
    auto const rows = ts::upload_matrix(points.rows, points.columns, exec);
    auto const options = ts::QuantizeOptions<3>(voxel_size).origin(ts::GridOrigin::lowest_voxel);
    using Exec = ts::Execution<ts::Device>;
    auto const quantize = [&](Exec const& on) {
      ts::StridedView<float const> const all{rows};
      return ts::sparse_quantize(ts::PointsView<float>{all.columns_from(0, 3), all}, options, on);
    };
    using Tensor = ts::SparseTensor<3, Scalar>;
    auto const tensor_of = [&](auto const& voxels, Exec const& on) {
      return Tensor{voxels.coordinates, ts::cast<Scalar>(voxels.features.view(), on)};
    };
    ts::models::MinkUNet<3, Scalar> net{ts::MinkUNetOptions(4, 19).config(config_of(session)), exec};
    auto const sample = tensor_of(quantize(exec), exec);
    auto fused = ts::nn::fuse(net, sample, exec);
    auto const label = [&](auto& model, Exec const& on) {
      auto const voxels = quantize(on);
      auto const logits = model.forward(tensor_of(voxels, on), on);
      static_cast<void>(ts::gather(ts::argmax(logits.features(), on), voxels.inverse, -1, on));
    };
    benchmark.eager("eager", [&](Exec const& on) { label(net, on); });
    benchmark.eager("fused eager", [&](Exec const& on) { label(fused, on); });
    if (benchmark.wants("fused planned")) {
      static_cast<void>(fused.forward(sample, exec));  // derives the levels whose sizes the limits take
      auto const limits = ts::PlanLimits()
                              .like(*sample.coordinates(), 1.1)
                              .box(sample.coordinates()->box())
                              .channels(4)
                              .max_points(points.size())
                              .voxelize(options);
      ts::Plan plan{fused, limits, exec};
      benchmark.planned("fused planned", plan, rows.view());
    }
  }
  exec.wait();
}

/// SPVCNN: each point has a class of its own.
template <class Scalar>
void measure_spvcnn(Session& session, Points const& points)
{
  auto const result = result_of("SPVCNN 1.0, points to labels", points);
  if (!wants_any(session, result, {"eager", "fused eager", "fused planned"})) { return; }
  auto const& exec = session.exec();
  std::array<float, 3> lowest{1e9F, 1e9F, 1e9F};
  for (std::size_t i = 0; i < points.rows.size(); i += 4) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      lowest[axis] = std::min(lowest[axis], points.rows[i + axis]);
    }
  }
  std::vector<float> positions;  // [points, 4] batch entry and place
  std::vector<float> both;       // [points, 7] place and features
  for (std::size_t i = 0; i < points.rows.size(); i += 4) {
    positions.push_back(0);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      positions.push_back(points.rows[i + axis] - lowest[axis]);
    }
    both.insert(both.end(), positions.end() - 3, positions.end());
    auto const first = points.rows.begin() + static_cast<std::ptrdiff_t>(i);
    both.insert(both.end(), first, first + 4);
  }
  std::vector<Scalar> features;
  for (float const value : points.rows) { features.push_back(static_cast<Scalar>(value)); }
  ts::PoolMemoryResource pool{exec.device()};
  {
    PointBenchmark benchmark{
        session, result, work_on<Scalar>(minkunet_layers(4, 1.0), semkitti(session.folder()), session), pool};
    using Exec = ts::Execution<ts::Device>;
    auto const places = ts::upload_matrix(positions, 4, exec);
    auto const values = ts::upload_matrix(features, 4, exec);
    auto const columns = ts::upload_matrix(both, 7, exec);
    auto const tensor = [&](Exec const& on) {
      return ts::PointTensor<3, Scalar>{places.view(), values.view(), on};
    };
    ts::models::SPVCNN<3, Scalar> net{
        ts::SPVCNNOptions(4, 19).voxel_size(1, voxel_size).config(config_of(session)), exec};
    auto fused = ts::nn::fuse(net, tensor(exec), exec);
    auto const label = [&](auto& model, Exec const& on) {
      static_cast<void>(ts::argmax(model.forward(tensor(on), on).features(), on));
    };
    benchmark.eager("eager", [&](Exec const& on) { label(net, on); });
    benchmark.eager("fused eager", [&](Exec const& on) { label(fused, on); });
    if (benchmark.wants("fused planned")) {
      // the levels whose sizes the limits take, which a network of the same strides derives
      auto const voxels = ts::initial_voxelize(tensor(exec), 1, voxel_size, exec).voxels;
      static_cast<void>(
          ts::models::MinkUNet<3, Scalar>{ts::MinkUNetOptions(4, 19).width(0.1), exec}.forward(voxels, exec));
      auto const limits = ts::PlanLimits()
                              .like(*voxels.coordinates(), 1.1)
                              .box(voxels.coordinates()->box())
                              .channels(4)
                              .max_points(points.size())
                              .point_columns(7)
                              .model_voxelizes();
      ts::Plan plan{fused, limits, exec};
      benchmark.planned("fused planned", plan, columns.view());
    }
  }
  exec.wait();
}

template <class Scalar>
void measure_models(Session& session)
{
  auto const points = semkitti_points(session.folder());
  measure_minkunet<Scalar>(session, points);
  measure_spvcnn<Scalar>(session, points);
}

}  // namespace

void measure_points(Session& session)
{
  auto const& precision = session.options().precision;
  if (precision == "fp16") { return measure_models<__half>(session); }
  if (precision == "bf16") { return measure_models<__nv_bfloat16>(session); }
  measure_models<float>(session);
}

}  // namespace bench
