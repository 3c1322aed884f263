// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Optimizers: a small network learns the classes of simulated scans. With parameter groups, a schedule, clipping, averaged
// weights, checkpoints and scores.

#include <tessera/autograd/tape.hpp>
#include <tessera/tessera.hpp>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

namespace ts = tessera;

namespace {

using Space = ts::Host;  // or ts::Device, compiled by nvcc
using Scalar = float;    // or __half on the device, with a loss scaler
using Exec = ts::Execution<Space>;
using Tensor = ts::SparseTensor<3, Scalar, Space>;

constexpr int classes = ts::num_scene_classes;

/// Two convolutions with a norm between them.
class Network final : public ts::nn::Module<3, Scalar, Space> {
 public:
  Network(int in_channels, std::uint64_t seed, Exec const& exec)
      : first_{ts::ConvOptions<3>(in_channels, 16, 3).seed(seed), exec},
        norm_{16, exec},
        head_{ts::ConvOptions<3>(16, classes, 3).bias(true).seed(seed + 1), exec}
  {
    this->register_child("backbone.conv", first_);
    this->register_child("backbone.norm", norm_);
    this->register_child("head", head_);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Exec const& exec) override
  {
    return head_(ts::relu(norm_(first_(x, exec), exec), exec), exec);
  }

 private:
  ts::nn::Conv<3, Scalar, Space> first_;
  ts::nn::BatchNorm<3, Scalar, Space> norm_;
  ts::nn::Conv<3, Scalar, Space> head_;
};

/// Voxels of 0.5 m, and the class of each.
struct Batch {
  Tensor x;
  ts::Buffer<std::int32_t, Space> labels;
};

Batch load(ts::PointCloud const& scan, Exec const& exec)
{
  auto const positions = ts::upload_matrix(scan.positions, 3, exec);
  auto const intensity = ts::upload_matrix(scan.features, scan.channels, exec);
  auto voxels =
      ts::sparse_quantize(ts::PointsView<float>{positions, intensity}, ts::QuantizeOptions<3>(0.5F), exec);
  auto const labels = ts::upload(scan.labels, exec);
  auto of_voxels = ts::vote_labels(voxels, labels.data(), {}, exec);
  return {Tensor{voxels.coordinates, std::move(voxels.features)}, std::move(of_voxels)};
}

int failures = 0;

void expect(bool held, char const* what)
{
  if (!held) {
    std::printf("not so: %s\n", what);
    ++failures;
  }
}

}  // namespace

int main()
{
  Exec const exec;
  ts::SimulatedScans const scans{1};
  auto const batch = load(scans.load(0), exec);
  auto const held_out = load(scans.held_out().load(0), exec);

  // [optimizer]
  Network net{batch.x.channels(), 20, exec};
  ts::train::ParameterArena<Scalar, Space> arena{net, exec};  // all parameters in one piece of memory
  auto const steps = 60;
  ts::train::Optimizer optimizer{arena, ts::train::AdamW{}.weight_decay(0.01),
                                 ts::train::Schedule::cosine(1e-2, steps).warm_up(5),
                                 ts::StepOptions{}.clip_norm(10), exec};
  ts::train::MovingAverage average{arena, 0.9, exec};
  // [optimizer]

  // [step]
  ts::Tape<Space> tape;
  tape.watch(net);
  auto const step = [&] {
    optimizer.zero_grad(exec);
    auto const recorded = exec.with_recorder(tape);
    auto loss = ts::cross_entropy(net(batch.x, recorded), batch.labels, {}, recorded);
    tape.backward(loss, optimizer.loss_gradient(), exec);  // the loss scale, 1 without a scaler
    optimizer.step(exec);                                  // waits for nothing
    average.update(optimizer.device_state(), exec);
    return loss;
  };
  // [step]

  net.train();
  auto const first_loss = ts::download(step().data(), 1, exec)[0];
  for (int i = 1; i < steps / 2; ++i) { step(); }

  // [checkpoint]
  std::string const path =
      (std::filesystem::temp_directory_path() / "tessera_optimizers.safetensors").string();
  ts::io::TrainingState training{net, optimizer, &average};
  training.numbers["epoch"] = 3;
  ts::io::save_training(path, training, exec);
  // ... in another process, after the same objects were made:
  ts::io::resume_training(path, training, exec);
  // [checkpoint]
  expect(training.numbers["epoch"] == 3, "the numbers of the program are in the checkpoint");

  for (int i = steps / 2; i + 1 < steps; ++i) { step(); }
  auto const last_loss = ts::download(step().data(), 1, exec)[0];
  std::printf("loss %.3f, was %.3f\n", last_loss, first_loss);
  expect(last_loss < first_loss / 3, "the loss has fallen");

  // [state]
  ts::train::StepState const state = optimizer.state(exec);  // waits
  std::printf("%lld steps, learning rate %.3g, gradient norm %.3g\n", static_cast<long long>(state.step),
              state.learning_rate, state.gradient_norm);
  optimizer.check(exec);  // throws where a gradient was not finite
  // [state]
  expect(state.step == steps, "every step was taken");

  // [scores]
  net.eval();
  ts::train::ConfusionMatrix<Space> matrix{classes, exec};
  {
    ts::train::AveragedWeights const averaged{average, exec};  // while it lives
    matrix.add(held_out.labels, ts::argmax(net(held_out.x, exec).features(), exec), exec);
    ts::io::save(net, path, ts::io::TorchSparse{}, exec);  // the averaged weights, for another library
  }
  auto const scores = matrix.scores(exec);
  std::printf("mIoU %.3f, accuracy %.3f\n", scores.mean_iou, scores.accuracy);
  // [scores]
  expect(scores.accuracy > 0.6, "most voxels of a street never seen are labelled rightly");

  // [groups]
  ts::train::ParameterArena<Scalar, Space> fine_tuned{
      net, ts::train::ParameterGroups{}.freeze("backbone").rate("head", 10).decay("*.bias", 0), exec};
  // [groups]
  expect(net.parameters()[0].parameter->is_frozen(), "a frozen parameter says so");

  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  return failures == 0 ? 0 : 1;
}
