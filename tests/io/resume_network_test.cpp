// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A network with norms and dropout, trained by a tape in float and in 16 bit, stopped and resumed.

#include "../support/files.hpp"
#include "../support/oracle.hpp"
#include "../support/spaces.hpp"

#ifdef __CUDACC__
#include <tessera/tessera.cuh>
#endif
#include <tessera/autograd/tape.hpp>
#include <tessera/io/training_checkpoint.hpp>
#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/dropout.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/ops/loss/cross_entropy.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <vector>

using namespace tessera;

namespace {

constexpr int classes = 4;

template <class Scalar, class Space>
struct Training {
  using Sum = accumulator_t<Scalar>;
  using Rule = train::AdamW;

  Training(std::uint64_t seed, train::LossScaler const& scaler)
      : arena{build(seed), exec},
        optimizer{arena, Rule{}, train::Schedule::cosine(0.02, 200),
                  StepOptions{}.clip_norm(5).loss_scaler(scaler), exec},
        average{arena, 0.8, exec},
        state{net, optimizer, &average}
  {
    net.train();
    tape.watch(net);
    auto const voxels = test::random_coordinates<3>(300, 1, {0, 0, 0}, {12, 12, 12}, 5);
    std::mt19937 random{7};
    std::vector<Scalar> features;
    std::vector<std::int32_t> of_voxels;
    for (auto const& voxel : voxels) {
      auto const label = static_cast<std::int32_t>(random() % classes);
      of_voxels.push_back(label);
      for (int c = 0; c < 4; ++c) {  // a feature tells the label
        features.push_back(static_cast<Scalar>(c == label ? 1.0F : 0.1F * static_cast<float>(random() % 10)));
      }
      static_cast<void>(voxel);
    }
    x = Tensor{make_coordinate_set(voxels, CoordinateSetOptions<3>{}, exec),
               upload_matrix(features, 4, exec)};
    labels = upload(of_voxels, exec);
  }

  void run(int steps)
  {
    auto const recorded = exec.with_recorder(tape);
    for (int i = 0; i < steps; ++i) {
      optimizer.zero_grad(exec);
      auto const loss = cross_entropy(net(x, recorded), labels, {}, recorded);
      last_loss = static_cast<double>(download(loss.data(), 1, exec)[0]);
      tape.backward(loss, optimizer.loss_gradient(), exec);
      optimizer.step(exec);
      average.update(optimizer.device_state(), exec);
    }
  }

  std::vector<Sum> everything()
  {
    auto all = download(arena.masters(), arena.size(), exec);
    for (auto const* const more : {&optimizer.kept(0), &optimizer.kept(1), &average.values()}) {
      auto const values = download(*more, exec);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  using Tensor = SparseTensor<3, Scalar, Space>;

  nn::ModuleBase& build(std::uint64_t seed)
  {
    net.template add<nn::Conv<3, Scalar, Space>>(ConvOptions<3>(4, 16, 3).seed(seed), exec);
    net.template add<nn::BatchNorm<3, Scalar, Space>>(16, exec);
    net.template add<nn::ReLU<3, Scalar, Space>>();
    net.template add<nn::Dropout<3, Scalar, Space>>(0.2, seed);
    net.template add<nn::Conv<3, Scalar, Space>>(ConvOptions<3>(16, classes, 3).bias(true).seed(seed + 1),
                                                 exec);
    return net;
  }

  Execution<Space> exec{};
  nn::Sequential<3, Scalar, Space> net;
  train::ParameterArena<Scalar, Space> arena;
  train::Optimizer<Rule, Scalar, Space> optimizer;
  train::MovingAverage<Scalar, Space> average;
  io::TrainingState<Rule, Scalar, Space> state;
  Tape<Space> tape;
  Tensor x;
  Buffer<std::int32_t, Space> labels;
  double last_loss = 0;
};

template <class Scalar, class Space>
void resumes()
{
  if (test::skipped<Space>()) { return; }
  test::TempDir const dir;
  auto const path = dir / "run.safetensors";
  std::random_device random;
  auto const stop = static_cast<int>(random() % 40);
  CAPTURE(stop);
  // float16 overflows at first
  auto const scaler = train::LossScaler{}.initial(0x1p26).interval(20);
  Training<Scalar, Space> whole{1, scaler};
  whole.run(1);
  auto const first_loss = whole.last_loss;
  whole.run(39);
  CHECK(whole.last_loss < 0.7 * first_loss);
  auto const end = whole.optimizer.state(whole.exec);
  CHECK(end.calls == 40);
  if (ScalarTraits<Scalar>::dtype == DType::float16) {
    CHECK(end.skipped > 0);
    CHECK(end.loss_scale < 0x1p26);
  } else {
    CHECK(end.skipped == 0);
  }
  {
    Training<Scalar, Space> first{1, scaler};
    first.run(stop);
    io::save_training(path, first.state, first.exec);
  }
  Training<Scalar, Space> second{50, scaler};
  second.run(2);
  io::resume_training(path, second.state, second.exec);
  second.run(40 - stop);
  CHECK(second.everything() == whole.everything());
  CHECK(second.last_loss == whole.last_loss);
  CHECK(second.optimizer.state(second.exec).step == end.step);
}

}  // namespace

TEST_CASE_TEMPLATE(
    "a network<Host>: stopped at any step and resumed, has the weights of one that never stopped", Scalar,
    TESSERA_TEST_SCALARS)
{
  resumes<Scalar, Host>();
}

#ifdef __CUDACC__
TEST_CASE_TEMPLATE(
    "a network<Device>: stopped at any step and resumed, has the weights of one that never stopped", Scalar,
    TESSERA_TEST_SCALARS)
{
  resumes<Scalar, Device>();
}
#endif
