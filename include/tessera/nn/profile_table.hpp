// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/work.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// What a machine reaches at best; 0 is not known and counts for nothing.
struct Ceilings {
  double bytes_per_s = 0;           ///< of memory, read and written
  double gathered_bytes_per_s = 0;  ///< rows of features, from the cache into the processors
  double multiply_adds_per_s = 0;   ///< of 16-bit operands
  double launch_seconds = 0;        ///< from the end of one operation to the beginning of the next

  /// Of an H100, as measured on one; docs/benchmarks.md says how. Its memory is left to profile().
  [[nodiscard]] static constexpr Ceilings h100() noexcept { return {0, 5.5e12, 300e12, 2e-6}; }
};

/// One operation of a profile.
struct ProfiledOperation {
  std::string name;   ///< of its function: "convolution"
  std::string layer;  ///< in the model: "stem.0"; empty of an operation without parameters
  ops::OperationWork work;
  double seconds = 0;        ///< median over the repetitions
  double floor_seconds = 0;  ///< below which the machine cannot do it; 0: not known

  /// floor / time, in percent: 100 is as fast as can be, more where data was still in a cache.
  [[nodiscard]] double percent_of_floor() const noexcept
  {
    return seconds > 0 ? 100 * floor_seconds / seconds : 0;
  }
};

/// What nn::profile() found: one forward pass, operation by operation.
struct Profile {
  std::string device;  ///< the GPU's name, or "host"
  Ceilings ceilings;
  std::vector<ProfiledOperation> operations;  ///< in the order in which they ran

  /// Of all operations.
  [[nodiscard]] double seconds() const noexcept
  {
    double sum = 0;
    for (auto const& operation : operations) { sum += operation.seconds; }
    return sum;
  }
  /// The operations as a table with a line for each, and one for all.
  [[nodiscard]] std::string table() const;
};

}  // namespace nn

namespace detail {

/// The time below which a machine cannot do the work:
/// `max(bytes / ceiling, gathered bytes / ceiling, multiply-adds / ceiling) + launch`, of the ceilings that
/// are known; multiply-adds count with 16-bit operands alone.
[[nodiscard]] inline double floor_of(ops::OperationWork const& work, nn::Ceilings const& ceilings)
{
  auto const time = [](double amount, double per_s) { return per_s > 0 ? amount / per_s : 0.0; };
  bool const half = work.scalar == DType::float16 || work.scalar == DType::bfloat16;
  auto const busy = std::max({time(work.bytes, ceilings.bytes_per_s),
                              time(work.gathered_bytes, ceilings.gathered_bytes_per_s),
                              half ? time(work.multiply_adds, ceilings.multiply_adds_per_s) : 0.0});
  return busy > 0 ? busy + ceilings.launch_seconds : 0;
}

/// A number with so many decimals, in every locale.
[[nodiscard]] inline std::string fixed(double value, int decimals)
{
  char text[64];
  bool const held = std::abs(value) < 1e15;
  auto const end =
      std::to_chars(text, text + sizeof(text), held ? value : 0.0, std::chars_format::fixed, decimals);
  return std::string(text, end.ptr);
}

/// Rows of cells as lines of columns: those of text on the left, the others on the right.
[[nodiscard]] inline std::string text_table(std::vector<std::vector<std::string>> const& rows,
                                            std::size_t first_number)
{
  std::vector<std::size_t> widths;
  for (auto const& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) { widths[i] = std::max(widths[i], row[i].size()); }
  }
  std::string text;
  for (auto const& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::string const space(widths[i] - row[i].size(), ' ');
      line += (i == 0 ? "" : "  ") + (i < first_number ? row[i] + space : space + row[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace detail

namespace nn {

inline std::string Profile::table() const
{
  using detail::concat;
  auto const total = seconds();
  auto const or_none = [](bool known, std::string text) {
    return known ? std::move(text) : std::string{"-"};
  };
  std::vector<std::vector<std::string>> rows{{"operation", "layer", "kernel", "rows", "channels", "pairs",
                                              "us", "% of time", "floor us", "% of floor"}};
  double floors = 0;
  for (auto const& operation : operations) {
    auto const& work = operation.work;
    bool const has_floor = operation.floor_seconds > 0;
    floors += operation.floor_seconds;
    rows.push_back(
        {operation.name, operation.layer, work.kernel, concat(work.rows),
         work.in_channels > 0 ? concat(work.in_channels, "->", work.out_channels) : concat(work.out_channels),
         or_none(work.pairs > 0, concat(work.pairs)), detail::fixed(1e6 * operation.seconds, 1),
         detail::fixed(total > 0 ? 100 * operation.seconds / total : 0, 1),
         or_none(has_floor, detail::fixed(1e6 * operation.floor_seconds, 1)),
         or_none(has_floor, detail::fixed(operation.percent_of_floor(), 0))});
  }
  rows.push_back({"total", "", "", "", "", "", detail::fixed(1e6 * total, 1),
                  detail::fixed(total > 0 ? 100 : 0, 1), or_none(floors > 0, detail::fixed(1e6 * floors, 1)),
                  or_none(floors > 0 && total > 0, detail::fixed(total > 0 ? 100 * floors / total : 0, 0))});
  return detail::text_table(rows, 3);
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
