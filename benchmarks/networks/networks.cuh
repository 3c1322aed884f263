// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/eager.cuh"
#include "../support/networks.hpp"
#include "../support/session.cuh"

#include <tessera/tessera.cuh>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// Measures every network that the filter lets pass. Each precision is a source of its own, so that the
/// compiler gets a part at a time.
void measure_half(Session& session);
void measure_bfloat16(Session& session);
void measure_float(Session& session, ts::MathMode math);

/// The same of networks from points to labels of points.
void measure_points(Session& session);

/// The same of a decoder that splits voxels.
void measure_decoder(Session& session);

/// Times `model` on one scan: coordinates and features on the device in, the last layer's features on the
/// device out, kernel maps included.
template <class Scalar>
class NetworkBenchmark {
 public:
  /// @param pool  of nothing but what a frame asks for; weights and scans lie elsewhere
  /// @param work  network_work()
  NetworkBenchmark(Session& session, Voxels const& voxels, Work const& work, Result result,
                   ts::PoolMemoryResource& pool)
      : session_{session},
        pool_{pool},
        map_streams_{session.exec().stream()},
        pooled_{ts::Execution<ts::Device>{session.exec().stream(), &pool}.with_map_streams(map_streams_)},
        result_{std::move(result)},
        range_{1, voxels.grid},
        tensor_stride_{voxels.tensor_stride},
        channels_{voxels.channels},
        rows_{ts::upload(voxels.rows, session.exec())},
        work_{work}
  {
    std::vector<Scalar> features;
    for (float const value : voxels.features) { features.push_back(static_cast<Scalar>(value)); }
    features_ = ts::upload_matrix(features, channels_, session.exec());
    if (sizeof(Scalar) == 2) { result_.floor_ms = work_.floor_ms(); }
    result_.rows = voxels.size();
  }

  /// Layer by layer, as `variant`.
  template <class Model>
  void eager(Model& model, std::string const& variant)
  {
    auto result = variant_of(variant);
    if (!session_.wants(result)) { return; }
    measure_eager(session_, pool_, pooled_, std::move(result), CallTimes::batched, &work_,
                  [&](auto const& exec) { static_cast<void>(model.forward(scan(exec), exec)); });
  }

  /// Norms, activations and sums inside the convolutions.
  template <class Model>
  [[nodiscard]] auto fused(Model& model)
  {
    return ts::nn::fuse(model, scan(session_.exec()), session_.exec());
  }

  /// As one CUDA graph, with room for a tenth more voxels than there are; ten times as many calls, for the
  /// sake of the 99th percentile.
  template <class Model>
  void planned(Model& model, std::string const& variant)
  {
    auto result = variant_of(variant);
    if (!session_.wants(result)) { return; }
    auto const& exec = session_.exec();
    auto const x = scan(exec);
    static_cast<void>(model.forward(x, exec));  // derives the levels whose sizes the limits take
    ts::Plan plan(model, ts::PlanLimits().like(*x.coordinates(), 1.1).channels(channels_).grid(range_), exec);
    auto const call = [&] { static_cast<void>(plan.run(x, exec)); };
    call();
    session_.count(result, call, static_cast<std::int64_t>(plan.num_nodes()));
    result.peak_bytes = static_cast<std::int64_t>(plan.bytes());
    auto const calls = session_.options().calls;
    session_.add(result, "calls", session_.timer().calls(10 * calls, call), &work_);
    session_.add(result, "cold", session_.timer().cold(calls, call), &work_);
    session_.add(result, "batched", session_.timer().batched(std::max(1, calls / 10), 10, call), &work_);
    plan.check();
  }

  /// The same after nn::tune() on this scan: what defaults are measured against.
  template <class Model>
  void tuned(Model& model, std::string const& variant)
  {
    if (!session_.wants(variant_of(variant))) { return; }
    auto const& exec = session_.exec();
    static_cast<void>(ts::nn::tune(model, {scan(exec)}, ts::TuneOptions().quiet(), exec));
    planned(model, variant);
  }

 private:
  [[nodiscard]] Result variant_of(std::string const& variant) const
  {
    auto result = result_;
    result.variant = variant + " " + session_.options().precision;
    return result;
  }
  [[nodiscard]] ts::CoordinateSetOptions<3> set_options() const { return {tensor_stride_, range_}; }
  [[nodiscard]] ts::SparseTensor<3, Scalar> scan(ts::Execution<ts::Device> const& exec) const
  {
    return {{reinterpret_cast<std::int32_t const*>(rows_.data()), rows_.size(), 4},
            features_.view(),
            exec,
            set_options()};
  }

  Session& session_;
  ts::PoolMemoryResource& pool_;
  ts::MapStreams map_streams_;
  ts::Execution<ts::Device> pooled_;
  Result result_;
  ts::SpatialRange<3> range_;
  int tensor_stride_;
  int channels_;
  ts::Buffer<ts::Coordinate<3>, ts::Device> rows_;
  ts::Matrix<Scalar, ts::Device> features_;
  Work work_;
};

/// What a network has to do from `finest` on.
/// Stream: waits.
template <class Scalar>
[[nodiscard]] Work work_on(Network const& layers, Voxels const& finest, Session const& session)
{
  ts::CoordinateSetOptions<3> const options{1, ts::SpatialRange<3>{1, finest.grid}};
  auto const set = ts::make_coordinate_set(finest.rows, options, session.exec());
  return network_work(layers, *set, static_cast<int>(sizeof(Scalar)), session.exec());
}

/// Whether any of the variants of a case is asked for.
[[nodiscard]] inline bool wants_any(Session const& session, Result result,
                                    std::vector<std::string> const& variants)
{
  bool wanted = false;
  for (auto const& variant : variants) {
    result.variant = variant + " " + session.options().precision;
    wanted = wanted || session.wants(result);
  }
  return wanted;
}

/// Runs one network eager, fused, planned and tuned. `make(exec)` gives a pointer to the model.
template <class Scalar, class Make>
void measure_network(Session& session, std::string const& name, Voxels const& voxels, Network const& layers,
                     Make const& make)
{
  Result result;
  result.name = name;
  result.workload = voxels.name;
  if (!wants_any(session, result, {"eager", "fused eager", "fused planned", "fused tuned planned"})) {
    return;
  }
  ts::PoolMemoryResource pool{session.exec().device()};
  {
    auto const model = make(session.exec());
    NetworkBenchmark<Scalar> benchmark{session, voxels, work_on<Scalar>(layers, voxels, session), result,
                                       pool};
    benchmark.eager(*model, "eager");
    auto fused = benchmark.fused(*model);
    benchmark.eager(fused, "fused eager");
    benchmark.planned(fused, "fused planned");
    benchmark.tuned(fused, "fused tuned planned");
  }
  session.exec().wait();
}

template <class Scalar>
[[nodiscard]] auto spconv_benchmark_network(ts::ConvConfig const& config,
                                            ts::Execution<ts::Device> const& exec)
{
  auto network = std::make_unique<ts::nn::Sequential<3, Scalar>>();
  auto const& channels = spconv_benchmark_channels;
  for (std::size_t k = 0; k + 1 < channels.size(); ++k) {
    for (auto const in : {channels[k], channels[k + 1]}) {
      ts::nn::SubMConv<3> options(in, channels[k + 1], 3);
      options.bias(false).config(config);
      network->template add<ts::nn::Conv<3, Scalar>>(options, exec);
    }
    if (k + 2 < channels.size()) {
      network->template add<ts::nn::MaxPool<3, Scalar>>(ts::PoolOptions<3>(2).config(config));
    }
  }
  return network;
}

/// All networks with features of one type.
template <class Scalar>
void measure_networks(Session& session, ts::MathMode math)
{
  auto config = ts::thread_conv_config();
  config.math = math;
  using Exec = ts::Execution<ts::Device>;
  auto const minkunet = [&](double width) {
    return [&config, width](Exec const& exec) {
      return std::make_unique<ts::models::MinkUNet<3, Scalar>>(
          ts::MinkUNetOptions(4, 19).width(width).config(config), exec);
    };
  };
  auto const scan = semkitti(session.folder());
  measure_network<Scalar>(session, "MinkUNet 1.0", scan, minkunet_layers(4, 1.0), minkunet(1.0));
  measure_network<Scalar>(session, "MinkUNet 0.5", scan, minkunet_layers(4, 0.5), minkunet(0.5));
  for (auto const& sweeps : {nuscenes(session.folder()), nuscenes_frames(3)}) {
    measure_network<Scalar>(session, "MinkUNet 1.0", sweeps, minkunet_layers(4, 1.0), minkunet(1.0));
  }

  for (auto const& voxels : {ten_sweeps(session.folder()), waymo(1), waymo(3)}) {
    auto const encoder = ts::models::centerpoint(voxels.grid).config(config);
    measure_network<Scalar>(
        session, "CenterPoint encoder", voxels, encoder_layers(encoder),
        [&](Exec const& exec) { return std::make_unique<ts::models::SparseEncoder<Scalar>>(encoder, exec); });
  }

  for (int const copies : {1, 8}) {
    measure_network<Scalar>(session, "spconv benchmark network", spconv_benchmark(session.folder(), copies),
                            spconv_benchmark_layers(),
                            [&](Exec const& exec) { return spconv_benchmark_network<Scalar>(config, exec); });
  }
}

}  // namespace bench
