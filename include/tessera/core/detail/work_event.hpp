// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/space.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The end of work enqueued on one stream, for which work on others can wait. Device:
/// core/detail/work_event.cuh. Used by one thread at a time.
template <class Space>
class WorkEvent;

/// On the host work has ended when the call that did it returned.
template <>
class WorkEvent<Host> {
 public:
  /// Whether what is enqueued on `exec` becomes a part of a graph and does not run now.
  [[nodiscard]] static bool is_capturing(Execution<Host> const& /*exec*/) noexcept { return false; }

  /// From here on it is the end of what has been enqueued on `exec` so far.
  void record(Execution<Host> const& /*exec*/) noexcept {}

  /// Orders what is enqueued on `exec` from here on after it; false where that cannot be, in a graph that is
  /// being captured.
  [[nodiscard]] bool order(Execution<Host> const& /*exec*/) noexcept { return true; }
};

/// `size` uninitialised elements from the memory of `home`, to be used by work on `exec`: for what lives as
/// long as something that was allocated on `home`, whichever stream first needs it.
/// Stream: allocates in the order of `home`'s stream, for which `exec`'s waits.
template <class T, class Space>
[[nodiscard]] Buffer<T, Space> allocate_at(Execution<Space> const& home, std::int64_t size,
                                           Execution<Space> const& exec)
{
  Buffer<T, Space> result{size, home};
  if (home.stream() != exec.stream()) {
    WorkEvent<Space> allocated;
    allocated.record(home);
    static_cast<void>(allocated.order(exec));
  }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
