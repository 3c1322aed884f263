// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// No side: work on the stream that asks for it.
inline constexpr int no_side = -1;
/// The side of coordinate sets and tables.
inline constexpr int side_for_sets = 0;

/// A side for the next kernel map, or no_side.
template <class Space>
[[nodiscard]] int next_side_for_map([[maybe_unused]] Execution<Space> const& exec)
{
  if constexpr (std::is_same_v<Space, Device>) {
    if (exec.sides() != nullptr) { return exec.sides()->next_for_map(); }
  }
  return no_side;
}

/// `work(exec of that side)`, for whose result `exec` waits; `work(exec)` where there are no sides. Nothing
/// but sets, tables and kernel maps may be read there, and only what on_side() or follow_on_sides() preceded.
template <class Space, class Work>
decltype(auto) on_side([[maybe_unused]] int side, Execution<Space> const& exec, Work const& work)
{
  if constexpr (std::is_same_v<Space, Device>) {
    if (exec.sides() != nullptr && side != no_side) {
      exec.sides()->enter(side);
      auto result = work(exec.side(side));
      exec.sides()->leave(side);
      return result;
    }
  }
  return work(exec);
}

/// What sides are given from here on waits for what `exec` has been given so far.
template <class Space>
void follow_on_sides([[maybe_unused]] Execution<Space> const& exec)
{
  if constexpr (std::is_same_v<Space, Device>) {
    if (exec.sides() != nullptr) { exec.sides()->follow(); }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
