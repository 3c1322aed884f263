// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>

#include <cmath>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// scale = weight / sqrt(variance + epsilon), shift = bias - mean * scale.
template <class Sum>
struct NormAsAffine {
  Sum const* mean;      // [channels]
  Sum const* variance;  // [channels]
  Sum const* weight;    // [channels], or null: ones
  Sum const* bias;      // [channels], or null: zeros
  Sum epsilon;
  Sum* scale;  // [channels]
  Sum* shift;  // [channels]

  TESSERA_HOST_DEVICE void operator()(std::int64_t c) const
  {
    using std::sqrt;
    scale[c] = (weight != nullptr ? weight[c] : Sum{1}) / sqrt(variance[c] + epsilon);
    shift[c] = (bias != nullptr ? bias[c] : Sum{0}) - mean[c] * scale[c];
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
