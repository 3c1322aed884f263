// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/work_event.hpp>
#include <tessera/core/execution.cuh>

#include <cuda_runtime_api.h>

#include <optional>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Lets this thread ask for the state of an event while it, or another one, captures a graph.
class RelaxedCapture {
 public:
  RelaxedCapture() noexcept { static_cast<void>(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  RelaxedCapture(RelaxedCapture const&) = delete;
  RelaxedCapture& operator=(RelaxedCapture const&) = delete;
  ~RelaxedCapture() { static_cast<void>(cudaThreadExchangeStreamCaptureMode(&mode_)); }

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

/// An event without times.
class OwnedEvent {
 public:
  OwnedEvent() { cuda_check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  OwnedEvent(OwnedEvent const&) = delete;
  OwnedEvent& operator=(OwnedEvent const&) = delete;
  ~OwnedEvent() { static_cast<void>(cudaEventDestroy(event_)); }
  [[nodiscard]] cudaEvent_t get() const noexcept { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// An event that is waited for until it is known to have passed.
template <>
class WorkEvent<Device> {
 public:
  [[nodiscard]] static bool is_capturing(Execution<Device> const& exec)
  {
    DeviceGuard const guard{exec.device()};
    bool capturing = false;
    cuda_check(ask_capture(exec.stream(), capturing));
    return capturing;
  }

  /// Stream: records an event.
  void record(Execution<Device> const& exec)
  {
    DeviceGuard const guard{exec.device()};
    if (!event_) { event_.emplace(); }
    cuda_check(cudaEventRecord(event_->get(), exec.stream()));
    stream_ = exec.stream();
    has_passed_ = false;
  }

  /// Stream: enqueues at most a wait for the event, does not wait.
  [[nodiscard]] bool order(Execution<Device> const& exec)
  {
    if (has_passed_) { return true; }
    DeviceGuard const guard{exec.device()};
    auto const status = try_order(exec.stream());
    if (status == cudaErrorStreamCaptureUnsupported) { return false; }
    cuda_check(status);
    return true;
  }

  /// The same for a stream of the current device, without exceptions; cudaErrorStreamCaptureUnsupported where
  /// the stream is being captured.
  [[nodiscard]] cudaError_t try_order(cudaStream_t stream) noexcept
  {
    if (has_passed_) { return cudaSuccess; }
    {
      RelaxedCapture const relaxed;
      has_passed_ = cudaEventQuery(event_->get()) == cudaSuccess;
    }
    if (has_passed_) { return cudaSuccess; }
    static_cast<void>(cudaGetLastError());
    bool capturing = false;
    auto const status = ask_capture(stream, capturing);
    if (status != cudaSuccess) { return status; }
    if (capturing) { return cudaErrorStreamCaptureUnsupported; }
    return stream == stream_ ? cudaSuccess : cudaStreamWaitEvent(stream, event_->get(), 0);
  }

 private:
  [[nodiscard]] static cudaError_t ask_capture(cudaStream_t stream, bool& capturing) noexcept
  {
    auto state = cudaStreamCaptureStatusNone;
    auto const status = cudaStreamIsCapturing(stream, &state);
    // The legacy default stream cannot be used while another stream is captured.
    bool const is_blocked = status == cudaErrorStreamCaptureImplicit;
    if (is_blocked) { static_cast<void>(cudaGetLastError()); }
    capturing = is_blocked || state != cudaStreamCaptureStatusNone;
    return is_blocked ? cudaSuccess : status;
  }

  std::optional<OwnedEvent> event_;
  StreamHandle stream_ = nullptr;  // that it was recorded on
  bool has_passed_ = true;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
