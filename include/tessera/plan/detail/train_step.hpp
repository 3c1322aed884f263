// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/autograd/tape.hpp>
#include <tessera/core/error.hpp>
#include <tessera/nn/detail/derived_weight.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/nn/step_seeds.hpp>
#include <tessera/ops/loss/options.hpp>
#include <tessera/plan/detail/step_graph.hpp>
#include <tessera/plan/detail/step_guard.hpp>
#include <tessera/plan/detail/train_input.hpp>
#include <tessera/plan/train_plan_options.hpp>
#include <tessera/train/optimizer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What a TrainPlan runs: forward pass, loss, backward pass, optimizer and averages, on a scan in fixed room.
///
/// From its first step until it ends, layers of the model draw random numbers by the optimizer's calls.
template <class Model, class Loss, class Rule>
class TrainStep {
 public:
  using Tensor = typename Model::Tensor;
  using Scalar = typename Tensor::scalar;
  using Space = typename Tensor::space;
  using Sum = accumulator_t<Scalar>;
  using Optimizer = train::Optimizer<Rule, Scalar, Space>;
  using Options = TrainPlanOptions<Scalar, Space>;
  using Input = TrainInput<Tensor::dim, Scalar, Space>;

  /// @throws invalid_argument  what the constructor of a TrainPlan says of model, optimizer and ranks
  TrainStep(Model& model, Loss&& loss, Optimizer& optimizer, Options const& options,
            Execution<Space> const& exec)
      : model_{model},
        loss_function_{std::move(loss)},
        optimizer_{optimizer},
        options_{options},
        guard_{optimizer.arena(), exec},
        loss_{1, exec}
  {
    expects(optimizer.options().accumulate() == 1, "TrainPlan: StepOptions::accumulate(",
            optimizer.options().accumulate(), "), but each run takes a step; put the scans into one batch");
    expects(
        communicator().is_capturable(),
        "TrainPlan: these collectives wait for the host, as those over MPI do, which a graph cannot; train "
        "step by step, or over NCCL");
    note_parameters();
    tape().watch(model);
    optimizer.arena().follow_parameters(exec);
    fill_bytes(loss_, 0, exec);
  }
  TrainStep(TrainStep const&) = delete;
  TrainStep& operator=(TrainStep const&) = delete;
  ~TrainStep() { nn::seed_by_step<Space>(model_, nullptr); }

  /// Takes a step on what `input` holds; a trial changes nothing.
  /// Stream: enqueues on `exec`, does not wait.
  void enqueue(Input& input, CoordinateBox<Tensor::dim> const& box,
               CoordinateSetOptions<Tensor::dim> const& set, bool is_trial, Execution<Space> const& exec)
  {
    PackAtUse const pack_at_use;
    auto& optimizer = optimizer_;
    // each time: another plan of the model may have ended since
    nn::seed_by_step<Space>(model_, optimizer.device_calls());
    guard_.keep(exec);  // first: on the host the next may throw
    input.make(box, set, exec);
    optimizer.zero_grad(exec);
    try {
      differentiate(input, exec);
    } catch (...) {
      tape().reset();
      throw;
    }
    StepGraph<Space>::join_map_streams(exec);  // where errors are noted too
    guard_.judge_data(input.errors(), is_trial, communicator(), exec);
    guard_.restore(exec);
    optimizer.step(exec, guard_.gate());
    for (auto* const average : options_.averages()) { average->update(optimizer.device_state(), exec); }
  }
  /// Puts back what a step has changed that threw on the host.
  /// @returns whether the scan was at fault, which the verdict then tells
  bool undo(Input const& input, Execution<Space> const& exec)
  {
    guard_.judge_data(nullptr, true, communicator(), exec);
    guard_.restore(exec);
    if (!input.has_tensor() || *input.errors() == 0) { return false; }
    optimizer_.step(exec, guard_.gate());
    return true;
  }
  /// What to note of the step, [2] in `Space`: bits of DataError and the code of a row.
  /// Stream: enqueues a kernel.
  [[nodiscard]] std::uint32_t const* verdict(Input const& input, Execution<Space> const& exec)
  {
    return guard_.judge_run(input.errors(), optimizer_.device_state(), optimizer_.options(), exec);
  }

  /// [1] the loss of the latest step.
  [[nodiscard]] Buffer<Sum, Space> const& loss() const noexcept { return loss_; }
  [[nodiscard]] Tape<Space>& tape() noexcept
  {
    return options_.parallel() != nullptr ? options_.parallel()->tape() : own_tape_;
  }
  [[nodiscard]] train::Communicator<Space> const& communicator() const noexcept
  {
    return options_.parallel() != nullptr ? options_.parallel()->communicator() : alone_;
  }
  [[nodiscard]] typename Optimizer::Arena& arena() const noexcept { return optimizer_.arena(); }

  /// Throws where a parameter is trained that was frozen at first.
  void expect_as_planned() const
  {
    auto const& segments = arena().segments();
    for (std::size_t i = 0; i < segments.size(); ++i) {
      expects(was_trained_[i] || !segments[i].is_trained(), "TrainPlan: parameter \"", segments[i].name(),
              "\" was frozen when the plan was made, so it has no gradient in it; make the plan anew");
    }
  }

 private:
  void note_parameters()
  {
    auto const& segments = arena().segments();
    for (auto const& segment : segments) { was_trained_.push_back(segment.is_trained()); }
    for (auto const& parameter : model_.parameters()) {
      bool const known = std::any_of(segments.begin(), segments.end(), [&](auto const& segment) {
        return segment.parameter.parameter == parameter.parameter;
      });
      expects(known || !parameter.is_trained(), "TrainPlan: parameter \"", parameter.name,
              "\" is not in the optimizer's arena, so nobody steps it");
    }
  }
  void differentiate(Input const& input, Execution<Space> const& exec)
  {
    auto const recording = exec.with_recorder(tape());
    ops::LabelsView const labels{input.labels()};
    auto const loss = loss_function_(model_.forward(input.tensor(), recording), labels, recording);
    expects(loss.size() == 1, "TrainPlan: the loss has ", loss.size(), " elements instead of one");
    for_each(1, CopyOne<Sum>{loss.data(), loss_.data()}, exec);
    if (options_.parallel() != nullptr) {
      options_.parallel()->backward(loss, optimizer_.loss_gradient(), exec);
    } else {
      tape().backward(loss, optimizer_.loss_gradient(), exec);
    }
  }

  Model& model_;
  Loss loss_function_;
  Optimizer& optimizer_;
  Options options_;
  train::Communicator<Space> alone_;
  Tape<Space> own_tape_;
  StepGuard<Scalar, Space> guard_;
  Buffer<Sum, Space> loss_;
  std::vector<bool> was_trained_;  // each segment of the arena
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
