// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/weight_layout.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

using io::WeightLayout;

/// One way to read a tensor as the weight of a layer.
struct WeightReading {
  bool dense = false;  ///< of a dense layer: copied as it is
  WeightLayout layout = WeightLayout::tessera;
  std::vector<int> kernel_size;  ///< empty where the shape tells the volume alone
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t volume = 0;
};

/// Whether the shapes of a layout's kernels tell the volume alone, [volume, in, out].
[[nodiscard]] constexpr bool is_flat(WeightLayout layout) noexcept
{
  return layout == WeightLayout::tessera || layout == WeightLayout::torchsparse ||
         layout == WeightLayout::minkowski;
}

/// Whether a network would have such a kernel: one size on all axes, or 1, and no axis above 9.
[[nodiscard]] inline bool is_usual_kernel(std::int64_t const* begin, std::int64_t const* end) noexcept
{
  std::int64_t size = 1;
  for (; begin != end; ++begin) {
    if (*begin < 1 || *begin > 9 || (*begin != 1 && size != 1 && *begin != size)) { return false; }
    size = std::max(size, *begin);
  }
  return true;
}

/// All readings of a `.weight` of three or more dimensions that a network could have; `forced` is one that it
/// has in any case, however unusual, instead of the other sparse ones.
[[nodiscard]] inline std::vector<WeightReading> weight_readings(std::vector<std::int64_t> const& shape,
                                                                std::optional<WeightLayout> forced)
{
  std::vector<WeightReading> readings;
  auto const rank = shape.size();
  auto const add = [&](bool dense, WeightLayout layout, std::size_t first, std::size_t in, std::size_t out) {
    auto const* const from = shape.data() + first;
    auto const* const to = from + (rank - 2);
    if (!dense && forced && *forced != layout) { return; }
    bool const certain = !dense && forced;
    if (!certain && !is_usual_kernel(from, to)) { return; }
    if (std::any_of(from, to, [](std::int64_t size) { return size < 1 || size > 1024; })) { return; }
    WeightReading reading{dense, layout, {}, shape[in], shape[out], 1};
    for (auto const* size = from; size != to; ++size) {
      reading.kernel_size.push_back(static_cast<int>(*size));
      reading.volume *= *size;
    }
    readings.push_back(std::move(reading));
  };
  add(true, WeightLayout::tessera, 2, 1, 0);  // Conv
  add(true, WeightLayout::tessera, 2, 0, 1);  // ConvTranspose
  add(false, WeightLayout::krsc, 1, rank - 1, 0);
  add(false, WeightLayout::rskc, 0, rank - 1, rank - 2);
  add(false, WeightLayout::rsck, 0, rank - 2, rank - 1);
  // FlexGEMM's shapes are those of krsc, which is more usual: only where somebody says so.
  if (forced == WeightLayout::flexgemm) { add(false, WeightLayout::flexgemm, 1, rank - 1, 0); }
  return readings;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
