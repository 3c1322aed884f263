// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A layer's weight and bias as they become when its output is to be `scale[c] * y[i, c] + shift[c]`.
template <class Scalar>
struct ScaledChannels {
  using Sum = accumulator_t<Scalar>;

  Scalar const* weight;  // [size], channels last
  Scalar const* bias;    // [channels], or null: zeros
  Sum const* scale;      // [channels]
  Sum const* shift;      // [channels]
  std::int64_t channels;

  [[nodiscard]] TESSERA_HOST_DEVICE Scalar weight_at(std::int64_t i) const
  {
    return static_cast<Scalar>(static_cast<Sum>(weight[i]) * scale[i % channels]);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Scalar bias_at(std::int64_t c) const
  {
    auto const old = bias != nullptr ? static_cast<Sum>(bias[c]) : Sum{0};
    return static_cast<Scalar>(old * scale[c] + shift[c]);
  }
};

/// *found = 1 where a scaled weight or bias is not finite; items are the weight's elements, then the bias's.
template <class Scalar>
struct FindOverflow {
  ScaledChannels<Scalar> scaled;
  std::int64_t size;
  std::uint32_t* found;  // [1], zero

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const value = i < size ? scaled.weight_at(i) : scaled.bias_at(i - size);
    if (!is_finite(static_cast<accumulator_t<Scalar>>(value))) { atomic_or(found, 1U); }
  }
};

/// Writes them; the same items.
template <class Scalar>
struct WriteScaled {
  ScaledChannels<Scalar> scaled;
  std::int64_t size;
  Scalar* weight;  // [size], may be what is read
  Scalar* bias;    // [channels], too

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (i < size) {
      weight[i] = scaled.weight_at(i);
    } else {
      bias[i - size] = scaled.bias_at(i - size);
    }
  }
};

/// Whether a Scalar holds all of it.
/// Stream: enqueues a kernel, and waits.
template <class Scalar, class Space>
[[nodiscard]] bool holds_scaled(ScaledChannels<Scalar> const& scaled, std::int64_t size,
                                Execution<Space> const& exec)
{
  Buffer<std::uint32_t, Space> found{1, exec};
  fill_bytes(found, 0, exec);
  for_each(size + scaled.channels, FindOverflow<Scalar>{scaled, size, found.data()}, exec);
  return download(found, exec)[0] == 0;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
