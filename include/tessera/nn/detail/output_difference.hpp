// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How far two outputs of one convolution may lie apart when only the order of sums differs, as a fraction of
/// the largest magnitude: two steps of a 16-bit scalar, 2^-16 in float, 2^-40 in double. Sums of tensor cores
/// over TF32 operands, which cut instead of rounding, may differ by 2^-13; the operands' own rounding is
/// 2^-11.
template <class Scalar>
[[nodiscard]] constexpr double rounding_between(MathMode math)
{
  switch (ScalarTraits<Scalar>::dtype) {
    case DType::float16: return 0x1p-9;
    case DType::bfloat16: return 0x1p-6;
    case DType::float64: return 0x1p-40;
    default: return math == MathMode::tf32 ? 0x1p-13 : 0x1p-16;
  }
}

/// The largest |a - b| and the largest finite |a|, of the elements of one worker, into `most` by their bits:
/// those of floats >= 0 are in the floats' order. Elements that are NaN in both, or infinite alike, are
/// alike; in one alone they are 3e38 apart.
template <class Scalar>
struct MeasureDifference {
  Scalar const* a;      // [size]
  Scalar const* b;      // [size]
  std::uint32_t* most;  // [2], zeros
  std::int64_t size;
  std::int64_t workers;

  TESSERA_HOST_DEVICE void operator()(std::int64_t worker) const
  {
    float apart = 0;
    float magnitude = 0;
    for (auto i = worker; i < size; i += workers) {
      auto const x = static_cast<double>(static_cast<accumulator_t<Scalar>>(a[i]));
      auto const y = static_cast<double>(static_cast<accumulator_t<Scalar>>(b[i]));
      bool const alike = x == y || (is_nan(x) && is_nan(y));
      auto const d = alike ? 0 : x < y ? y - x : x - y;
      auto const m = x < 0 ? -x : x;
      constexpr double largest = 3e38;  // that a float holds
      float const step = static_cast<float>(is_finite(d) && d <= largest ? d : largest);
      apart = step > apart ? step : apart;
      if (is_finite(m) && m <= largest && static_cast<float>(m) > magnitude) {
        magnitude = static_cast<float>(m);
      }
    }
    put(&most[0], apart);
    put(&most[1], magnitude);
  }

 private:
  TESSERA_HOST_DEVICE static void put(std::uint32_t* to, float value)
  {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    atomic_maximum(to, bits);
  }
};

struct OutputDifference {
  double most = 0;     // |a - b|
  double largest = 0;  // |a|
};

/// Cost: one pass.
/// Stream: waits.
/// Determinism: maxima, so the same for every order.
template <class Scalar, class Space>
[[nodiscard]] OutputDifference measure_difference(Scalar const* a, Scalar const* b, std::int64_t size,
                                                  Execution<Space> const& exec)
{
  Buffer<std::uint32_t, Space> most{2, exec};
  fill_bytes(most, 0, exec);
  auto const workers = std::min<std::int64_t>(size, 1 << 16);
  for_each(workers, MeasureDifference<Scalar>{a, b, most.data(), size, workers}, exec);
  auto const bits = download(most, exec);
  return {double{bit_cast<float>(bits[0])}, double{bit_cast<float>(bits[1])}};
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
