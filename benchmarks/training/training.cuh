// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/eager.cuh"
#include "../support/networks.hpp"
#include "../support/session.cuh"
#include "../support/thin_tracks.hpp"

#include <tessera/tessera.cuh>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// Measures training in one precision. Each is a source of its own, so that the compiler gets a part at a time.
void train_half(Session& session);
void train_bfloat16(Session& session);
/// The gradients of single layers.
void layer_gradients(Session& session);

/// The loss of a step: classes of voxels, or of what the voxels of a batch entry are on average.
template <class Scalar>
class ClassLoss {
 public:
  /// @param of_entries  [batch entries] in device memory, which outlives this; null: labels of voxels
  explicit ClassLoss(ts::Buffer<std::int32_t, ts::Device> const* of_entries) : of_entries_{of_entries} {}

  [[nodiscard]] auto operator()(ts::SparseTensor<3, Scalar> const& y, ts::ops::LabelsView const& labels,
                                ts::Execution<ts::Device> const& exec) const
  {
    ts::CrossEntropyOptions<float> const options;
    if (of_entries_ == nullptr) { return ts::cross_entropy(y, labels, options, exec); }
    return ts::cross_entropy(ts::global_average_pool(y, exec), *of_entries_, options, exec);
  }

 private:
  ts::Buffer<std::int32_t, ts::Device> const* of_entries_;
};

/// Times steps of `model` on one scan: coordinates and features on the device in, kernel maps included.
template <class Scalar>
class TrainingBenchmark {
 public:
  /// @param pool  of nothing but what a step asks for; weights, their gradients and scans lie elsewhere
  TrainingBenchmark(Session& session, Voxels const& voxels, Result result, bool of_entries,
                    ts::PoolMemoryResource& pool)
      : session_{session},
        pool_{pool},
        map_streams_{session.exec().stream()},
        pooled_{ts::Execution<ts::Device>{session.exec().stream(), &pool}.with_map_streams(map_streams_)},
        result_{std::move(result)},
        channels_{voxels.channels},
        rows_{ts::upload(voxels.rows, session.exec())}
  {
    range_.extent = voxels.grid;
    range_.batches = voxels.rows.empty() ? 1 : voxels.rows.back().batch + 1;
    std::vector<Scalar> features;
    for (float const value : voxels.features) { features.push_back(static_cast<Scalar>(value)); }
    features_ = ts::upload_matrix(features, channels_, session.exec());
    labels_ = ts::upload(std::vector<std::int32_t>(voxels.rows.size(), 1), session.exec());
    if (of_entries) {
      of_entries_ =
          ts::upload(std::vector<std::int32_t>(static_cast<std::size_t>(range_.batches), 1), session.exec());
    }
    result_.rows = voxels.size();
  }

  /// Forward and backward pass layer by layer, from a gradient of ones, as other libraries are timed.
  template <class Model>
  void eager(Model& model)
  {
    auto result = variant_of("eager");
    if (!session_.wants(result)) { return; }
    ts::Tape<ts::Device> tape;
    tape.watch(model);
    auto const ones = ones_like(model);
    auto const call = [&](ts::Execution<ts::Device> const& exec) {
      auto const y = model.forward(scan(exec), exec.with_recorder(tape));
      tape.backward(y, ones.view(), exec);
    };
    measure(result, call);
  }

  /// A whole step layer by layer, then as one CUDA graph, with room for a tenth more voxels than there are.
  /// Hundreds of steps on one scan: the rate is so low that networks without norms stay finite.
  template <class Model>
  void steps(Model& model)
  {
    auto by_hand = variant_of("eager step");
    auto planned = variant_of("planned step");
    if (!session_.wants(by_hand) && !session_.wants(planned)) { return; }
    auto const& exec = session_.exec();
    ts::train::ParameterArena<Scalar, ts::Device> arena{model, exec};
    auto options = ts::StepOptions{};
    if (std::is_same_v<Scalar, __half>) { options.loss_scaler(ts::train::LossScaler{}.initial(1024)); }
    ts::train::Optimizer optimizer{arena, ts::train::AdamW{}, ts::train::Schedule::constant(1e-8), options,
                                   exec};
    ClassLoss<Scalar> const loss{of_entries_.empty() ? nullptr : &of_entries_};
    ts::Tape<ts::Device> tape;
    tape.watch(model);
    auto const step = [&](ts::Execution<ts::Device> const& on) {
      optimizer.zero_grad(on);
      auto const recording = on.with_recorder(tape);
      auto const value = loss(model.forward(scan(on), recording), labels_, recording);
      tape.backward(value, optimizer.loss_gradient(), on);
      optimizer.step(on);
    };
    if (session_.wants(by_hand)) { measure(by_hand, step); }
    if (!session_.wants(planned)) { return; }
    auto const x = scan(exec);
    static_cast<void>(model.forward(x, exec));  // derives the levels whose sizes the limits take
    ts::TrainPlan plan{model, loss, optimizer,
                       ts::PlanLimits().like(*x.coordinates(), 1.1).channels(channels_).grid(range_), exec};
    auto const call = [&] { plan.run(x, labels_, exec); };
    call();
    session_.count(planned, call, static_cast<std::int64_t>(plan.num_nodes()));
    planned.peak_bytes = static_cast<std::int64_t>(plan.bytes());
    auto const calls = session_.options().calls;
    session_.add(planned, "calls", session_.timer().calls(calls, call));
    session_.add(planned, "batched", session_.timer().batched(std::max(1, calls / 10), 10, call));
    plan.check();
  }

 private:
  [[nodiscard]] Result variant_of(std::string const& variant) const
  {
    auto result = result_;
    result.variant = variant + " " + session_.options().precision;
    return result;
  }
  [[nodiscard]] ts::SparseTensor<3, Scalar> scan(ts::Execution<ts::Device> const& exec) const
  {
    return {{reinterpret_cast<std::int32_t const*>(rows_.data()), rows_.size(), 4},
            features_.view(),
            exec,
            {1, range_}};
  }
  /// A gradient of ones for what the model puts out.
  template <class Model>
  [[nodiscard]] ts::Matrix<Scalar, ts::Device> ones_like(Model& model) const
  {
    auto const& exec = session_.exec();
    auto const y = model.forward(scan(exec), exec);
    std::vector<Scalar> const ones(static_cast<std::size_t>(y.features().size()), static_cast<Scalar>(1.0F));
    return ts::upload_matrix(ones, y.channels(), exec);
  }
  template <class Call>
  void measure(Result result, Call const& run)
  {
    measure_eager(session_, pool_, pooled_, std::move(result), CallTimes::batched, nullptr, run);
  }

  Session& session_;
  ts::PoolMemoryResource& pool_;
  ts::MapStreams map_streams_;
  ts::Execution<ts::Device> pooled_;
  Result result_;
  ts::SpatialRange<3> range_;
  int channels_;
  ts::Buffer<ts::Coordinate<3>, ts::Device> rows_;
  ts::Matrix<Scalar, ts::Device> features_;
  ts::Buffer<std::int32_t, ts::Device> labels_;
  ts::Buffer<std::int32_t, ts::Device> of_entries_;
};

/// Trains one network, by `make(exec)`, which gives a pointer to it.
template <class Scalar, class Make>
void train_network(Session& session, std::string const& name, Voxels const& voxels, bool of_entries,
                   Make const& make)
{
  Result result;
  result.name = "train " + name;
  result.workload = voxels.name;
  bool wanted = false;
  for (char const* const variant : {"eager", "eager step", "planned step"}) {
    result.variant = std::string{variant} + " " + session.options().precision;
    wanted = wanted || session.wants(result);
  }
  if (!wanted) { return; }
  ts::PoolMemoryResource pool{session.exec().device()};
  {
    auto const model = make(session.exec());
    model->train();
    TrainingBenchmark<Scalar> benchmark{session, voxels, result, of_entries, pool};
    benchmark.eager(*model);
    benchmark.steps(*model);
  }
  session.exec().wait();
}

/// spconv's benchmark network; see spconv_benchmark_layers().
template <class Scalar>
[[nodiscard]] auto spconv_benchmark_network(ts::Execution<ts::Device> const& exec)
{
  auto network = std::make_unique<ts::nn::Sequential<3, Scalar>>();
  auto const& channels = spconv_benchmark_channels;
  for (std::size_t k = 0; k + 1 < channels.size(); ++k) {
    for (auto const in : {channels[k], channels[k + 1]}) {
      network->template add<ts::nn::Conv<3, Scalar>>(ts::ConvOptions<3>(in, channels[k + 1], 3), exec);
    }
    if (k + 2 < channels.size()) { network->template add<ts::nn::MaxPool<3, Scalar>>(ts::PoolOptions<3>(2)); }
  }
  return network;
}

/// A ResNet encoder of thin tracks: a submanifold stem and four stages of two residual blocks, between them
/// convolutions of size and stride 2; each stage has twice the channels of the one before.
template <class Scalar>
[[nodiscard]] auto track_encoder(int channels, ts::Execution<ts::Device> const& exec)
{
  using ConvBlock = ts::nn::SparseConvBlock<3, Scalar>;
  using ResBlock = ts::nn::SparseResBlock<3, Scalar>;
  using Conv = ts::ConvOptions<3>;
  auto network = std::make_unique<ts::nn::Sequential<3, Scalar>>();
  network->template add<ConvBlock>(Conv(1, channels, 3), exec);
  for (int stage = 0; stage < 4; ++stage) {
    int const width = channels << stage;
    if (stage > 0) { network->template add<ConvBlock>(Conv(width / 2, width, 2).stride(2), exec); }
    network->template add<ResBlock>(Conv(width, width, 3), exec);
    network->template add<ResBlock>(Conv(width, width, 3), exec);
  }
  return network;
}

/// All networks with features of one type.
template <class Scalar>
void train_networks(Session& session)
{
  using Exec = ts::Execution<ts::Device>;
  auto const scan = semkitti(session.folder());
  for (auto const width : std::array<double, 2>{1.0, 0.5}) {
    train_network<Scalar>(session, width == 1.0 ? "MinkUNet 1.0" : "MinkUNet 0.5", scan, false,
                          [&](Exec const& exec) {
                            return std::make_unique<ts::models::MinkUNet<3, Scalar>>(
                                ts::MinkUNetOptions(4, 19).width(width), exec);
                          });
  }
  for (int const copies : std::array<int, 2>{1, 8}) {
    train_network<Scalar>(session, "spconv benchmark network", spconv_benchmark(session.folder(), copies),
                          true, [](Exec const& exec) { return spconv_benchmark_network<Scalar>(exec); });
  }
  for (int const channels : std::array<int, 3>{16, 32, 64}) {
    for (int const events : std::array<int, 2>{1, 16}) {
      train_network<Scalar>(session, "track encoder " + std::to_string(channels), thin_tracks(events), true,
                            [&](Exec const& exec) { return track_encoder<Scalar>(channels, exec); });
    }
  }
}

}  // namespace bench
