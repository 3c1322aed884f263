// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/weight_view.hpp>
#include <tessera/core/launch.cuh>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Writes element number i of the weight in the plain order.
template <class Scalar>
struct PackPlainWeight {
  WeightView<Scalar> weight;
  Scalar* packed;  // [volume, in_channels, out_channels]

  __device__ void operator()(std::int64_t i) const
  {
    auto const out = i % weight.out_channels;
    auto const rest = i / weight.out_channels;
    packed[i] = weight.at(rest / weight.in_channels, rest % weight.in_channels, out);
  }
};

/// Stream: enqueues a kernel, does not wait.
template <class Scalar>
void pack_plain_weight(WeightView<Scalar> const& weight, Scalar* packed, Execution<Device> const& exec)
{
  for_each(weight.size(), PackPlainWeight<Scalar>{weight, packed}, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
