// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/launch.cuh>
#include <tessera/plan/arena.cuh>
#include <tessera/plan/destination.hpp>
#include <tessera/plan/detail/arena_graph.cuh>
#include <tessera/plan/detail/measure_plan.cuh>
#include <tessera/plan/detail/model_point_input.cuh>
#include <tessera/plan/detail/plan_input.cuh>
#include <tessera/plan/detail/plan_output.cuh>
#include <tessera/plan/detail/plan_record.cuh>
#include <tessera/plan/detail/plan_weights.hpp>
#include <tessera/plan/detail/planned_model.cuh>
#include <tessera/plan/detail/point_input.cuh>
#include <tessera/plan/forward_bev.hpp>
#include <tessera/plan/forward_voxels.hpp>
#include <tessera/plan/limits.hpp>
#include <tessera/plan/planned_points.hpp>
#include <tessera/plan/status.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

/// A whole network as one CUDA graph: coordinate sets, kernel maps and layers in fixed memory, for any scan
/// within the limits; with PlanLimits::voxelize() or model_voxelizes() voxels and labels of points too.
///
/// The graph makes coordinate sets and kernel maps beside the layers (MapStreams), and kernels of
/// convolutions begin before those ahead of them have ended.
///
/// A run copies the scan into the plan's memory and launches the graph on the caller's stream. Nothing is
/// allocated and nothing waits; numbers of rows stay on the device. try_run() and status() throw nothing
/// either, so they may be called from a TensorRT plugin's `enqueue`.
///
/// Parameters are read where the model keeps them, so the model must outlive the plan. Packed and folded
/// weights are shared with the layers: once a parameter was written (Parameter::version()), runs are refused
/// until refresh() has made them again.
///
/// A scan of more voxels than planned is refused before anything is enqueued, or, where only the device knows
/// their number, reported by check() and status(), as are a derived set of more voxels than planned,
/// duplicates, and coordinates outside the bounds. Nothing is then written past a buffer, and the next run is
/// as good as ever; the output of the run in question is not to be used.
///
/// Several plans may run on several streams at once, from several threads; runs of one plan, and of plans
/// that share an arena, follow one another. A run that is captured into a graph of the caller's is the
/// caller's to keep apart from others of the arena, and to wait for.
///
/// @tparam Model  has a `Tensor` type and `forward(Tensor const&, exec)`; what that returns is the output. A
///                network, what nn::fuse() makes of one, forward_bev(network), forward_voxels(network of
///                points)
/// @tparam Voxelization  void, QuantizeOptions or VoxelizeOptions (PlanLimits::voxelize()), or ModelVoxelizes
/// Source: CUDA graphs (CUDA Programming Guide); the idea of planning a network once is TensorRT's.
template <class Model, class Voxelization = void>
class Plan {
 public:
  using Tensor = typename Model::Tensor;
  using Scalar = typename Tensor::scalar;
  static constexpr int dim = Tensor::dim;
  using Output = detail::PlannedOutput<Model, detail::ValueOf<dim, Scalar, Voxelization>>;
  static constexpr bool takes_points = !std::is_void_v<Voxelization>;
  using Limits = typename detail::LimitsOf<Voxelization>::type;
  using Destination = typename detail::DestinationOf<Output>::type;

  /// @param limits  what runs may ask for; PlanLimits::channels() where the model does not tell
  /// @param arena   memory shared with other plans, of bytes() or more; without it the plan has its own
  /// @throws invalid_argument  limits that are not valid; forward() waits for the host; an arena too small
  /// Cost: two forward passes on no voxels, and a capture.
  /// Stream: enqueues on `exec` and waits.
  Plan(Model& model, Limits const& limits, Execution<Device> const& exec,
       std::shared_ptr<PlanArena> arena = nullptr)
      : limits_{detail::resolved(limits)},
        channels_{limits.channels() > 0 ? limits.channels() : detail::ChannelsOf<Model>::get(model)},
        graph_{exec.device()}
  {
    detail::DeviceGuard const guard{exec.device()};
    auto planned = detail::plan_model<Input>(model, limits_, channels_, exec);
    graph_.allocate(detail::measure_plan<Input>(planned, limits_, channels_, exec), std::move(arena), exec);
    record_.emplace(exec);
    exec.wait();  // the arena's memory is there, on every stream

    detail::WeightUses<Device> uses;
    graph_.capture(
        [&](Execution<Device> const& own) {
          detail::access(*own.map_streams()).let_kernels_overlap();
          input_.emplace(limits_, channels_, false, own);
          output_ = std::make_unique<Output>(planned.forward(input_->tensor, own));
          own.map_streams()->join();
          input_->label(*output_, own);
          for_each(1, record_->note(input_->errors()), own);
        },
        "Plan: forward()");
    weights_ = detail::PlanWeights<Device>{uses.take(), planned};
  }
  /// The same of a view of a model, such as forward_bev() makes, which may end with this call.
  template <class View = Model, class = std::enable_if_t<View::is_model_view>>
  Plan(View&& model, Limits const& limits, Execution<Device> const& exec,
       std::shared_ptr<PlanArena> arena = nullptr)
      : Plan{static_cast<Model&>(model), limits, exec, std::move(arena)}
  {}
  Plan(Plan const&) = delete;
  Plan& operator=(Plan const&) = delete;
  /// Waits for the last run.
  ~Plan() { graph_.wait_quietly(); }

  /// Bytes of an arena for such a plan.
  [[nodiscard]] static std::size_t measure(Model& model, Limits const& limits, int channels,
                                           Execution<Device> const& exec)
  {
    auto const all = detail::resolved(limits);
    auto planned = detail::plan_model<Input>(model, all, channels, exec);
    return detail::total_bytes(detail::measure_plan<Input>(planned, all, channels, exec));
  }

  /// Runs the network on a scan in device memory.
  ///
  /// | name        | shape                | memory | holds                                           |
  /// |-------------|----------------------|--------|-------------------------------------------------|
  /// | coordinates | [rows, 1 + Dim]      | Device | (batch, x, y, ...) int32, rows unique           |
  /// | features    | [rows, channels]     | Device | any values                                      |
  ///
  /// @param rows  how many, or on the device how many of so many
  /// @param to    memory of the caller's that the output is written to as well
  /// @returns the output, in the plan's memory, good until the next run; its CoordinateSet::num_rows() waits
  /// @throws invalid_argument  more rows than planned; a destination that may be too small; a parameter written
  /// since its weight was packed, by name; cuda_error
  /// Stream: enqueues one kernel and one graph on `exec`'s stream, and for a destination one kernel each for
  /// features, coordinates, number and labels (for a dense map a copy); does not wait, allocates nothing.
  /// Determinism: the same bits as forward() on the same scan.
  Output const& run(std::int32_t const* coordinates, Scalar const* features, RowCount const& rows,
                    Destination const& to, Execution<Device> const& exec)
  {
    expect(on_device(exec));
    expect(enqueue(scan_of(coordinates, features, rows), to, exec.stream()));
    return *output_;
  }
  Output const& run(std::int32_t const* coordinates, Scalar const* features, RowCount const& rows,
                    Execution<Device> const& exec)
  {
    return run(coordinates, features, rows, Destination{}, exec);
  }
  /// The same of a tensor.
  /// @throws invalid_argument  also: other channels, a tensor stride above 1, another spatial range
  Output const& run(Tensor const& x, Destination const& to, Execution<Device> const& exec)
  {
    expect(input_->accepts(x));
    return run(rows_of(x), x.features().data, x.coordinates()->row_count(), to, exec);
  }
  Output const& run(Tensor const& x, Execution<Device> const& exec) { return run(x, Destination{}, exec); }
  /// The same of two matrices.
  Output const& run(MatrixView<std::int32_t const> const& coordinates,
                    MatrixView<Scalar const> const& features, Execution<Device> const& exec)
  {
    expect(input_->accepts(coordinates, features));
    return run(coordinates.data, features.data, RowCount{coordinates.rows, nullptr}, exec);
  }

  /// run() that throws and allocates nothing: what is wrong is in the status, and then nothing is enqueued
  /// (RunError::cuda_failure excepted). It takes a stream of the plan's device: making an Execution may throw.
  [[nodiscard]] RunStatus try_run(std::int32_t const* coordinates, Scalar const* features,
                                  RowCount const& rows, Destination const& to, StreamHandle stream) noexcept
  {
    return enqueue(scan_of(coordinates, features, rows), to, stream);
  }
  [[nodiscard]] RunStatus try_run(std::int32_t const* coordinates, Scalar const* features,
                                  RowCount const& rows, StreamHandle stream) noexcept
  {
    return enqueue(scan_of(coordinates, features, rows), {}, stream);
  }
  [[nodiscard]] RunStatus try_run(Tensor const& x, Destination const& to, StreamHandle stream) noexcept
  {
    auto const status = input_->accepts(x);
    return status.ok() ? try_run(rows_of(x), x.features().data, x.coordinates()->row_count(), to, stream)
                       : status;
  }
  [[nodiscard]] RunStatus try_run(Tensor const& x, StreamHandle stream) noexcept
  {
    return try_run(x, Destination{}, stream);
  }

  /// Runs a plan that takes points: voxels, network, and the class of each point.
  ///
  /// | name   | shape                 | memory           | holds                                           |
  /// |--------|-----------------------|------------------|-------------------------------------------------|
  /// | points | [num_points, columns] | Device or host   | position, then any features; any values         |
  ///
  /// Points in pinned host memory are copied in the stream, so they must stay until the run has finished;
  /// those in pageable memory, which must follow each other, are staged first, which takes the host some
  /// time. Rows may be some bytes apart (rows_at()) and columns too (columns_at()).
  /// @param used  [1] on the device, how many of the points are used; null: all
  /// @returns what the plan's memory holds until the next run
  /// @throws invalid_argument  more points than planned, other columns; a destination that may be too small
  /// Stream: as above, and the copy of points that are on the host.
  /// Determinism: the voxels and bits of sparse_quantize() or hard_voxelize(), cast() and forward().
  PlannedPoints<Output> run(StridedView<float const> const& points, std::int32_t const* used,
                            Destination const& to, Execution<Device> const& exec)
  {
    expect(on_device(exec));
    expect(enqueue(scan_of(points, used), to, exec.stream()));
    return points_output();
  }
  PlannedPoints<Output> run(StridedView<float const> const& points, Destination const& to,
                            Execution<Device> const& exec)
  {
    return run(points, nullptr, to, exec);
  }
  PlannedPoints<Output> run(StridedView<float const> const& points, Execution<Device> const& exec)
  {
    return run(points, nullptr, Destination{}, exec);
  }
  /// The same without exceptions; see above.
  [[nodiscard]] RunStatus try_run(StridedView<float const> const& points, std::int32_t const* used,
                                  Destination const& to, StreamHandle stream) noexcept
  {
    return enqueue(scan_of(points, used), to, stream);
  }
  [[nodiscard]] RunStatus try_run(StridedView<float const> const& points, Destination const& to,
                                  StreamHandle stream) noexcept
  {
    return enqueue(scan_of(points, nullptr), to, stream);
  }

  /// Packs anew, in place, the weights whose parameters were written since they were packed; runs from here on
  /// read them. No new capture.
  /// @pre  work that reads these weights elsewhere, runs of other plans and forward() on other streams,
  ///       precedes it on the device, as it does the write
  /// @throws invalid_argument  another device, or a stream that is being captured
  /// Cost: one pass over those weights.
  /// Stream: waits, on the device, for the last run; enqueues a kernel per weight. The host waits once per
  /// folded norm whose parameters were written, to see whether the folded weight is finite; else not.
  /// Determinism: the bits of a plan made now.
  void refresh(Execution<Device> const& exec)
  {
    expect(on_device(exec));
    detail::expects(!detail::WorkEvent<Device>::is_capturing(exec),
                    "Plan::refresh: the stream is being captured");
    detail::DeviceGuard const guard{graph_.device()};
    auto& arena = graph_.arena();
    std::lock_guard const lock{arena.mutex()};
    detail::cuda_check(cudaStreamWaitEvent(exec.stream(), arena.last_run(), 0));
    weights_.refresh(exec);
    detail::cuda_check(cudaEventRecord(arena.last_run(), exec.stream()));
  }

  /// What the last run put out.
  [[nodiscard]] Output const& output() const noexcept { return *output_; }
  /// The same of a plan that takes points.
  [[nodiscard]] PlannedPoints<Output> points_output() const noexcept
  {
    return {output_.get(), input_->labels.data(), input_->inverse.data()};
  }

  /// What is known without waiting about the runs since the last check() or acknowledge(). Any thread may
  /// ask, at any time, also while a stream is captured.
  /// Stream: neither waits nor enqueues.
  [[nodiscard]] PlanReport status() const noexcept
  {
    auto report = record_->report();
    graph_.report_to(report);
    return report;
  }
  /// From here on status() and check() report later runs only.
  void acknowledge() noexcept { static_cast<void>(record_->take_faults()); }

  /// Throws what went wrong in the runs since the last call.
  /// A run in a graph of the caller's is not waited for: synchronize with that graph first.
  /// @throws invalid_argument  duplicates, coordinates outside the bounds, more voxels than planned
  /// Stream: waits for the last run.
  void check()
  {
    graph_.wait();
    auto const faults = record_->take_faults();
    detail::report(faults, record_->bad_row());
  }

  /// Bytes of the arena that the plan uses: everything but parameters.
  [[nodiscard]] std::size_t bytes() const noexcept { return graph_.bytes(); }
  /// Kernels and fills of one run.
  [[nodiscard]] std::size_t num_nodes() const noexcept { return graph_.num_nodes(); }
  [[nodiscard]] PlanLimits const& limits() const noexcept { return limits_; }

 private:
  using Input = typename detail::InputOf<dim, Scalar, Voxelization>::type;
  using Scan = typename detail::InputOf<dim, Scalar, Voxelization>::Scan;

  [[nodiscard]] static Scan scan_of(std::int32_t const* coordinates, Scalar const* features,
                                    RowCount const& rows) noexcept
  {
    static_assert(!takes_points, "Plan: made with PlanLimits::voxelize(), so it takes points, not voxels");
    return {coordinates, features, rows};
  }
  [[nodiscard]] static Scan scan_of(StridedView<float const> const& points, std::int32_t const* used) noexcept
  {
    static_assert(takes_points, "Plan: made without PlanLimits::voxelize(), so it takes voxels, not points");
    return {points, RowCount{points.rows, used}};
  }
  static void expect(RunStatus const& status)
  {
    if (status.ok()) { return; }
    if (status.error == RunError::cuda_failure) { detail::cuda_check(static_cast<cudaError_t>(status.cuda)); }
    detail::fail(status.sentence());
  }
  [[nodiscard]] RunStatus on_device(Execution<Device> const& exec) const noexcept
  {
    if (exec.device() == graph_.device()) { return {}; }
    return {RunError::wrong_device, exec.device(), graph_.device()};
  }
  [[nodiscard]] static std::int32_t const* rows_of(Tensor const& x) noexcept
  {
    return reinterpret_cast<std::int32_t const*>(x.coordinates()->data());
  }

  /// Everything a run does.
  [[nodiscard]] RunStatus enqueue(Scan const& scan, Destination const& to, StreamHandle stream) noexcept
  {
    auto const fits = input_->accepts(scan);
    if (!fits.ok()) { return fits; }
    auto const is_current = weights_.status();
    if (!is_current.ok()) { return is_current; }
    auto const has_room = detail::check_destination(*output_, to, *input_, scan.rows);
    if (!has_room.ok()) { return has_room; }

    detail::mark_output(*output_);
    auto const status = graph_.try_run(
        stream,
        [&](cudaStream_t on) {  // layers may have packed them on other streams
          return weights_.visit_events(cudaSuccess, [&](auto& event) { return event.try_order(on); });
        },
        [&](cudaStream_t on) { return input_->ingest(scan, on); },
        [&](cudaStream_t on) { return detail::copy_output(*output_, to, *input_, scan.rows, on); });
    if (status == cudaSuccess) { return {}; }
    return {RunError::cuda_failure, 0, 0, static_cast<int>(status)};
  }

  Limits limits_;
  int channels_;
  detail::ArenaGraph graph_;
  std::optional<detail::RunRecord<Device>> record_;
  std::optional<Input> input_;
  std::unique_ptr<Output> output_;
  detail::PlanWeights<Device> weights_;
};

template <class Model>
Plan(Model&, PlanLimits const&, Execution<Device> const&, std::shared_ptr<PlanArena> = nullptr)
    -> Plan<Model>;
template <class Model, class Options>
Plan(Model&, PointLimits<Options> const&, Execution<Device> const&, std::shared_ptr<PlanArena> = nullptr)
    -> Plan<Model, Options>;
template <class View, class = std::enable_if_t<View::is_model_view>>
Plan(View&&, PlanLimits const&, Execution<Device> const&, std::shared_ptr<PlanArena> = nullptr) -> Plan<View>;
template <class View, class Options, class = std::enable_if_t<View::is_model_view>>
Plan(View&&, PointLimits<Options> const&, Execution<Device> const&, std::shared_ptr<PlanArena> = nullptr)
    -> Plan<View, Options>;

}  // namespace v0
}  // namespace tessera
