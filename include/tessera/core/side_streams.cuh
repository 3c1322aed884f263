// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/cuda_check.cuh>

#include <array>
#include <cstddef>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Streams beside that of the layers, for what coordinates alone decide, so that maps of coarse levels are
/// made while layers of fine ones run: `auto beside = exec.with_sides(sides)`.
///
/// Coordinate sets and tables are made on the first, kernel maps with their orders and tiles on the others in
/// turn. Maps wait for the first, and the layers' stream waits for a side whenever it takes something from it
/// (core/side_work.hpp), so whoever waits for the layers' stream has waited for all. Where the host waits for
/// the size of a new set, layers need not have finished. What the layers' stream makes for the sides, and
/// memory of theirs that it is done with, is theirs after follow(), which coordinate sets call when they
/// begin and end. Results are the same bits. Used by one thread at a time.
class SideStreams {
 public:
  /// @name For later stages
  /// @{
  static constexpr int for_sets = 0;
  static constexpr int count = 5;

  /// @param layers  the stream that they are beside; must outlive them
  /// @}

  /// @throws cuda_error  there is no device
  explicit SideStreams(cudaStream_t layers) : layers_{layers}
  {
    int least = 0;
    int greatest = 0;
    detail::cuda_check(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    for (auto& side : sides_) {
      detail::cuda_check(cudaStreamCreateWithPriority(&side.stream, cudaStreamNonBlocking, greatest));
      detail::cuda_check(cudaEventCreateWithFlags(&side.done, cudaEventDisableTiming));
    }
    detail::cuda_check(cudaEventCreateWithFlags(&followed_, cudaEventDisableTiming));
  }
  SideStreams(SideStreams const&) = delete;
  SideStreams& operator=(SideStreams const&) = delete;
  ~SideStreams()
  {
    for (auto& side : sides_) {
      static_cast<void>(cudaEventDestroy(side.done));
      static_cast<void>(cudaStreamDestroy(side.stream));
    }
    static_cast<void>(cudaEventDestroy(followed_));
  }

  /// @name For later stages
  /// @{
  [[nodiscard]] cudaStream_t stream(int side) const { return sides_[static_cast<std::size_t>(side)].stream; }

  /// The side whose stream that is, or `count`.
  [[nodiscard]] int index_of(cudaStream_t stream) const noexcept
  {
    int i = 0;
    while (i < count && sides_[static_cast<std::size_t>(i)].stream != stream) { ++i; }
    return i;
  }

  /// The side of the next kernel map.
  [[nodiscard]] int next_for_map() noexcept { return last_map_ = last_map_ % (count - 1) + 1; }

  /// What sides are given from here on waits for what the layers' stream has been given so far.
  void follow()
  {
    detail::cuda_check(cudaEventRecord(followed_, layers_));
    for (auto const& side : sides_) { detail::cuda_check(cudaStreamWaitEvent(side.stream, followed_, 0)); }
  }

  /// Before work on a side.
  void enter(int side) const
  {
    if (side == for_sets) { return; }
    auto const& sets = sides_[for_sets];
    detail::cuda_check(cudaEventRecord(sets.done, sets.stream));
    detail::cuda_check(cudaStreamWaitEvent(stream(side), sets.done, 0));
  }

  /// After work on a side: the layers' stream waits for it.
  void leave(int side)
  {
    waits_anew_ = true;
    auto const& own = sides_[static_cast<std::size_t>(side)];
    detail::cuda_check(cudaEventRecord(own.done, own.stream));
    detail::cuda_check(cudaStreamWaitEvent(layers_, own.done, 0));
  }

  /// Lets kernels of the layers' stream begin while those before them still run. Only where nothing but
  /// layers and follow() enqueues there, as in a graph: so nobody changes a weight in between.
  void let_kernels_overlap() noexcept { kernels_overlap_ = true; }
  /// Whether a kernel may, to be asked before each: not the first one after the stream was made to wait for a
  /// side, for what it took from there.
  [[nodiscard]] bool may_overlap() noexcept { return !std::exchange(waits_anew_, false) && kernels_overlap_; }

  /// The layers' stream waits for all sides, as a captured graph ends.
  void join()
  {
    for (int side = 0; side < count; ++side) { leave(side); }
  }
  /// @}

 private:
  struct Side {
    cudaStream_t stream = nullptr;
    cudaEvent_t done = nullptr;
  };

  cudaStream_t layers_;
  cudaEvent_t followed_ = nullptr;
  std::array<Side, count> sides_{};
  int last_map_ = 0;
  bool waits_anew_ = false;
  bool kernels_overlap_ = false;
};

}  // namespace v0
}  // namespace tessera
