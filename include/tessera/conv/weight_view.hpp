// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Elements from one offset, input channel and output channel of a weight to the next; all 0 for the plain
/// order [volume, in_channels, out_channels].
struct WeightSteps {
  std::int64_t offset = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;

  [[nodiscard]] constexpr bool is_plain() const noexcept { return offset == 0 && in == 0 && out == 0; }
};

/// A weight in memory, in whatever order: `weight[k, c, o] = data[k offset_step + c in_step + o out_step]`.
///
/// Other libraries' orders, mirrored offsets and the transposed weight of a data gradient are views, which
/// kernels read once it is packed. Steps may be negative.
template <class T>
struct WeightView {
  T const* data = nullptr;  ///< element [0, 0, 0]
  int volume = 0;
  int in_channels = 0;
  int out_channels = 0;
  std::int64_t offset_step = 0;
  std::int64_t in_step = 0;
  std::int64_t out_step = 0;

  [[nodiscard]] TESSERA_HOST_DEVICE T const& at(std::int64_t offset, std::int64_t in, std::int64_t out) const
  {
    return data[offset * offset_step + in * in_step + out * out_step];
  }
  /// Elements.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t size() const
  {
    return std::int64_t{volume} * in_channels * out_channels;
  }
  /// Whether the order is [volume, in_channels, out_channels].
  [[nodiscard]] constexpr bool is_plain() const noexcept
  {
    return out_step == 1 && in_step == out_channels &&
           (offset_step == std::int64_t{in_channels} * out_channels || volume == 1);
  }
  /// The steps, in their one form where the order is plain.
  [[nodiscard]] constexpr WeightSteps steps() const noexcept
  {
    return is_plain() ? WeightSteps{} : WeightSteps{offset_step, in_step, out_step};
  }
  /// The offsets [first, first + count).
  [[nodiscard]] WeightView offsets(int first, int count) const
  {
    auto part = *this;
    part.data += first * offset_step;
    part.volume = count;
    return part;
  }
  /// Each offset's matrix transposed.
  [[nodiscard]] WeightView transposed() const
  {
    return {data, volume, out_channels, in_channels, offset_step, out_step, in_step};
  }
  /// The offsets from the last to the first.
  [[nodiscard]] WeightView mirrored() const
  {
    auto view = *this;
    view.data += (volume > 0 ? volume - 1 : 0) * offset_step;
    view.offset_step = -offset_step;
    return view;
  }
};

/// The view of a weight [volume, in_channels, out_channels].
template <class T>
[[nodiscard]] WeightView<T> plain_weight(T const* data, int volume, int in_channels, int out_channels)
{
  return {data, volume, in_channels, out_channels, std::int64_t{in_channels} * out_channels, out_channels, 1};
}

}  // namespace v0
}  // namespace tessera
