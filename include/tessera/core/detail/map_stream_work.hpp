// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {

class MapStreams;

namespace detail {

class MapStreamSet;
[[nodiscard]] MapStreamSet& access(MapStreams& streams) noexcept;

/// A map stream for what depends on coordinates alone, or none; the host has none.
template <class Space>
struct MapStream {
  std::conditional_t<std::is_same_v<Space, Device>, MapStreams, void>* streams = nullptr;
  int index = 0;
};

/// The map stream of `exec` for coordinate sets and tables.
template <class Space>
[[nodiscard]] MapStream<Space> map_stream_for_sets([[maybe_unused]] Execution<Space> const& exec)
{
  MapStream<Space> map_stream;
  if constexpr (std::is_same_v<Space, Device>) { map_stream.streams = exec.map_streams(); }
  return map_stream;
}

/// The map stream of `exec` for the next kernel map.
template <class Space>
[[nodiscard]] MapStream<Space> next_map_stream(Execution<Space> const& exec)
{
  auto map_stream = map_stream_for_sets(exec);
  if constexpr (std::is_same_v<Space, Device>) {
    if (map_stream.streams != nullptr) { map_stream.index = access(*map_stream.streams).next_for_map(); }
  }
  return map_stream;
}

/// `work(execution of that map stream)`, for which `exec` waits; `work(exec)` without map streams. Only sets,
/// tables and kernel maps may be read there, which on_map_stream() or wait_for_main_on_map_streams() preceded.
template <class Space, class Work>
decltype(auto) on_map_stream([[maybe_unused]] MapStream<Space> const& map_stream,
                             Execution<Space> const& exec, Work const& work)
{
  if constexpr (std::is_same_v<Space, Device>) {
    if (map_stream.streams != nullptr) {
      access(*map_stream.streams).enter(map_stream.index);
      try {
        auto result = work(exec.on_stream(access(*map_stream.streams).stream(map_stream.index)));
        access(*map_stream.streams).leave(map_stream.index, exec.stream());
        return result;
      } catch (...) {
        access(*map_stream.streams)
            .leave_after_failure(map_stream.index, exec.stream());  // what was enqueued may still run
        throw;
      }
    }
  }
  return work(exec);
}

/// Work enqueued on map streams from here on waits for the work enqueued on `exec` so far.
template <class Space>
void wait_for_main_on_map_streams(Execution<Space> const& exec)
{
  auto const map_stream = map_stream_for_sets(exec);
  if constexpr (std::is_same_v<Space, Device>) {
    if (map_stream.streams != nullptr) { access(*map_stream.streams).wait_for_main(); }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
