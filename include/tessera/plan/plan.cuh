// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/launch.cuh>
#include <tessera/plan/arena.cuh>
#include <tessera/plan/detail/capture.cuh>
#include <tessera/plan/detail/plan_input.cuh>
#include <tessera/plan/limits.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What went wrong in the runs of a plan, in memory that host and device see.
struct PlanStatus {
  std::uint32_t seen;  // bits of DataError since the host last asked
};

struct PublishStatus {
  std::uint32_t const* errors;  // [1]
  PlanStatus* status;           // [1]

  __device__ void operator()(std::int64_t) const
  {
    if (*errors != 0) { status->seen |= *errors; }
  }
};

}  // namespace detail

/// A whole network as one CUDA graph: coordinate sets, kernel maps and layers in fixed memory, for any scan
/// within the limits.
///
/// The graph makes coordinate sets and kernel maps beside the layers (SideStreams), and kernels of
/// convolutions begin before those ahead of them have ended.
///
/// A run copies the scan into the plan's memory and launches the graph on the caller's stream. Nothing is
/// allocated and nothing waits; numbers of rows stay on the device. So a run may be called from a TensorRT
/// plugin's `enqueue`. Parameters are read where the model keeps them: the model must outlive the plan, and
/// a plan must be made anew after its parameters changed (layers keep packed copies).
///
/// A scan of more voxels than planned is refused before anything is enqueued, or, where only the device knows
/// their number, reported by check(), as are a derived set of more voxels than planned, duplicates, and
/// coordinates outside the bounds. Nothing is then written past a buffer, and the next run is as good as
/// ever; the output of the run in question is not to be used.
///
/// Several plans may run on several streams at once; runs of one plan follow one another.
///
/// @tparam Model  has a `Tensor` type and `forward(Tensor const&, exec)`; what that returns is the output
/// Source: CUDA graphs (CUDA Programming Guide); the idea of planning a network once is TensorRT's.
template <class Model>
class Plan {
 public:
  using Tensor = typename Model::Tensor;
  using Scalar = typename Tensor::scalar;
  using Output = std::decay_t<decltype(std::declval<Model&>().forward(
      std::declval<Tensor const&>(), std::declval<Execution<Device> const&>()))>;
  static constexpr int dim = Tensor::dim;

  /// @param limits  what runs may ask for; PlanLimits::channels() where the model does not tell
  /// @param arena   memory shared with other plans, of bytes() or more; without it the plan has its own
  /// @throws invalid_argument  limits that cannot be meant; forward() waits for the host; an arena too small
  /// Cost: two forward passes on no voxels, and a capture. Stream: enqueues on `exec` and waits.
  Plan(Model& model, PlanLimits const& limits, Execution<Device> const& exec,
       std::shared_ptr<PlanArena> arena = nullptr)
      : limits_{limits},
        channels_{limits.channels() > 0 ? limits.channels() : detail::ChannelsOf<Model>::get(model)},
        device_{exec.device()},
        stream_{detail::made_on<detail::OwnedStream>(device_)},
        sides_{detail::made_on<SideStreams>(device_, stream_.get())}
  {
    detail::DeviceGuard const guard{device_};
    auto const parts = measure_parts(model, limits_, channels_, exec);
    bytes_ = std::accumulate(parts.begin(), parts.end(), std::size_t{0});
    arena_ = arena != nullptr ? std::move(arena) : std::make_shared<PlanArena>(bytes_, exec);
    detail::expects(arena_->bytes() >= bytes_, "Plan: the arena has ", arena_->bytes(), " bytes but ", bytes_,
                    " are needed");
    void* status = nullptr;
    detail::cuda_check(cudaHostAlloc(&status, sizeof(detail::PlanStatus), cudaHostAllocMapped));
    status_.reset(static_cast<detail::PlanStatus*>(status));
    status_->seen = 0;
    exec.wait();  // the arena's memory is there, on every stream

    memory_ = std::make_unique<detail::ArenaMemory>(*arena_, parts, sides_);
    auto const own = Execution<Device>{stream_.get(), memory_.get()}.with_sides(sides_);
    graph_.capture(stream_.get(), [&] {
      sides_.follow();
      sides_.let_kernels_overlap();
      input_ = {limits_, channels_, false, own};
      output_ = std::make_unique<Output>(model.forward(input_.tensor, own));
      sides_.join();
      for_each(1, detail::PublishStatus{input_.tensor.coordinates()->errors(), status_.get()}, own);
    });
    own.wait();
  }
  Plan(Plan const&) = delete;
  Plan& operator=(Plan const&) = delete;
  /// Waits for the last run.
  ~Plan() { static_cast<void>(cudaStreamSynchronize(stream_.get())); }

  /// Bytes of an arena for such a plan.
  [[nodiscard]] static std::size_t measure(Model& model, PlanLimits const& limits, int channels,
                                           Execution<Device> const& exec)
  {
    auto const parts = measure_parts(model, limits, channels, exec);
    return std::accumulate(parts.begin(), parts.end(), std::size_t{0});
  }

  /// Runs the network on a scan in device memory.
  ///
  /// | name        | shape                | memory | holds                                                  |
  /// |-------------|----------------------|--------|--------------------------------------------------------|
  /// | coordinates | [rows, 1 + Dim]      | Device | (batch, x, y, ...) int32, rows unique, inside the bounds
  /// | | features    | [rows, channels]     | Device | |
  ///
  /// @param rows  how many, or on the device how many of so many
  /// @returns the output, in the plan's memory, good until the next run; CoordinateSet::num_rows() of it
  /// waits
  /// @throws invalid_argument  more rows than planned
  /// Stream: enqueues one kernel and one graph on `exec`'s stream, does not wait, allocates nothing.
  /// Determinism: the same bits as forward() on the same scan.
  Output const& run(std::int32_t const* coordinates, Scalar const* features, RowCount const& rows,
                    Execution<Device> const& exec)
  {
    detail::expects(exec.device() == device_, "Plan: made on device ", device_, " but run on ",
                    exec.device());
    detail::expects(rows.count != nullptr || rows.capacity <= limits_.voxels(), "Plan: ", rows.capacity,
                    " voxels are more than the ", limits_.voxels(), " it was made for");
    detail::DeviceGuard const guard{device_};
    auto const stream = exec.stream();
    auto capturing = cudaStreamCaptureStatusNone;  // then whoever launches that graph keeps runs apart
    detail::cuda_check(cudaStreamIsCapturing(stream, &capturing));
    bool const ordered = capturing == cudaStreamCaptureStatusNone;
    if (ordered) { detail::cuda_check(cudaStreamWaitEvent(stream, arena_->last_run(), 0)); }
    auto const width = dim + 1;
    auto const items =
        std::max<std::int64_t>(1, std::min(rows.capacity, limits_.voxels()) * std::max(width, channels_));
    for_each(items,
             detail::IngestRows<Scalar>{coordinates, features, rows,
                                        reinterpret_cast<std::int32_t*>(input_.coordinates), input_.features,
                                        input_.count, limits_.voxels(), width, channels_},
             exec);
    graph_.launch(stream);
    if (ordered) {
      detail::cuda_check(cudaEventRecord(arena_->last_run(), stream));
      detail::cuda_check(cudaStreamWaitEvent(stream_.get(), arena_->last_run(), 0));
    }
    return *output_;
  }

  /// The same of a tensor.
  /// @throws invalid_argument  also: other channels, a tensor stride above 1, another spatial range
  Output const& run(Tensor const& x, Execution<Device> const& exec)
  {
    detail::expects(x.coordinates() != nullptr, "Plan: the tensor has no coordinates");
    detail::expects(x.channels() == channels_, "Plan: the tensor has ", x.channels(), " channels but ",
                    channels_, " were planned");
    detail::expects(all_equal(x.tensor_stride(), 1), "Plan: the tensor's stride ",
                    detail::list(x.tensor_stride()), " must be 1");
    auto const& range = x.coordinates()->spatial_range();
    detail::expects(!range || range == input_.tensor.coordinates()->spatial_range(),
                    "Plan: the tensor has another spatial range than PlanLimits::grid()");
    return run(reinterpret_cast<std::int32_t const*>(x.coordinates()->data()), x.features().data,
               x.coordinates()->row_count(), exec);
  }

  /// The same of two matrices.
  Output const& run(MatrixView<std::int32_t const> const& coordinates,
                    MatrixView<Scalar const> const& features, Execution<Device> const& exec)
  {
    detail::expects(
        coordinates.columns == dim + 1 && features.columns == channels_ && coordinates.rows == features.rows,
        "Plan: coordinates ", coordinates.rows, " x ", coordinates.columns, " and features ", features.rows,
        " x ", features.columns, " where n x ", dim + 1, " and n x ", channels_, " were planned");
    return run(coordinates.data, features.data, RowCount{coordinates.rows, nullptr}, exec);
  }

  /// What the last run put out.
  [[nodiscard]] Output const& output() const noexcept { return *output_; }

  /// Throws what went wrong in the runs since the last call.
  /// @throws invalid_argument  duplicates, coordinates outside the bounds, more voxels than planned
  /// Stream: waits for the last run.
  void check()
  {
    detail::cuda_check(cudaEventSynchronize(arena_->last_run()));
    detail::report(std::exchange(status_->seen, 0));
  }

  /// Bytes of the arena that the plan uses: everything but parameters.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// Kernels and fills of one run.
  [[nodiscard]] std::size_t num_nodes() const noexcept { return graph_.num_nodes(); }
  [[nodiscard]] PlanLimits const& limits() const noexcept { return limits_; }

 private:
  [[nodiscard]] static detail::ArenaParts measure_parts(Model& model, PlanLimits const& limits, int channels,
                                                        Execution<Device> const& exec)
  {
    detail::expects(channels >= 1, "Plan: ", channels,
                    " input channels; say PlanLimits::channels(), the model has no options().in_channels");
    detail::DeviceGuard const guard{exec.device()};
    auto const forward = [&](Execution<Device> const& execution) {
      detail::PlanInput<dim, Scalar> const input{limits, channels, true, execution};
      static_cast<void>(model.forward(input.tensor, execution));
    };
    forward(exec);  // makes what layers make once and keep, which must not lie in the arena
    exec.wait();
    detail::OwnedStream const stream;
    SideStreams sides{stream.get()};
    detail::MeasuringMemory memory{exec.memory(), sides};
    Execution<Device> const own{stream.get(), &memory};
    forward(own.with_sides(sides));
    sides.join();
    own.wait();
    detail::expects(memory.num_blocks() == 0, "Plan: forward() keeps ", memory.num_blocks(),
                    " buffers made in its second call; it may in its first");
    return memory.parts();
  }

  struct FreeHost {
    void operator()(detail::PlanStatus* status) const { static_cast<void>(cudaFreeHost(status)); }
  };

  PlanLimits limits_;
  int channels_;
  int device_;
  std::size_t bytes_ = 0;
  std::shared_ptr<PlanArena> arena_;
  std::unique_ptr<detail::PlanStatus, FreeHost> status_;
  detail::OwnedStream stream_;  // the graph is made on it; it follows every run
  SideStreams sides_;
  std::unique_ptr<detail::ArenaMemory> memory_;
  detail::PlanInput<dim, Scalar> input_;
  std::unique_ptr<Output> output_;
  detail::CapturedGraph graph_;
};

}  // namespace v0
}  // namespace tessera
