// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/weight_layout.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How a kernel [volume, in, out] numbers its offsets.
enum class OffsetNumbering : std::uint8_t {
  last_axis_fastest,   ///< row-major, as io::Tessera
  first_axis_fastest,  ///< as io::Minkowski
  unknown              ///< one of the two
};

/// What is known of a kernel [volume, in, out] beyond its shape, which tells the volume alone: 16 offsets are
/// 4x4, 2x8, 2x2x2x2, ... A converted file says it in its metadata under kernel_mark_key(); without a mark
/// offsets are row-major and the size is not known.
struct KernelMark {
  OffsetNumbering order = OffsetNumbering::last_axis_fastest;
  std::vector<int> size;     ///< one number per axis; empty where it is not known
  bool from_volume = false;  ///< nobody gave the size: the volume has one usual reading, and the offsets were
                             ///< brought from first-axis-fastest order into row-major order by it
};

[[nodiscard]] inline std::string kernel_mark_key(std::string const& name)
{
  return "tessera.kernel_size." + name;
}

inline constexpr std::string_view first_axis_fastest_text = ", first axis fastest";
inline constexpr std::string_view unknown_order_text = ", axis order unknown";
inline constexpr std::string_view from_volume_text = ", from the volume";

/// `[3, 3, 3]` or `unknown`, and what is to be known of the offsets' order.
[[nodiscard]] inline std::string text_of(KernelMark const& mark)
{
  auto text = mark.size.empty() ? std::string{"unknown"} : list(mark.size);
  if (mark.order == OffsetNumbering::first_axis_fastest) { text += first_axis_fastest_text; }
  if (mark.order == OffsetNumbering::unknown) { text += unknown_order_text; }
  if (mark.from_volume) { text += from_volume_text; }
  return text;
}

/// The mark that text_of() wrote; nothing if it is not one.
[[nodiscard]] inline std::optional<KernelMark> parse_kernel_mark(std::string_view text)
{
  constexpr int largest = 1 << 20;
  constexpr std::string_view unknown = "unknown";
  KernelMark mark;
  if (text.substr(0, unknown.size()) == unknown) {
    text.remove_prefix(unknown.size());
  } else {
    if (text.empty() || text.front() != '[') { return std::nullopt; }
    int number = 0;
    std::int64_t volume = 1;
    for (bool open = true; open;) {
      text.remove_prefix(1);
      if (text.empty()) { return std::nullopt; }
      char const c = text.front();
      if (c >= '0' && c <= '9') { number = std::min(10 * number + (c - '0'), largest + 1); }
      if (c == ',' || c == ']') {
        volume *= number;
        bool const possible = number >= 1 && number <= largest && volume <= std::int64_t{1} << 40;
        if (!possible || mark.size.size() == 6) { return std::nullopt; }
        mark.size.push_back(std::exchange(number, 0));
      } else if (c != ' ' && (c < '0' || c > '9')) {
        return std::nullopt;
      }
      open = c != ']';
    }
    text.remove_prefix(1);
  }
  if (text.empty()) { return mark; }
  if (text == first_axis_fastest_text) {
    mark.order = OffsetNumbering::first_axis_fastest;
  } else if (text == unknown_order_text) {
    mark.order = OffsetNumbering::unknown;
  } else if (text == from_volume_text && !mark.size.empty()) {
    mark.from_volume = true;
  } else {
    return std::nullopt;
  }
  return mark;
}

/// The axes longer than 1: the order of offsets depends on them alone.
[[nodiscard]] inline std::vector<int> long_axes(std::vector<int> const& size)
{
  std::vector<int> result;
  std::copy_if(size.begin(), size.end(), std::back_inserter(result), [](int extent) { return extent > 1; });
  return result;
}

/// The kernel size that networks have with so many offsets, where it is only one: the square, cube or fourth
/// power. Empty where it is none or several, as for 16 = 4x4 = 2x2x2x2.
[[nodiscard]] inline std::vector<int> usual_size_of_volume(std::int64_t volume)
{
  std::vector<int> result;
  for (std::size_t dim = 2; dim <= 4; ++dim) {
    for (int extent = 2; extent <= 31; ++extent) {
      std::int64_t product = 1;
      for (std::size_t axis = 0; axis < dim; ++axis) { product *= extent; }
      if (product != volume) { continue; }
      if (!result.empty()) { return {}; }
      result.assign(dim, extent);
    }
  }
  return result;
}

/// The number of offsets of a kernel.
[[nodiscard]] inline std::int64_t volume_of(std::vector<int> const& size) noexcept
{
  std::int64_t volume = 1;
  for (auto const extent : size) { volume *= extent; }
  return volume;
}

/// Whether every kernel of so many offsets has one axis longer than 1 at most.
[[nodiscard]] inline bool is_prime_or_one(std::int64_t volume) noexcept
{
  for (std::int64_t factor = 2; factor * factor <= volume; ++factor) {
    if (volume % factor == 0) { return false; }
  }
  return true;
}

/// Where the offsets of a kernel come from, and what is known of it afterwards.
struct OffsetConversion {
  std::vector<std::int64_t> from;  ///< [volume]: offset k of the result is offset from[k] of the source
  KernelMark mark;
};

/// Brings the offsets of a kernel of which `source` is known into row-major order as far as that is known
/// too.
///
/// `told` is its size as the caller knows it, in the axes of the source, or empty; `swap` reverses the axes.
/// Nothing is guessed: without a size, offsets that a size is needed for keep their order, and the mark says
/// so; but a volume with one usual reading is brought into row-major order by that, which the mark says as
/// well, so that file_offsets() can undo it.
[[nodiscard]] inline OffsetConversion convert_offsets(std::int64_t volume, KernelMark source,
                                                      std::vector<int> const& told, bool swap)
{
  OffsetConversion result;
  result.from.resize(static_cast<std::size_t>(volume));
  std::iota(result.from.begin(), result.from.end(), std::int64_t{0});
  auto const renumber = [&](std::vector<int> const& size) {
    auto const old = result.from;
    for (std::int64_t k = 0; k < volume; ++k) {
      result.from[static_cast<std::size_t>(k)] = old[static_cast<std::size_t>(first_axis_fastest(k, size))];
    }
  };
  if (source.from_volume) {  // undone: the numbers are first-axis-fastest again, of whatever size
    renumber({source.size.rbegin(), source.size.rend()});
    source = {OffsetNumbering::first_axis_fastest, {}, false};
  }
  auto size = told.empty() ? source.size : told;
  auto order = source.order;
  if (swap) {
    std::reverse(size.begin(), size.end());
    if (order != OffsetNumbering::unknown) {
      order = order == OffsetNumbering::last_axis_fastest ? OffsetNumbering::first_axis_fastest
                                                          : OffsetNumbering::last_axis_fastest;
    }
  }
  bool const one_axis = size.empty() ? is_prime_or_one(volume) : long_axes(size).size() <= 1;
  if (one_axis) { order = OffsetNumbering::last_axis_fastest; }
  result.mark = {order, size, false};
  if (order != OffsetNumbering::first_axis_fastest) { return result; }
  if (size.empty()) {
    size = usual_size_of_volume(volume);
    result.mark.size = size;
    result.mark.from_volume = !size.empty();
  }
  if (!size.empty()) {
    renumber(size);
    result.mark.order = OffsetNumbering::last_axis_fastest;
  }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
