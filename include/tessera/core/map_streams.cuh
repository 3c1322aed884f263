// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/cuda_check.cuh>

#include <array>
#include <cstddef>
#include <utility>

namespace tessera {
inline namespace v0 {

class MapStreams;

namespace detail {

/// The streams of a MapStreams, and the events between them.
class MapStreamSet {
 public:
  static constexpr int for_sets = 0;
  static constexpr int count = 5;  // four maps at once; other numbers were not tried

  explicit MapStreamSet(cudaStream_t main_stream) : main_stream_{main_stream}
  {
    detail::cuda_check(cudaGetDevice(&device_));
    int least = 0;
    int greatest = 0;
    detail::cuda_check(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    for (auto& own : streams_) {
      detail::cuda_check(cudaStreamCreateWithPriority(&own.stream, cudaStreamNonBlocking, greatest));
    }
  }
  MapStreamSet(MapStreamSet const&) = delete;
  MapStreamSet& operator=(MapStreamSet const&) = delete;

  /// See MapStreams::join().
  void join()
  {
    for (int index = 0; index < count; ++index) { leave(index, main_stream_); }
  }

  [[nodiscard]] cudaStream_t main_stream() const noexcept { return main_stream_; }
  [[nodiscard]] cudaStream_t stream(int index) const
  {
    return streams_[static_cast<std::size_t>(index)].stream;
  }

  /// The index of the map stream `stream`, or `count`.
  [[nodiscard]] int index_of(cudaStream_t stream) const noexcept
  {
    int i = 0;
    while (i < count && streams_[static_cast<std::size_t>(i)].stream != stream) { ++i; }
    return i;
  }

  /// The map stream of the next kernel map.
  [[nodiscard]] int next_for_map() noexcept { return last_map_ = last_map_ % (count - 1) + 1; }

  /// Work enqueued on map streams from here on waits for the work enqueued on the main stream so far. What
  /// the main stream makes for map streams, and memory of theirs that it no longer uses, may be used by them
  /// afterwards. Coordinate sets call this when they begin and end.
  void wait_for_main()
  {
    detail::DeviceGuard const guard{device_};  // the default stream is another one on every device
    detail::cuda_check(cudaEventRecord(main_event_.event, main_stream_));
    for (auto const& own : streams_) {
      detail::cuda_check(cudaStreamWaitEvent(own.stream, main_event_.event, 0));
    }
  }

  /// Before work on a map stream.
  void enter(int index) const
  {
    if (index == for_sets) { return; }
    detail::DeviceGuard const guard{device_};
    auto const& sets = streams_[for_sets];
    detail::cuda_check(cudaEventRecord(sets.done.event, sets.stream));
    detail::cuda_check(cudaStreamWaitEvent(stream(index), sets.done.event, 0));
  }

  /// After work on a map stream: `stream`, mostly the main stream, waits for it.
  void leave(int index, cudaStream_t stream)
  {
    waits_anew_ = true;
    detail::DeviceGuard const guard{device_};
    auto const& own = streams_[static_cast<std::size_t>(index)];
    detail::cuda_check(cudaEventRecord(own.done.event, own.stream));
    detail::cuda_check(cudaStreamWaitEvent(stream, own.done.event, 0));
  }
  /// The same where an error is on its way already.
  void leave_after_failure(int index, cudaStream_t stream) noexcept
  {
    try {
      leave(index, stream);
    } catch (cuda_error const&) {
      // a capture that failed: nothing of it will run
    }
  }

  /// Lets kernels of the main stream begin while their predecessors still run. Only where nothing but
  /// layers and wait_for_main() enqueue there, as in a graph: so no weight changes in between.
  void let_kernels_overlap() noexcept { kernels_overlap_ = true; }
  /// Whether the next kernel may; called once per kernel. Not the first one after the stream was made to wait
  /// for a map stream, which reads what came from there.
  [[nodiscard]] bool consume_overlap() noexcept
  {
    return !std::exchange(waits_anew_, false) && kernels_overlap_;
  }

 private:
  struct Event {
    Event() { detail::cuda_check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming)); }
    Event(Event const&) = delete;
    Event& operator=(Event const&) = delete;
    ~Event() { static_cast<void>(cudaEventDestroy(event)); }
    cudaEvent_t event = nullptr;
  };
  struct Stream {
    Stream() = default;
    Stream(Stream const&) = delete;
    Stream& operator=(Stream const&) = delete;
    ~Stream()
    {
      if (stream != nullptr) { static_cast<void>(cudaStreamDestroy(stream)); }
    }
    cudaStream_t stream = nullptr;
    Event done;
  };

  cudaStream_t main_stream_;
  int device_ = 0;
  Event main_event_;
  std::array<Stream, count> streams_;
  int last_map_ = 0;
  bool waits_anew_ = false;
  bool kernels_overlap_ = false;
};

[[nodiscard]] MapStreamSet& access(MapStreams& streams) noexcept;
[[nodiscard]] MapStreamSet const& access(MapStreams const& streams) noexcept;

}  // namespace detail

/// Map streams for what depends on coordinates alone, so that maps of coarse levels are made while layers of
/// fine ones run on the main stream: `auto with_maps = exec.with_map_streams(map_streams)`.
///
/// Coordinate sets and tables are made on the first, kernel maps with their orders and tiles on the others in
/// turn. Maps wait for the first, and the main stream waits for a map stream before it reads what was made
/// there (core/detail/map_stream_work.hpp), so waiting for the main stream is waiting for all. Where the host
/// waits for the size of a new set, layers need not have finished. Used by one thread at a time.
///
/// Cost: five streams and six events; an event recorded and waited for, once or twice, for each set, table, map
/// and tile map that is made.
/// Stream: see above; nothing here waits on the host.
/// Determinism: the same bits as without.
class MapStreams {
 public:
  /// @param main_stream  the main stream, of the current device; must outlive this
  /// @throws cuda_error  there is no device
  explicit MapStreams(cudaStream_t main_stream) : streams_{main_stream} {}

  [[nodiscard]] cudaStream_t main_stream() const noexcept { return streams_.main_stream(); }

  /// The main stream waits for all map streams. To be called before a captured graph of layers ends.
  /// Stream: enqueues a wait for each map stream, does not wait.
  void join() { streams_.join(); }

 private:
  friend detail::MapStreamSet& detail::access(MapStreams& streams) noexcept;
  friend detail::MapStreamSet const& detail::access(MapStreams const& streams) noexcept;

  detail::MapStreamSet streams_;
};

inline detail::MapStreamSet& detail::access(MapStreams& streams) noexcept
{
  return streams.streams_;
}
inline detail::MapStreamSet const& detail::access(MapStreams const& streams) noexcept
{
  return streams.streams_;
}

}  // namespace v0
}  // namespace tessera
