// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Training steps in fixed memory, on the device as one CUDA graph: clouds of the simulator, made on the host, are
// voxelized, labelled and learned from without the host waiting for anything. Runs on the GPU if there is one.

#ifdef __CUDACC__
#include <tessera/tessera.cuh>
#endif
#include <tessera/tessera.hpp>

#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

namespace ts = tessera;

namespace {

constexpr int classes = 3;

/// Two levels: down, up, and a skip between.
template <class Scalar, class Space>
class Network final : public ts::nn::Module<3, Scalar, Space> {
  using Conv = ts::nn::Conv<3, Scalar, Space>;
  using Options = ts::ConvOptions<3>;
  using Exec = ts::Execution<Space>;

 public:
  using typename ts::nn::Module<3, Scalar, Space>::Tensor;

  Network(int in_channels, Exec const& exec)
      : stem_{Options(in_channels, 16, 3).seed(1), exec},
        norm_{16, exec},
        dropout_{0.1, 6},
        down_{Options(16, 16, 2).stride(2).seed(2), exec},
        block_{Options(16, 16, 3).seed(3), exec},
        up_{Options(16, 16, 2).stride(2).transposed().seed(4), exec},
        head_{Options(32, classes, 1).bias(true).seed(5), exec}
  {
    this->register_child("stem", stem_);
    this->register_child("norm", norm_);
    this->register_child("dropout", dropout_);
    this->register_child("down", down_);
    this->register_child("block", block_);
    this->register_child("up", up_);
    this->register_child("head", head_);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Exec const& exec) override
  {
    auto const fine = dropout_(ts::relu(norm_(stem_(x, exec), exec), exec), exec);
    auto const coarse = ts::relu(down_(fine, exec), exec);
    auto const deep = ts::add(coarse, ts::checkpoint(exec, block_, coarse), exec);
    return head_(ts::cat({up_(deep, exec), fine}, exec), exec);
  }

 private:
  Conv stem_;
  ts::nn::BatchNorm<3, Scalar, Space> norm_;
  ts::nn::Dropout<3, Scalar, Space> dropout_;
  Conv down_;
  Conv block_;
  Conv up_;
  Conv head_;
};

// [loss]
struct Loss {
  template <class Logits, class Space>
  [[nodiscard]] auto operator()(Logits const& logits, ts::ops::LabelsView const& labels,
                                ts::Execution<Space> const& exec) const
  {
    auto const options = ts::CrossEntropyOptions<float>().ignore(255);
    return ts::cross_entropy(logits, labels, options, exec);
  }
};
// [loss]

/// A simulated cloud in a space, and the class of each point by its height.
template <class Space>
struct Cloud {
  Cloud(std::uint64_t seed, ts::Execution<Space> const& exec)
  {
    ts::LidarOptions options;
    options.seed = seed;
    options.beams = 32;
    options.azimuth_steps = 700;
    ts::PointCloud const scan = ts::simulate_lidar(options);
    channels = scan.channels;
    positions = ts::upload_matrix(scan.positions, 3, exec);
    features = ts::upload_matrix(scan.features, scan.channels, exec);
    std::vector<std::int32_t> of_height;
    for (std::size_t i = 2; i < scan.positions.size(); i += 3) {
      auto const z = scan.positions[i];
      of_height.push_back(z < -1 ? 0 : z < 1 ? 1 : 2);
    }
    labels = ts::upload(of_height, exec);
  }
  [[nodiscard]] ts::PointsView<float> points() const { return {positions.view(), features.view()}; }

  int channels = 0;
  ts::Matrix<float, Space> positions;
  ts::Matrix<float, Space> features;
  ts::Buffer<std::int32_t, Space> labels;
};

template <class Scalar, class Space>
int run(ts::Execution<Space> const& exec)
{
  std::vector<Cloud<Space>> clouds;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) { clouds.emplace_back(seed, exec); }

  // [plan]
  Network<Scalar, Space> net{clouds[0].channels, exec};
  net.train();
  ts::train::ParameterArena<Scalar, Space> arena{net, exec};
  ts::train::Optimizer optimizer{arena, ts::train::AdamW{}, ts::train::Schedule::cosine(1e-2, 60).warm_up(5),
                                 ts::StepOptions{}.clip_norm(1).loss_scaler(ts::train::LossScaler{}), exec};
  ts::train::MovingAverage average{arena, 0.9, exec, true};

  auto const limits = ts::PlanLimits()
                          .max_voxels(12'000)
                          .channels(clouds[0].channels)
                          .box(ts::CoordinateBox<3>{1, {-256, -256, -32}, {255, 255, 31}});
  auto const options = ts::TrainPlanOptions<Scalar, Space>().average(average);
  ts::TrainPlan plan{net, Loss{}, optimizer, limits, options, exec};
  // [plan]

  auto first = 0.0;
  // [run]
  auto const voxels = ts::QuantizeOptions<3>(1.0F);
  for (std::size_t i = 0; i < 40; ++i) {
    auto const& cloud = clouds[i % clouds.size()];
    plan.run(cloud.points(), cloud.labels.data(), voxels, 255, exec);  // waits for nothing
    if (i == 0) { first = static_cast<double>(plan.loss(exec)); }      // this waits
  }
  plan.check();  // throws what was wrong with scans or losses since
  // [run]
  plan.run(clouds[0].points(), clouds[0].labels.data(), voxels, 255, exec);
  auto const last = static_cast<double>(plan.loss(exec));
  std::printf("cross entropy %.3f, was %.3f; %.1f MB a step\n", last, first,
              static_cast<double>(plan.bytes()) / 1e6);
  if (!(last < first / 2)) {
    std::puts("the loss has not fallen");
    return 1;
  }

  std::vector<ts::Coordinate<3>> const far{{0, {999, 0, 0}}};
  auto const coordinates = ts::upload(far, exec);
  auto const features = ts::upload(std::vector<Scalar>(static_cast<std::size_t>(clouds[0].channels)), exec);
  ts::RowCount const one{1, nullptr};
  // [status]
  plan.run(reinterpret_cast<std::int32_t const*>(coordinates.data()), features.data(), nullptr, one, exec);
  exec.wait();
  auto const report = plan.status();  // never waits
  if (report.out_of_bounds) { std::puts("a scan was refused, and nothing has changed"); }
  plan.acknowledge();  // or check(), which throws a sentence
  // [status]
  auto const state = optimizer.state(exec);
  return report.out_of_bounds && state.step + state.skipped == 41 ? 0 : 1;
}

}  // namespace

int main()
{
#ifdef __CUDACC__
  int devices = 0;
  if (cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0) {
    cudaStream_t stream = nullptr;
    if (cudaStreamCreate(&stream) != cudaSuccess) { return 1; }
    auto const result = run<__half>(ts::Execution<ts::Device>{stream});
    return cudaStreamDestroy(stream) == cudaSuccess ? result : 1;
  }
#endif
  return run<float>(ts::Execution<ts::Host>{});
}
