// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "../support/spaces.hpp"
#include "../train/network.hpp"

#include <tessera/core/detail/random.hpp>
#include <tessera/io/load.hpp>
#include <tessera/io/training_checkpoint.hpp>

#include <doctest/doctest.h>

#ifdef __unix__
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

/// A network that draws random numbers too, in training with everything that a checkpoint keeps.
template <class Scalar, class Space>
struct Training {
  using Sum = accumulator_t<Scalar>;
  using Rule = train::AdamW;

  struct Net final : nn::ModuleBase {
    explicit Net(Execution<Space> const& exec, std::uint32_t seed) : layers{exec, seed}
    {
      register_child("", layers);
      register_random_state("dropout.random_state", random);
    }
    test::Network<Scalar, Space> layers;
    std::uint64_t random = 5;
  };

  explicit Training(std::uint32_t seed, Execution<Space> const& on = Execution<Space>{})
      : exec{on},
        net{exec, seed},
        arena{net, exec},
        optimizer{arena, Rule{}, train::Schedule::cosine(0.05, 40).warm_up(4),
                  StepOptions{}.clip_norm(3).loss_scaler(train::LossScaler{}.initial(64).interval(4)), exec},
        average{arena, 0.9, exec, true},
        state{net, optimizer, &average}
  {}

  /// Steps `from` to `to`; gradients follow from the step and the network's random state, and overflow in every seventh.
  void run(int from, int to)
  {
    for (int t = from; t < to; ++t) {
      auto const drawn = detail::next_random(net.random) % 1000;
      auto const scale = optimizer.state(exec).loss_scale + static_cast<double>(drawn) / 1000;
      for (auto const& segment : arena.segments()) {
        if (!segment.is_trainable()) { continue; }
        auto numbers = test::random_numbers(segment.size(), static_cast<std::uint32_t>(t), scale);
        if (t % 7 == 3) { numbers[2] = std::numeric_limits<double>::infinity(); }
        test::set_gradient<Scalar>(segment, numbers, exec);
      }
      std::vector<Sum> const mean(7, static_cast<Sum>(t));
      detail::Transfer<Space>::from_host(net.layers.running_mean.write(), mean.data(), 7 * sizeof(Sum), exec);
      optimizer.step(exec);
      average.update(optimizer.device_state(), exec);
      state.numbers["epoch"] = t;
    }
  }

  /// Everything that there is, as numbers.
  std::vector<double> everything()
  {
    std::vector<double> all;
    auto const take = [&](auto const& values) {
      for (auto const value : values) { all.push_back(test::as_double(value)); }
    };
    take(download(arena.masters(), arena.size(), exec));
    for (auto const& segment : arena.segments()) { take(test::values_of<Scalar>(segment, exec)); }
    take(download(optimizer.kept(0), exec));
    take(download(optimizer.kept(1), exec));
    take(download(average.values(), exec));
    for (auto const steps : download(optimizer.segment_steps(), exec)) {
      take(std::vector{static_cast<double>(steps)});
    }
    auto const now = optimizer.state(exec);
    for (auto const number :
         {static_cast<double>(now.step), static_cast<double>(now.skipped), static_cast<double>(now.calls),
          static_cast<double>(now.good_steps), now.loss_scale, now.learning_rate}) {
      all.push_back(number);
    }
    all.push_back(static_cast<double>(net.random >> 11));
    all.push_back(static_cast<double>(state.numbers["epoch"]));
    return all;
  }

  Execution<Space> exec;
  Net net;
  train::ParameterArena<Scalar, Space> arena;
  train::Optimizer<Rule, Scalar, Space> optimizer;
  train::MovingAverage<Scalar, Space> average;
  io::TrainingState<Rule, Scalar, Space> state;
};

template <class Scalar, class Space>
void resumes()
{
  if (test::skipped<Space>()) { return; }
  test::TempDir const dir;
  std::random_device random;
  auto const stop = static_cast<int>(random() % 30);
  CAPTURE(stop);
  Training<Scalar, Space> whole{1};
  whole.run(0, 30);
  Training<Scalar, Space> first{1};
  first.run(0, stop);
  io::save_training(dir / "run.safetensors", first.state, first.exec);
  CHECK(dir.num_files() == 1);
  Training<Scalar, Space> second{77};  // other weights, and steps of its own
  second.run(0, 3);
  io::resume_training(dir / "run.safetensors", second.state, second.exec);
  CHECK(second.everything() == first.everything());
  second.run(stop, 30);
  CHECK(second.everything() == whole.everything());
  // the same training gives the same bytes
  io::save_training(dir / "again.safetensors", whole.state, whole.exec);
  io::save_training(dir / "run.safetensors", second.state, second.exec);
  CHECK(test::read_bytes(dir / "again.safetensors") == test::read_bytes(dir / "run.safetensors"));
}

}  // namespace

TEST_CASE_TEMPLATE("training checkpoint<Host>: a resumed training has the bits of one that never stopped",
                   Scalar, TESSERA_TEST_SCALARS)
{
  resumes<Scalar, Host>();
}

#ifdef __CUDACC__
TEST_CASE_TEMPLATE("training checkpoint<Device>: a resumed training has the bits of one that never stopped",
                   Scalar, TESSERA_TEST_SCALARS)
{
  resumes<Scalar, Device>();
}
#endif

#ifdef __unix__
TEST_CASE("training checkpoint: who is killed while writing has the checkpoint before")
{
  test::TempDir const dir;
  auto const path = dir / "run.safetensors";
  std::uint32_t const seed = 3;
  CAPTURE(seed);
  std::mt19937 random{seed};
  int written = 0;
  for (int round = 0; round < 12; ++round) {
    CAPTURE(round);
    auto const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {  // goes on from what is there, and writes after every step until it is killed
      ::alarm(60);
      Training<float, Host> training{1, Execution<Host>{1}};
      int step = 0;
      if (std::filesystem::exists(path)) {
        io::resume_training(path, training.state, training.exec);
        step = static_cast<int>(training.state.numbers["epoch"]) + 1;
      }
      for (;; ++step) {
        training.run(step, step + 1);
        io::save_training(path, training.state, training.exec);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds{2000 + random() % 20'000});
    REQUIRE(::kill(child, SIGKILL) == 0);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    if (!std::filesystem::exists(path)) { continue; }
    Training<float, Host> survivor{9};
    io::resume_training(path, survivor.state, survivor.exec);
    auto const step = static_cast<int>(survivor.state.numbers["epoch"]) + 1;
    CHECK(step >= written);
    written = step;
    Training<float, Host> whole{1};
    whole.run(0, step);
    CHECK(survivor.everything() == whole.everything());
  }
  CHECK(written > 0);
}
#endif

TEST_CASE("training checkpoint: what does not fit is named, and changes nothing")
{
  test::TempDir const dir;
  auto const path = dir / "run.safetensors";
  Training<float, Host> training{1};
  training.run(0, 5);
  io::save_training(path, training.state, training.exec);

  Training<float, Host> other{2};
  other.run(0, 2);
  auto const before = other.everything();
  auto const refused = [&](auto& state) {
    return test::error_of([&] { io::resume_training(path, state, other.exec); });
  };
  train::Optimizer sgd{other.arena, train::Sgd{}, train::Schedule::constant(1), other.exec};
  io::TrainingState by_sgd{other.net, sgd};
  CHECK(test::has(refused(by_sgd), "is of the rule 'adamw', not 'sgd'"));

  io::TrainingState without{training.net, training.optimizer};
  io::save_training(path, without, training.exec);
  CHECK(test::has(refused(other.state), "has no 'average.conv.kernel'"));
  CHECK(other.everything() == before);

  io::save(training.net, path, io::Tessera{}, training.exec);
  CHECK(test::has(refused(other.state), "is no checkpoint of a training"));

  // a tensor that is missing, or of another shape; a byte that is
  io::save_training(path, training.state, training.exec);
  Safetensors const whole{path};
  for (std::string const lost :
       {"model.head.weight", "optimizer.second_moment.norm.bias", "optimizer.steps.conv.bias", "state.counts",
        "state.numbers", "schedule", "rule", "random.dropout.random_state", "average.norm.running_mean"}) {
    CAPTURE(lost);
    std::vector<NamedTensor> some;
    for (auto const& name : whole.names()) {
      if (name != lost) { some.emplace_back(name, whole.tensor(name)); }
    }
    write_safetensors(dir / "some.safetensors", some, whole.metadata());
    CHECK_THROWS_AS(io::resume_training(dir / "some.safetensors", other.state, other.exec), invalid_argument);
    CHECK(other.everything() == before);
  }
  {
    std::vector<float> const more{1};
    std::vector<NamedTensor> all{{"model.another.weight", raw_tensor(more, {1})}};
    for (auto const& name : whole.names()) { all.emplace_back(name, whole.tensor(name)); }
    write_safetensors(dir / "more.safetensors", all, whole.metadata());
    CHECK(test::has(
        test::error_of([&] { io::resume_training(dir / "more.safetensors", other.state, other.exec); }),
        "another.weight"));
    CHECK(other.everything() == before);
  }
  auto bytes = test::read_bytes(path);
  bytes.resize(bytes.size() - 3);
  test::write_bytes(path, bytes);
  CHECK_THROWS_AS(io::resume_training(path, other.state, other.exec), invalid_argument);
  CHECK_THROWS_AS(io::save_training(dir / "", other.state, other.exec), invalid_argument);
  CHECK(other.everything() == before);
}

TEST_CASE("training checkpoint: a loss scale begins where there was none, and ends where none is wanted")
{
  test::TempDir const dir;
  auto const path = dir / "run.safetensors";
  Training<float, Host> scaled{1};
  scaled.run(0, 5);
  io::save_training(path, scaled.state, scaled.exec);
  train::Optimizer plain{scaled.arena, train::AdamW{}.eps(0.5).weight_decay(3), train::Schedule::constant(1),
                         scaled.exec};
  io::TrainingState state{scaled.net, plain};
  io::resume_training(path, state, scaled.exec);
  CHECK(plain.state(scaled.exec).loss_scale == 1);
  CHECK(plain.state(scaled.exec).step == 4);
  CHECK(plain.rule().numbers() == scaled.optimizer.rule().numbers());
  CHECK(plain.schedule().learning_rate(7) == scaled.optimizer.schedule().learning_rate(7));
  io::save_training(path, state, scaled.exec);
  train::Optimizer again{scaled.arena, train::AdamW{}, train::Schedule::constant(1),
                         StepOptions{}.loss_scaler(train::LossScaler{}.initial(512)), scaled.exec};
  io::TrainingState second{scaled.net, again};
  io::resume_training(path, second, scaled.exec);
  CHECK(again.state(scaled.exec).loss_scale == 512);
  CHECK(again.loss_gradient().data[0] == 512);
}

TEST_CASE_TEMPLATE(
    "training checkpoint: io::load reads its parameters, and io::save gives them other names' layouts",
    Layout, io::TorchSparse, io::Krsc, io::Minkowski)
{
  test::TempDir const dir;
  Training<float, Host> training{1};
  training.run(0, 9);
  io::save_training(dir / "run.safetensors", training.state, training.exec);
  test::Network<float, Host> deployed{training.exec, 50};
  io::load(deployed, dir / "run.safetensors", io::Tessera{}, training.exec, LoadOptions{}.prefix("model."));
  auto const values = [&](auto& net) {
    std::vector<std::vector<float>> result;
    for (auto const& parameter : net.parameters()) {
      result.push_back(download(parameter.template as<float, Host>().data(), parameter.size, training.exec));
    }
    return result;
  };
  CHECK(values(deployed) == values(training.net));

  // averages, exported and read again in the layout of another library
  train::AveragedWeights const scope{training.average, training.exec};
  CHECK(values(deployed) != values(training.net));
  io::save(training.net, dir / "export.safetensors", Layout{}, training.exec);
  test::Network<float, Host> read{training.exec, 51};
  io::load(read, dir / "export.safetensors", Layout{}, training.exec);
  CHECK(values(read) == values(training.net));
}
