// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Optimizers: a network learns to do what another one does. With parameter groups, a schedule, clipping, averaged weights,
// checkpoints and scores.

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
using Scalar = float;    // or ts::half's __half on the device, with a loss scaler
using Exec = ts::Execution<Space>;
using Tensor = ts::SparseTensor<3, Scalar, Space>;

constexpr int classes = 5;

/// Two convolutions with a norm between them.
class Network final : public ts::nn::Module<3, Scalar, Space> {
 public:
  Network(int in_channels, std::uint64_t seed, Exec const& exec)
      : first_{ts::nn::ConvOptions<3>(in_channels, 16, 3).seed(seed), exec},
        norm_{16, exec},
        head_{ts::nn::ConvOptions<3>(16, classes, 3).bias(true).seed(seed + 1), exec}
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

// [gradient]
/// The gradient of the mean of (y - target)^2, times the loss scale, which lies in the space's memory.
struct SquaredErrorGradient {
  Scalar const* y;
  Scalar const* target;
  float const* scale;  // [1]
  float count;
  Scalar* to;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    to[i] = *scale * 2 * (y[i] - target[i]) / count;
  }
};
// [gradient]

/// The mean of (y - target)^2.
double squared_error(Tensor const& y, Tensor const& target, Exec const& exec)
{
  auto const a = ts::download(y.features().data, y.features().size(), exec);
  auto const b = ts::download(target.features().data, target.features().size(), exec);
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) { sum += (a[i] - b[i]) * (a[i] - b[i]); }
  return sum / static_cast<double>(a.size());
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
  ts::PointCloud const scan = ts::simulate_lidar();
  auto const positions = ts::upload_matrix(scan.positions, 3, exec);
  auto const intensity = ts::upload_matrix(scan.features, scan.channels, exec);
  auto voxels =
      ts::sparse_quantize(ts::PointsView<float>{positions, intensity}, ts::QuantizeOptions<3>(1.0F), exec);
  Tensor const x{voxels.coordinates, std::move(voxels.features)};
  Network teacher{scan.channels, 10, exec};
  auto const target = teacher(x, exec);

  // [optimizer]
  Network net{scan.channels, 20, exec};
  ts::train::ParameterArena<Scalar, Space> arena{net, exec};  // all parameters in one piece of memory
  auto const steps = 60;
  ts::train::Optimizer optimizer{arena, ts::train::AdamW{}.weight_decay(0.01),
                                 ts::train::Schedule::cosine(1e-2, steps).warm_up(5),
                                 ts::train::StepOptions{}.clip_norm(10), exec};
  ts::train::MovingAverage average{arena, 0.9, exec};
  // [optimizer]

  // [step]
  ts::Tape<Space> tape;
  tape.watch(net);
  auto const step = [&] {
    optimizer.zero_grad(exec);
    auto const y = net(x, exec.with_recorder(tape));
    ts::Matrix<Scalar, Space> gradient{y.num_rows(), y.channels(), exec};
    ts::for_each(
        gradient.size(),
        SquaredErrorGradient{y.features().data, target.features().data, optimizer.loss_gradient().data,
                             static_cast<float>(gradient.size()), gradient.data()},
        exec);
    tape.backward(y, gradient.view(), exec);
    optimizer.step(exec);  // waits for nothing
    average.update(optimizer.device_state(), exec);
  };
  // [step]

  net.train();
  auto const before = squared_error(net(x, exec), target, exec);
  for (int i = 0; i < steps / 2; ++i) { step(); }

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

  for (int i = steps / 2; i < steps; ++i) { step(); }

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
    auto const y = net(x, exec);
    matrix.add(ts::argmax(target.features(), exec), ts::argmax(y.features(), exec), exec);
    ts::io::save(net, path, ts::io::TorchSparse{}, exec);  // the averaged weights, for another library
  }
  auto const scores = matrix.scores(exec);
  std::printf("mIoU %.3f, accuracy %.3f\n", scores.mean_iou, scores.accuracy);
  // [scores]
  expect(scores.accuracy > 0.5, "the network labels most voxels as its teacher does");

  net.train();
  auto const after = squared_error(net(x, exec), target, exec);
  std::printf("squared error %.4g, was %.4g\n", after, before);
  expect(after < before / 4, "the error has fallen");

  // [groups]
  ts::train::ParameterArena<Scalar, Space> fine_tuned{
      net, ts::train::ParameterGroups{}.freeze("backbone").rate("head", 10).decay("*.bias", 0), exec};
  // [groups]
  expect(net.parameters()[0].parameter->is_frozen(), "a frozen parameter says so");

  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  return failures == 0 ? 0 : 1;
}
