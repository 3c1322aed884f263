// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Batch entries that a set of `num_rows` rows may have where memory is taken for each entry: of so few that
/// they cost nothing, or of as many as the rows make likely.
[[nodiscard]] inline std::int64_t most_entries(std::int64_t num_rows)
{
  constexpr std::int64_t few = 1 << 17;
  return num_rows > few / 4 ? 4 * num_rows : few;
}

/// Throws where entries that have no rows would take more memory than those that have; `who` begins the
/// sentence.
inline void check_num_entries(std::int64_t entries, std::int64_t num_rows, char const* who)
{
  expects(entries <= most_entries(num_rows), who, "batch entries up to ", entries - 1, " for ", num_rows,
          " rows; entries up to ", most_entries(num_rows) - 1,
          " are supported here (131,072 of them, or four for each row)");
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
