// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.cuh>
#include <tessera/plan/detail/steps.cuh>

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
    if (graph_ != nullptr) { static_cast<void>(cudaGraphDestroy(graph_)); }
  }

  /// @param who  what waits, in the sentence of an error
  /// @throws invalid_argument  `enqueue` waits for the host, which a graph cannot
  template <class Enqueue>
  void capture(cudaStream_t stream, Enqueue const& enqueue, char const* who = "Plan: forward()")
  {
    cuda_check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    try {
      enqueue();
    } catch (cuda_error const& error) {
      end(stream);
      bool const waited = error.status() == static_cast<int>(cudaErrorStreamCaptureUnsupported) ||
                          error.status() == static_cast<int>(cudaErrorStreamCaptureInvalidated) ||
                          error.status() == static_cast<int>(cudaErrorStreamCaptureImplicit);
      expects(!waited, who,
              " waits for the host, which a graph cannot; gather-scatter, fetch-on-demand and downloads do (",
              error.what(), ")");
      throw;
    } catch (...) {
      end(stream);
      throw;
    }
    cuda_check(cudaStreamEndCapture(stream, &graph_));
    cuda_check(cudaGraphInstantiate(&executable_, graph_, 0));
    cuda_check(cudaGraphGetNodes(graph_, nullptr, &num_nodes_));
    cuda_check(cudaGraphUpload(executable_, stream));
  }

  /// Launches on `stream`, or, where somebody captures a graph of `stream`, becomes a part of that.
  void launch(cudaStream_t stream) const { cuda_check(try_launch(stream)); }

  /// The same without exceptions.
  [[nodiscard]] cudaError_t try_launch(cudaStream_t stream) const noexcept
  {
    auto capturing = cudaStreamCaptureStatusNone;
    cudaGraph_t outer = nullptr;
    cudaGraphNode_t const* before = nullptr;
    std::size_t num_before = 0;
    cudaGraphNode_t node = nullptr;
    return in_order(
        [&] { return cudaStreamIsCapturing(stream, &capturing); },
        [&] {
          if (capturing == cudaStreamCaptureStatusNone) { return cudaGraphLaunch(executable_, stream); }
          return in_order(
#if CUDART_VERSION >= 13000
              [&] {
                return cudaStreamGetCaptureInfo(stream, &capturing, nullptr, &outer, &before, nullptr,
                                                &num_before);
              },
              [&] { return cudaGraphAddChildGraphNode(&node, outer, before, num_before, graph_); },
              [&] {
                return cudaStreamUpdateCaptureDependencies(stream, &node, nullptr, 1,
                                                           cudaStreamSetCaptureDependencies);
              }
#else
              [&] {
                return cudaStreamGetCaptureInfo_v2(stream, &capturing, nullptr, &outer, &before, &num_before);
              },
              [&] { return cudaGraphAddChildGraphNode(&node, outer, before, num_before, graph_); },
              [&] {
                return cudaStreamUpdateCaptureDependencies(stream, &node, 1,
                                                           cudaStreamSetCaptureDependencies);
              }
#endif
          );
        });
  }
  [[nodiscard]] std::size_t num_nodes() const noexcept
  {
    return num_nodes_;
  }

 private:
  static void end(cudaStream_t stream)
  {
    cudaGraph_t graph = nullptr;
    static_cast<void>(cudaStreamEndCapture(stream, &graph));
    if (graph != nullptr) { static_cast<void>(cudaGraphDestroy(graph)); }
    static_cast<void>(cudaGetLastError());
  }

  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
  std::size_t num_nodes_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
