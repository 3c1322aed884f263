// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// "rank 2 has" or "ranks 2, 3 have".
[[nodiscard]] inline std::string ranks_have(std::vector<int> const& ranks)
{
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  char const* separator = "";
  for (int const rank : ranks) {
    text += separator;
    append(text, rank);
    separator = ", ";
  }
  return text + (ranks.size() == 1 ? " has" : " have");
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
