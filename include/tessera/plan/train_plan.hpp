// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/coords/points_view.hpp>
#include <tessera/coords/vote_labels.hpp>
#include <tessera/core/detail/work_event.hpp>
#include <tessera/ops/cast.hpp>
#include <tessera/ops/loss/options.hpp>
#include <tessera/plan/detail/step_graph.hpp>
#include <tessera/plan/detail/train_step.hpp>
#include <tessera/plan/limits.hpp>
#include <tessera/plan/status.hpp>
#include <tessera/plan/train_plan_options.hpp>
#include <tessera/train/optimizer.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// A whole training step in fixed memory, for any scan within limits: kernel maps, forward pass, loss, backward
/// pass, gradient clipping, optimizer, loss scale and moving averages. On the device it is one CUDA graph, on the
/// host the same calls one by one.
///
///     TrainPlan plan{network, loss, optimizer, PlanLimits().max_voxels(120'000), exec};
///     for each scan: plan.run(x, labels, exec);   // allocates nothing, waits for nothing
///     plan.check();                               // from time to time
///
/// `loss(output, labels, exec)` gives a matrix of one element, made of recorded operations; `labels` are
/// LabelsView of as many rows as the input has room for. On the device it is called when the plan is made, and
/// not by runs: what it reads besides its arguments must stay where it is.
///
/// All that changes from step to step lives in the space and advances there: the optimizer's StepState, the
/// loss scale, running statistics, averages, the loss itself, what a loss divides by. Layers that draw random
/// numbers follow Optimizer::device_calls() while there is the plan (nn::seed_by_step()), so a run has the bits
/// of a step by hand whose layers do so too. Weights are packed anew inside, and versions of all parameters
/// rise with each run. A block under checkpoint() is computed again with the same seeds, and updates its
/// statistics once.
///
/// A gradient that is not finite skips optimizer, step count and averages together, as Optimizer::step() does.
/// A scan that is not what the plan was made for (PlanReport: too many voxels, duplicates, labels that are no
/// class, one row alone for batch statistics) changes nothing at all, running statistics included; status() and
/// check() tell. With several ranks none of them takes a step for which one has such a scan.
///
/// What is trained and what is frozen, and whether the model is in training, is as it was when the plan was
/// made; parameters may be frozen later. Runs of one plan, and of plans that share an arena, follow one another;
/// one thread at a time.
///
/// @tparam Model  a module with a `Tensor` and `forward(Tensor const&, exec)`
/// @tparam Loss   see above
/// @tparam Rule   of the optimizer
/// Source: CUDA graphs (CUDA Programming Guide).
template <class Model, class Loss, class Rule>
class TrainPlan {
 public:
  using Tensor = typename Model::Tensor;
  using Scalar = typename Tensor::scalar;
  using Space = typename Tensor::space;
  using Sum = accumulator_t<Scalar>;
  using Optimizer = train::Optimizer<Rule, Scalar, Space>;
  using Options = TrainPlanOptions<Scalar, Space>;
  /// Memory that plans of the device may share, PlanArena; nothing on the host.
  using Arena = typename detail::StepGraph<Space>::Arena;
  static constexpr int dim = Tensor::dim;

  /// @param model, optimizer  outlive the plan
  /// @param loss     is copied
  /// @param limits   what runs may ask for; PlanLimits::channels() where the model does not tell
  /// @param arena    memory shared with other plans, of bytes() or more; without it the plan has its own
  /// @throws invalid_argument  limits that are not valid; a step waits for the host; collectives that do, over
  ///     MPI for instance; an operation without a gradient; a trained parameter that the optimizer's arena has
  ///     not; StepOptions::accumulate() above 1; PlanLimits::fuse(); an arena too small
  /// Cost: two steps on no voxels, which change nothing, and a capture.
  /// Stream: enqueues on `exec` and waits.
  TrainPlan(Model& model, Loss loss, Optimizer& optimizer, PlanLimits const& limits, Options const& options,
            Execution<Space> const& exec, std::shared_ptr<Arena> arena = nullptr)
      : limits_{limits},
        set_options_{set_options_of(limits)},
        scans_{limits, limits.channels() > 0 ? limits.channels() : detail::ChannelsOf<Model>::get(model)},
        step_{model, std::move(loss), optimizer, options, exec},
        graph_{exec}
  {
    static_cast<void>(limits_.template box<dim>());
    detail::expects(scans_.channels >= 1, "TrainPlan: ", scans_.channels,
                    " input channels; say PlanLimits::channels(), the model has no options().in_channels");
    detail::expects(!limits_.fuses(), "TrainPlan: PlanLimits::fuse(), but folded weights are not trained");
    auto const state = optimizer.state(exec);  // whose trials count as refused
    try {
      graph_.prepare([&](Execution<Space> const& on) { try_step(on); },
                     [&](Execution<Space> const& on) {
                       input_.emplace(limits_, scans_.channels, on);
                       enqueue(*input_, false, on);
                       graph_.note(step_.verdict(*input_, on), on);
                     },
                     std::move(arena), exec);
    } catch (...) {
      optimizer.set_state(state, exec);
      throw;
    }
    optimizer.set_state(state, exec);
    unreached_ = step_.tape().unreached_parameters();
  }
  TrainPlan(Model& model, Loss loss, Optimizer& optimizer, PlanLimits const& limits,
            Execution<Space> const& exec, std::shared_ptr<Arena> arena = nullptr)
      : TrainPlan{model, std::move(loss), optimizer, limits, Options{}, exec, std::move(arena)}
  {}
  TrainPlan(TrainPlan const&) = delete;
  TrainPlan& operator=(TrainPlan const&) = delete;
  /// Waits for the last run. Layers draw random numbers by their calls again.
  ~TrainPlan() { graph_.wait_quietly(); }

  /// Takes a step on a scan.
  ///
  /// | name        | shape            | memory | holds                                                |
  /// |-------------|------------------|--------|------------------------------------------------------|
  /// | coordinates | [rows, 1 + Dim]  | Space  | (batch, x, y, ...) int32, rows unique                |
  /// | features    | [rows, channels] | Space  | any values                                           |
  /// | labels      | [rows]           | Space  | classes, or what the loss ignores; null: -1 of each  |
  ///
  /// @param rows  how many, or in the space how many of so many
  /// @throws invalid_argument  more rows than planned, and then nothing was enqueued; a parameter that was frozen
  ///     when the plan was made is not any more; the stream is being captured; cuda_error. On the host also what
  ///     the loss or a layer throws that is no fault of the scan; nothing has changed then
  /// Stream: enqueues two kernels and one graph on `exec`'s stream, and a kernel for each parameter that was
  /// written or frozen since; does not wait, allocates nothing.
  /// Determinism: the same bits as a step by hand on the same scan.
  void run(std::int32_t const* coordinates, Scalar const* features, std::int32_t const* labels,
           RowCount const& rows, Execution<Space> const& exec)
  {
    run_scan({{coordinates, features, rows}, labels, nullptr}, exec);
  }
  /// The same of a tensor; what is known to be wrong with it is wrong with the run.
  /// @throws invalid_argument  also: other channels, a tensor stride above 1, another spatial range, other
  ///     labels than rows
  void run(Tensor const& x, ops::LabelsView const& labels, Execution<Space> const& exec)
  {
    expect(scans_.accepts(x));
    detail::expects(labels.rows == x.capacity(), "TrainPlan: ", labels.rows, " labels for ", x.capacity(),
                    " rows");
    run_scan({scans_.scan_of(x), labels.data, detail::access(*x.coordinates()).errors()}, exec);
  }
  /// The same of matrices.
  void run(MatrixView<std::int32_t const> const& coordinates, MatrixView<Scalar const> const& features,
           ops::LabelsView const& labels, Execution<Space> const& exec)
  {
    expect(scans_.accepts(coordinates, features));
    detail::expects(labels.rows == coordinates.rows, "TrainPlan: ", labels.rows, " labels for ",
                    coordinates.rows, " rows");
    run(coordinates.data, features.data, labels.data, RowCount{coordinates.rows, nullptr}, exec);
  }

  /// The same of points: their voxels, and of each the label that most of its points have, are made before the
  /// graph, in memory of `exec`.
  ///
  /// | name   | shape        | memory | holds                                            |
  /// |--------|--------------|--------|--------------------------------------------------|
  /// | points |              | Space  | one cloud or a batch, with the network's channels |
  /// | labels | [num_points] | Space  | classes, or `ignored`                            |
  ///
  /// @param ignored  points of this label do not vote; voxels without a vote get it
  /// @throws invalid_argument  also: as sparse_quantize() and vote_labels()
  /// Cost: as sparse_quantize() and vote_labels() besides the step.
  /// Stream: as those; allocates in stream order, does not wait.
  /// Determinism: as those.
  void run(PointsView<float> const& points, std::int32_t const* labels, QuantizeOptions<dim> const& options,
           std::int32_t ignored, Execution<Space> const& exec)
  {
    VoxelRoom<dim> const room{limits_.voxels(), limits_.template box<dim>(), set_options_};
    auto voxels = sparse_quantize(points, options, room, exec);
    auto const classes = vote_labels(voxels, labels, ignored, exec);
    SparseTensor<dim, float, Space> const x{voxels.coordinates, std::move(voxels.features)};
    if constexpr (std::is_same_v<Scalar, float>) {
      run(x, classes, exec);
    } else {
      run(cast<Scalar>(x, exec), classes, exec);
    }
  }

  /// What is known without waiting about the runs since the last check() or acknowledge().
  /// Stream: neither waits nor enqueues.
  [[nodiscard]] PlanReport status() const noexcept { return graph_.report(); }
  /// From here on status() and check() report later runs only.
  void acknowledge() noexcept { static_cast<void>(graph_.record().take_faults()); }
  /// Throws what went wrong in the runs since the last call; the steps in question were not taken.
  /// @throws invalid_argument  as PlanReport has it: faults of scans, a loss or gradient that is not finite and
  ///     that no smaller loss scale can help
  /// @throws std::runtime_error  communication_error: a rank does not answer
  /// Stream: waits for the last run.
  void check()
  {
    graph_.wait();
    step_.communicator().check();
    auto const faults = graph_.record().take_faults();
    detail::report(faults, graph_.record().bad_row());
  }

  /// The loss of the last run, before it was scaled; of the rank's own part of the batch.
  /// Stream: waits for `exec`.
  [[nodiscard]] Sum loss(Execution<Space> const& exec) const
  {
    graph_.order(exec);
    return download(step_.loss(), exec).front();
  }
  /// The same where kernels may read it, [1] in `Space`.
  [[nodiscard]] Sum const* device_loss() const noexcept { return step_.loss().data(); }

  /// Names of trained parameters that no gradient reaches: the loss does not depend on them.
  [[nodiscard]] std::vector<std::string> const& unreached_parameters() const noexcept { return unreached_; }
  /// Most bytes that a step has in use: everything but parameters, gradients and what the optimizer keeps. On
  /// the device those of the arena, on the host those seen so far.
  [[nodiscard]] std::size_t bytes() const { return graph_.bytes(); }
  /// Kernels and fills of a step's graph; 0 on the host.
  [[nodiscard]] std::size_t num_nodes() const noexcept { return graph_.num_nodes(); }
  [[nodiscard]] PlanLimits const& limits() const noexcept { return limits_; }

 private:
  using Step = detail::TrainStep<Model, Loss, Rule>;
  using Input = typename Step::Input;
  using Scan = typename Input::Scan;

  /// Maps are kept, unlike those of inference: the backward pass reads them too.
  [[nodiscard]] static CoordinateSetOptions<dim> set_options_of(PlanLimits const& limits)
  {
    auto options = limits.template set_options<dim>();
    options.fixed_capacity->releases_maps = false;
    return options;
  }
  static void expect(RunStatus const& status)
  {
    if (!status.ok()) { detail::fail("Train", status.sentence()); }
  }

  void run_scan(Scan const& scan, Execution<Space> const& exec)
  {
    expect(scans_.accepts(scan.rows));
    step_.expect_as_planned();
    detail::expects(
        !detail::WorkEvent<Space>::is_capturing(exec),
        "TrainPlan: the stream is being captured, but parameters are to be marked as written after "
        "each run");
    graph_.order(exec);
    step_.arena().follow_parameters(exec);
    if constexpr (std::is_same_v<Space, Host>) {
      graph_.run([&](Execution<Host> const& on) { run_now(scan, on); }, scan, exec);
    } else {
      graph_.run(nullptr, input_->ingest(scan), exec);
    }
    step_.arena().mark_written();
    step_.communicator().watch(exec);
  }
  /// A run on the host, where layers and losses throw.
  void run_now(Scan const& scan, Execution<Space> const& exec)
  {
    Input input{limits_, scans_.channels, exec};
    auto const ingest = input.ingest(scan);
    for_each(ingest.rows.count_items(), ingest.rows, exec);
    for_each(ingest.labels.capacity, ingest.labels, exec);
    try {
      enqueue(input, false, exec);
    } catch (invalid_argument const&) {
      if (!step_.undo(input, exec)) { throw; }
    } catch (...) {
      static_cast<void>(step_.undo(input, exec));
      throw;
    }
    graph_.note(step_.verdict(input, exec), exec);
  }
  /// A step on no voxels that changes nothing.
  void try_step(Execution<Space> const& exec)
  {
    Input input{limits_, scans_.channels, exec};
    input.clear(exec);
    enqueue(input, true, exec);
    static_cast<void>(step_.verdict(input, exec));
  }
  void enqueue(Input& input, bool is_trial, Execution<Space> const& exec)
  {
    step_.enqueue(input, limits_.template box<dim>(), set_options_, is_trial, exec);
  }

  PlanLimits limits_;
  CoordinateSetOptions<dim> set_options_;
  detail::ScanLimits<dim, Scalar, Space> scans_;
  Step step_;
  std::vector<std::string> unreached_;
  detail::StepGraph<Space> graph_;  // before what lies in its memory
  std::optional<Input> input_;      // that the graph reads; none on the host
};

template <class Model, class Loss, class Rule, class Scalar, class Space>
TrainPlan(Model&, Loss, train::Optimizer<Rule, Scalar, Space>&, PlanLimits const&, Execution<Space> const&)
    -> TrainPlan<Model, Loss, Rule>;
template <class Model, class Loss, class Rule, class Scalar, class Space>
TrainPlan(Model&, Loss, train::Optimizer<Rule, Scalar, Space>&, PlanLimits const&,
          TrainPlanOptions<Scalar, Space> const&, Execution<Space> const&) -> TrainPlan<Model, Loss, Rule>;
template <class Model, class Loss, class Rule, class Scalar, class Space, class Arena>
TrainPlan(Model&, Loss, train::Optimizer<Rule, Scalar, Space>&, PlanLimits const&, Execution<Space> const&,
          std::shared_ptr<Arena>) -> TrainPlan<Model, Loss, Rule>;
template <class Model, class Loss, class Rule, class Scalar, class Space, class Arena>
TrainPlan(Model&, Loss, train::Optimizer<Rule, Scalar, Space>&, PlanLimits const&,
          TrainPlanOptions<Scalar, Space> const&, Execution<Space> const&, std::shared_ptr<Arena>)
    -> TrainPlan<Model, Loss, Rule>;

}  // namespace v0
}  // namespace tessera
