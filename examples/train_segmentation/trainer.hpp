// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/program.hpp"
#include "batch.hpp"
#include "options.hpp"

#include <tessera/autograd/tape.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/training_checkpoint.hpp>
#include <tessera/models/minkunet.hpp>
#include <tessera/ops/loss/add_losses.hpp>
#include <tessera/ops/loss/cross_entropy.hpp>
#include <tessera/ops/loss/lovasz_softmax.hpp>
#include <tessera/train/data_parallel.hpp>
#include <tessera/train/moving_average.hpp>
#include <tessera/train/optimizer.hpp>
#include <tessera/train/parameter_arena.hpp>

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

namespace train_segmentation {

/// A network that is trained, with all that belongs to it.
template <class Scalar, class Space>
class Trainer {
 public:
  using Sum = ts::accumulator_t<Scalar>;
  using Network = ts::models::MinkUNet<3, Scalar, Space>;
  using Ranks = ts::train::Communicator<Space>;

  Trainer(Options const& options, int num_classes, ts::ConvConfig const& config, Ranks const& ranks,
          ts::Execution<Space> const& exec)
      : options_{options},
        voxels_{options.voxels()},
        exec_{exec},
        ranks_{ranks},
        network_{ts::MinkUNetOptions(in_channels, num_classes)
                     .width(options.width)
                     .config(config)
                     .seed(options.scans.seed),
                 exec},
        arena_{network_, exec},
        optimizer_{arena_, ts::train::AdamW{}.weight_decay(options.weight_decay), options.learning_rates(),
                   step_options(options), exec},
        average_{arena_, options.average_decay, exec, true},
        parallel_{ranks_, network_, arena_, watched(tape_, network_), exec}
  {
    network_.train();
    for (auto const& setting : settings_of(options)) { numbers_[setting.option] = setting.number; }
    numbers_["classes"] = num_classes;
  }

  [[nodiscard]] Network& network() noexcept { return network_; }
  [[nodiscard]] ts::train::MovingAverage<Scalar, Space>& average() noexcept { return average_; }
  [[nodiscard]] ts::train::StepState state() const { return optimizer_.state(exec_); }

  /// What a step tells, the same on every rank.
  struct Outcome {
    float loss = 0;        // of all ranks' scans
    bool stopped = false;  // a rank was asked to stop
  };

  /// Takes a step, or leaves it out where a gradient of half precision overflows.
  /// @param scans  of this rank
  /// @param stop   whether this rank was asked to stop, which all of them are told
  /// @throws Failure  the loss or a gradient is no number; nothing has changed then
  [[nodiscard]] Outcome step(std::vector<ts::PointCloud> const& scans, bool stop)
  {
    auto const batch = make_batch<Scalar, Space>(scans, voxels_, exec_);
    optimizer_.zero_grad(exec_);
    auto const recorded = exec_.with_recorder(tape_);
    auto const logits = network_(batch.x, recorded);
    auto options = ts::CrossEntropyOptions<Sum>().ignore(no_class);
    auto count = ts::loss_weight(logits, batch.labels, options, exec_);
    ranks_.all_reduce_sum(count.data(), 1, exec_);
    auto const entropy = ts::cross_entropy(logits, batch.labels, options.normalizer(count.data()), recorded);
    // The Lovász loss is no sum over voxels: that of all ranks is the mean of theirs.
    auto const lovasz =
        ts::lovasz_softmax(logits, batch.labels, ts::LovaszSoftmaxOptions<Sum>().ignore(no_class), recorded);
    auto const loss = ts::add_losses(entropy, 1.0, lovasz, options_.lovasz / ranks_.size(), recorded);

    auto const told = tell(loss, stop);
    batch.x.coordinates()->check(exec_);  // labels that are no class
    if (!std::isfinite(told.loss)) {
      tape_.reset();
      throw program::Failure{"the loss of step " + std::to_string(state().step + 1) + " is " +
                             (std::isnan(told.loss) ? "not a number" : "infinite") +
                             "; a smaller --learning-rate or --clip may help"};
    }
    parallel_.backward(loss, optimizer_.loss_gradient(), exec_);
    if (auto const unreached = tape_.unreached_parameters(); !unreached.empty()) {
      throw program::Failure{"no gradient reached " + unreached.front() + "; the network does not use it"};
    }
    optimizer_.step(exec_);
    optimizer_.check(exec_);
    average_.update(optimizer_.device_state(), exec_);
    return told;
  }

  /// Writes what resume() goes on from; the file takes its name when it is complete.
  void save(std::string const& path)
  {
    auto all = training();
    all.numbers = numbers_;
    ts::io::save_training(path, all, exec_);
  }
  /// Goes on where save() was called, with the same bits.
  /// @throws Failure  the checkpoint is of a training with other options
  void resume(std::string const& path)
  {
    expect_settings(path);
    auto all = training();
    ts::io::resume_training(path, all, exec_);
  }

 private:
  static ts::StepOptions step_options(Options const& options)
  {
    ts::StepOptions result;
    result.clip_norm(options.clip_norm);
    if (std::is_same_v<Scalar, Sum>) { return result; }
    // bfloat16 has the range of float, so that only half precision needs a scale
    if (ts::ScalarTraits<Scalar>::dtype == ts::DType::float16) {
      result.loss_scaler(ts::train::LossScaler{});
    }
    return result;
  }
  static ts::Tape<Space>& watched(ts::Tape<Space>& tape, Network& network)
  {
    tape.watch(network);
    return tape;
  }

  [[nodiscard]] auto training()
  {
    return ts::io::TrainingState<ts::train::AdamW, Scalar, Space>{network_, optimizer_, &average_};
  }

  /// The loss of all ranks, and whether one was asked to stop.
  [[nodiscard]] Outcome tell(ts::Matrix<Sum, Space> const& loss, bool stop)
  {
    auto const own = ts::download(loss.data(), 1, exec_).front();
    if (ranks_.is_alone()) { return {static_cast<float>(own), stop}; }
    auto both = ts::upload(std::vector<Sum>{own, stop ? Sum{1} : Sum{0}}, exec_);
    ranks_.all_reduce_sum(both.data(), 2, exec_);
    auto const sums = ts::download(both, exec_);
    return {static_cast<float>(sums[0]), sums[1] > 0};
  }

  void expect_settings(std::string const& path) const
  {
    ts::Safetensors const file{path};
    auto const number_of = [&](std::string const& name) {
      auto const key = "number." + name;
      if (!file.contains(key)) { throw program::Failure{path + " is no checkpoint of train_segmentation"}; }
      return file.to<std::int64_t>(key).front();
    };
    if (number_of("classes") != numbers_.at("classes")) {
      throw program::Failure{path + " is of a training with " + std::to_string(number_of("classes")) +
                             " classes, and this one has " + std::to_string(numbers_.at("classes"))};
    }
    for (auto const& setting : settings_of(options_)) {
      auto const there = number_of(setting.option);
      if (there == setting.number) { continue; }
      throw program::Failure{path + " is of a training with another " + setting.option + " than " +
                             setting.text + "; --resume takes the options that it began with"};
    }
  }

  Options const& options_;
  ts::QuantizeOptions<3> voxels_;
  ts::Execution<Space> exec_;
  Ranks ranks_;
  Network network_;
  ts::train::ParameterArena<Scalar, Space> arena_;
  ts::train::Optimizer<ts::train::AdamW, Scalar, Space> optimizer_;
  ts::train::MovingAverage<Scalar, Space> average_;
  ts::Tape<Space> tape_;
  ts::train::DataParallel<Scalar, Space> parallel_;
  std::map<std::string, std::int64_t> numbers_;
};

}  // namespace train_segmentation
