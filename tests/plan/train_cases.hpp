// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// A network with all that a step must get right, scans for it, and the step by hand that a TrainPlan is compared with.

#include "../support/device.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#include <tessera/kmap/build.cuh>
#include <tessera/plan/train_plan.cuh>
#endif
#include <tessera/autograd/checkpoint.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/dropout.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/ops/activation.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/loss/cross_entropy.hpp>
#include <tessera/plan/train_plan.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace train_cases {

namespace ts = tessera;

constexpr int in_channels = 3;
constexpr int classes = 4;
constexpr std::int64_t most_voxels = 260;

/// Two levels: batch statistics, dropout, a strided and a transposed convolution, a block that is computed again, a
/// skip, a linear head.
template <class Scalar, class Space>
class Network final : public ts::nn::Module<3, Scalar, Space> {
  using Conv = ts::nn::Conv<3, Scalar, Space>;
  using Norm = ts::nn::BatchNorm<3, Scalar, Space>;
  using Exec = ts::Execution<Space>;

 public:
  using typename ts::nn::Module<3, Scalar, Space>::Tensor;

  explicit Network(Exec const& exec, bool computes_again = true)
      : stem{ts::ConvOptions<3>(in_channels, 8, 3).seed(1), exec},
        norm{8, exec},
        dropout{0.3, 11},
        down{ts::ConvOptions<3>(8, 8, 2).stride(2).seed(2), exec},
        block{ts::ConvOptions<3>(8, 8, 3).bias(true).seed(3), exec},
        block_norm{8, exec},
        block_dropout{0.2, 12},
        up{ts::ConvOptions<3>(8, 8, 2).stride(2).transposed().seed(4), exec},
        head{ts::LinearOptions(16, classes).seed(5), exec},
        computes_again_{computes_again}
  {
    this->register_child("stem", stem);
    this->register_child("norm", norm);
    this->register_child("dropout", dropout);
    this->register_child("down", down);
    this->register_child("block", block);
    this->register_child("block_norm", block_norm);
    this->register_child("block_dropout", block_dropout);
    this->register_child("up", up);
    this->register_child("head", head);
    this->train();
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Exec const& exec) override
  {
    auto const fine = dropout(ts::relu(norm(stem(x, exec), exec), exec), exec);
    auto const coarse = down(fine, exec);
    auto const inner = [this](Tensor const& in, Exec const& on) {
      return block_dropout(ts::relu(block_norm(block(in, on), on), on), on);
    };
    auto const deep = computes_again_ ? ts::checkpoint(exec, inner, coarse) : inner(coarse, exec);
    return head(ts::cat({up(ts::add(deep, coarse, exec), exec), fine}, exec), exec);
  }

  Conv stem;
  Norm norm;
  ts::nn::Dropout<3, Scalar, Space> dropout;
  Conv down;
  Conv block;
  Norm block_norm;
  ts::nn::Dropout<3, Scalar, Space> block_dropout;
  Conv up;
  ts::nn::Linear<3, Scalar, Space> head;

 private:
  bool computes_again_;
};

/// The sum of cross entropies, which ignores 255.
template <class Sum>
struct Loss {
  template <class Tensor, class Space>
  [[nodiscard]] ts::Matrix<Sum, Space> operator()(Tensor const& y, ts::ops::LabelsView const& labels,
                                                  ts::Execution<Space> const& exec) const
  {
    return ts::cross_entropy(
        y, labels, ts::CrossEntropyOptions<Sum>().ignore(255).reduction(ts::ops::Reduction::sum), exec);
  }
};

/// A scan with its labels, on the host.
struct Scan {
  std::vector<ts::Coordinate<3>> rows;
  std::vector<float> features;  // [rows, in_channels]
  std::vector<std::int32_t> labels;
};

/// Two surfaces, one in each of two batch entries; every ninth label is ignored.
inline Scan scan_of(unsigned seed, int size)
{
  std::mt19937 random{seed};
  Scan scan;
  for (int batch = 0; batch < 2; ++batch) {
    for (int i = 0; i < size; ++i) {
      for (int j = 0; j < size; ++j) {
        if (random() % 4 == 0) { continue; }
        scan.rows.push_back({batch, {i, j, (i * j + static_cast<int>(seed)) % 5}});
      }
    }
  }
  std::shuffle(scan.rows.begin(), scan.rows.end(), random);
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i < scan.rows.size(); ++i) {
    for (int c = 0; c < in_channels; ++c) { scan.features.push_back(normal(random)); }
    scan.labels.push_back(i % 9 == 8 ? 255 : scan.rows[i].position[2] % classes);
  }
  return scan;
}
/// Scans of different sizes.
inline std::vector<Scan> some_scans()
{
  return {scan_of(1, 8), scan_of(2, 12), scan_of(3, 4), scan_of(4, 11)};
}

inline ts::PlanLimits limits()
{
  return ts::PlanLimits()
      .max_voxels(most_voxels)
      .max_voxels_at(2, 150)
      .channels(in_channels)
      .grid(ts::SpatialRange<3>{2, {16, 16, 8}});
}

/// A scan in a space.
template <class Scalar, class Space>
struct Batch {
  Batch(Scan const& scan, ts::Execution<Space> const& exec) : labels{ts::upload(scan.labels, exec)}
  {
    std::vector<Scalar> features;
    for (float const value : scan.features) { features.push_back(static_cast<Scalar>(value)); }
    ts::CoordinateSetOptions<3> options;
    options.spatial_range = ts::SpatialRange<3>{2, {16, 16, 8}};
    x = {ts::make_coordinate_set(scan.rows, options, exec), ts::upload_matrix(features, in_channels, exec)};
  }

  ts::SparseTensor<3, Scalar, Space> x;
  ts::Buffer<std::int32_t, Space> labels;
};

/// some_scans() in a space.
template <class Scalar, class Space>
std::vector<Batch<Scalar, Space>> batches(ts::Execution<Space> const& exec)
{
  std::vector<Batch<Scalar, Space>> result;
  for (auto const& scan : some_scans()) { result.emplace_back(scan, exec); }
  return result;
}

/// Memory that holds NaN, or -1, until it is written: what is not in use must not be read for anything.
class PoisonedMemory final : public ts::MemoryResource {
 public:
  [[nodiscard]] void* allocate(std::size_t bytes, ts::StreamHandle stream) override
  {
    auto* const pointer = heap_.allocate(bytes, stream);
    std::memset(pointer, 0xff, bytes);
    return pointer;
  }
  void deallocate(void* pointer, std::size_t bytes, ts::StreamHandle stream) noexcept override
  {
    heap_.deallocate(pointer, bytes, stream);
  }

 private:
  ts::HostMemoryResource heap_;
};

/// A network with all that trains it.
template <class Scalar, class Space>
struct Training {
  using Sum = ts::accumulator_t<Scalar>;
  using Plan = ts::TrainPlan<Network<Scalar, Space>, Loss<Sum>, ts::train::AdamW>;
  static constexpr double large_scale =
      ts::ScalarTraits<Scalar>::dtype == ts::DType::float16 ? 0x1p18 : 0x1p125;

  explicit Training(ts::Execution<Space> const& on, bool computes_again = true)
      : exec{on},
        net{exec, computes_again},
        arena{net, exec},
        optimizer{arena, ts::train::AdamW{}, ts::train::Schedule::cosine(0.02, 80).warm_up(10),
                  // so large at first that gradients overflow, and again once it has grown
                  ts::StepOptions{}.clip_norm(2).loss_scaler(
                      ts::train::LossScaler{}.initial(large_scale).interval(4).growth(16)),
                  exec},
        average{arena, 0.9, exec, true}
  {}

  [[nodiscard]] std::unique_ptr<Plan> plan(ts::PlanLimits const& with = limits())
  {
    auto const options = ts::TrainPlanOptions<Scalar, Space>().average(average);
    return std::make_unique<Plan>(net, Loss<Sum>{}, optimizer, with, options, exec);
  }
  /// The step by hand; the loss.
  double step(Batch<Scalar, Space> const& batch)
  {
    ts::nn::seed_by_step<Space>(net, optimizer.device_calls());
    ts::Tape<Space> tape;
    tape.watch(net);
    auto const recording = exec.with_recorder(tape);
    optimizer.zero_grad(exec);
    auto const loss = Loss<Sum>{}(net.forward(batch.x, recording), batch.labels, recording);
    tape.backward(loss, optimizer.loss_gradient(), exec);
    optimizer.step(exec);
    average.update(optimizer.device_state(), exec);
    return static_cast<double>(ts::download(loss.data(), 1, exec)[0]);
  }
  /// Every number that a step may change: parameters, running statistics, averages, what the optimizer keeps, its
  /// state.
  [[nodiscard]] std::vector<double> everything()
  {
    std::vector<double> all;
    auto const append = [&](auto const& values) {
      for (auto const value : values) { all.push_back(static_cast<double>(value)); }
    };
    append(ts::download(arena.masters(), arena.size(), exec));
    append(ts::download(optimizer.kept(0), exec));
    append(ts::download(optimizer.kept(1), exec));
    append(ts::download(optimizer.segment_steps(), exec));
    append(ts::download(average.values(), exec));
    if constexpr (ts::train::ParameterArena<Scalar, Space>::has_masters) {
      for (auto const value : ts::download(arena.narrow(), arena.size(), exec)) {
        all.push_back(static_cast<double>(static_cast<float>(value)));
      }
    }
    auto const state = optimizer.state(exec);
    append(std::vector<double>{static_cast<double>(state.step), static_cast<double>(state.skipped),
                               static_cast<double>(state.calls), state.learning_rate, state.gradient_norm,
                               state.gradient_factor, state.loss_scale,
                               static_cast<double>(state.good_steps)});
    return all;
  }

  ts::Execution<Space> exec;
  Network<Scalar, Space> net;
  ts::train::ParameterArena<Scalar, Space> arena;
  ts::train::Optimizer<ts::train::AdamW, Scalar, Space> optimizer;
  ts::train::MovingAverage<Scalar, Space> average;
};

inline bool same_bits(std::vector<double> const& a, std::vector<double> const& b)
{
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

/// An execution of the space: on the host with memory that is poisoned, on the device on a stream of its own.
template <class Space>
class Home;
template <>
class Home<ts::Host> {
 public:
  [[nodiscard]] ts::Execution<ts::Host> exec() { return ts::Execution<ts::Host>{2, &memory_}; }

 private:
  PoisonedMemory memory_;
};
#ifdef __CUDACC__
template <>
class Home<ts::Device> {
 public:
  Home() { ts::detail::cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  Home(Home const&) = delete;
  Home& operator=(Home const&) = delete;
  ~Home() { static_cast<void>(cudaStreamDestroy(stream_)); }
  [[nodiscard]] ts::Execution<ts::Device> exec() { return ts::Execution<ts::Device>{stream_}; }

 private:
  cudaStream_t stream_ = nullptr;
};
#endif

}  // namespace train_cases
