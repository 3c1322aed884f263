// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/host_device.hpp>
#include <tessera/core/scalar.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// weight[..., c] *= scale[c]
template <class Scalar>
struct ScaleChannels {
  Scalar* weight;                      // [size]
  accumulator_t<Scalar> const* scale;  // [channels]
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    weight[i] = static_cast<Scalar>(static_cast<accumulator_t<Scalar>>(weight[i]) * scale[i % channels]);
  }
};

/// bias[c] = bias[c] * scale[c] + shift[c], the old one being 0 where there is none.
template <class Scalar>
struct ScaleBias {
  Scalar* bias;  // [channels]
  accumulator_t<Scalar> const* scale;
  accumulator_t<Scalar> const* shift;
  bool is_new;

  TESSERA_HOST_DEVICE void operator()(std::int64_t c) const
  {
    auto const old = is_new ? accumulator_t<Scalar>{0} : static_cast<accumulator_t<Scalar>>(bias[c]);
    bias[c] = static_cast<Scalar>(old * scale[c] + shift[c]);
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
