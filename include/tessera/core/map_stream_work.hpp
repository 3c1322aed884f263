// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {

class MapStreams;

namespace detail {

/// A map stream for what depends on coordinates alone, or none; the host has none.
template <class Space>
struct Side {
  std::conditional_t<std::is_same_v<Space, Device>, MapStreams, void>* streams = nullptr;
  int index = 0;
};

/// The map stream of `exec` for coordinate sets and tables.
template <class Space>
[[nodiscard]] Side<Space> map_stream_for_sets([[maybe_unused]] Execution<Space> const& exec)
{
  Side<Space> side;
  if constexpr (std::is_same_v<Space, Device>) { side.streams = exec.map_streams(); }
  return side;
}

/// The map stream of `exec` for the next kernel map.
template <class Space>
[[nodiscard]] Side<Space> next_side_for_map(Execution<Space> const& exec)
{
  auto side = map_stream_for_sets(exec);
  if constexpr (std::is_same_v<Space, Device>) {
    if (side.streams != nullptr) { side.index = side.streams->next_for_map(); }
  }
  return side;
}

/// `work(execution of that map stream)`, for which `exec` waits; `work(exec)` without map streams. Only sets,
/// tables and kernel maps may be read there, which on_map_stream() or wait_for_main_on_map_streams() preceded.
template <class Space, class Work>
decltype(auto) on_map_stream([[maybe_unused]] Side<Space> const& side, Execution<Space> const& exec,
                             Work const& work)
{
  if constexpr (std::is_same_v<Space, Device>) {
    if (side.streams != nullptr) {
      side.streams->enter(side.index);
      try {
        auto result = work(exec.on_stream(side.streams->stream(side.index)));
        side.streams->leave(side.index, exec.stream());
        return result;
      } catch (...) {
        side.streams->leave_after_failure(side.index, exec.stream());  // what was enqueued may still run
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
  auto const side = map_stream_for_sets(exec);
  if constexpr (std::is_same_v<Space, Device>) {
    if (side.streams != nullptr) { side.streams->wait_for_main(); }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
