// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.cuh>

#include <cstddef>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A stream of its own that does not wait for the legacy default stream.
class OwnedStream {
 public:
  OwnedStream() { cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  OwnedStream(OwnedStream const&) = delete;
  OwnedStream& operator=(OwnedStream const&) = delete;
  ~OwnedStream() { static_cast<void>(cudaStreamDestroy(stream_)); }
  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// A CUDA graph of what `enqueue()` enqueues on a stream.
class CapturedGraph {
 public:
  CapturedGraph() = default;
  CapturedGraph(CapturedGraph const&) = delete;
  CapturedGraph& operator=(CapturedGraph const&) = delete;
  ~CapturedGraph()
  {
    if (executable_ != nullptr) { static_cast<void>(cudaGraphExecDestroy(executable_)); }
  }

  /// @throws invalid_argument  `enqueue` waits for the host, which a graph cannot
  template <class Enqueue>
  void capture(cudaStream_t stream, Enqueue const& enqueue)
  {
    cuda_check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      enqueue();
    } catch (cuda_error const& error) {
      end(stream);
      bool const waited = error.status() == static_cast<int>(cudaErrorStreamCaptureUnsupported) ||
                          error.status() == static_cast<int>(cudaErrorStreamCaptureInvalidated) ||
                          error.status() == static_cast<int>(cudaErrorStreamCaptureImplicit);
      expects(!waited,
              "Plan: forward() waits for the host, which a graph cannot; gather-scatter, fetch-on-demand, "
              "training and downloads do (",
              error.what(), ")");
      throw;
    } catch (...) {
      end(stream);
      throw;
    }
    cuda_check(cudaStreamEndCapture(stream, &graph));
    auto const status = cudaGraphInstantiate(&executable_, graph, 0);
    static_cast<void>(cudaGraphGetNodes(graph, nullptr, &num_nodes_));
    static_cast<void>(cudaGraphDestroy(graph));
    cuda_check(status);
    cuda_check(cudaGraphUpload(executable_, stream));
  }

  void launch(cudaStream_t stream) const { cuda_check(cudaGraphLaunch(executable_, stream)); }
  [[nodiscard]] std::size_t num_nodes() const noexcept { return num_nodes_; }

 private:
  static void end(cudaStream_t stream)
  {
    cudaGraph_t graph = nullptr;
    static_cast<void>(cudaStreamEndCapture(stream, &graph));
    if (graph != nullptr) { static_cast<void>(cudaGraphDestroy(graph)); }
    static_cast<void>(cudaGetLastError());
  }

  cudaGraphExec_t executable_ = nullptr;
  std::size_t num_nodes_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
