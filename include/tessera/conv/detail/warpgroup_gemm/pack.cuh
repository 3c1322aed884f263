// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/detail/warpgroup_gemm/shapes.hpp>
#include <tessera/conv/weight_view.hpp>
#include <tessera/core/launch.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Writes 16 bytes of the packed weight: item number i is those of one column in one half of a step.
template <class Scalar>
struct PackWarpgroupWeight {
  static constexpr int elements = 16 / static_cast<int>(sizeof(Scalar));
  static constexpr int width = 4 / static_cast<int>(sizeof(Scalar));  // elements of a register

  WeightView<Scalar> weight;
  Scalar* packed;  // aligned to 16 bytes
  WarpgroupLayout layout;

  __device__ void operator()(std::int64_t i) const
  {
    int const column = static_cast<int>(i % 8);
    int const half = static_cast<int>(i / 8 % 2);
    auto rest = i / 16;
    int const eight = static_cast<int>(rest % (layout.columns / 8));
    rest /= layout.columns / 8;
    int const step = static_cast<int>(rest % 2);
    rest /= 2;
    int const chunk = static_cast<int>(rest % layout.chunks());
    rest /= layout.chunks();
    int const offset = static_cast<int>(rest % layout.volume);
    int const block = static_cast<int>(rest / layout.volume);

    int const out = block * layout.columns + eight / 4 * 32 + column / 2 * 8 + eight % 4 * 2 + column % 2;
    alignas(16) Scalar values[elements];
#pragma unroll
    for (int e = 0; e < elements; ++e) {
      int const c = chunk * layout.chunk_channels + 4 * width * (e / width) + 2 * width * step +
                    width * half + e % width;
      bool const exists = c < layout.in_channels && out < layout.out_channels;
      auto const value = exists ? weight.at(offset, c, out) : narrow<Scalar>(0);
      if constexpr (ScalarTraits<Scalar>::family == ScalarFamily::float32) {
        values[e] = round_to_tf32(value);
      } else {
        values[e] = value;
      }
    }
    reinterpret_cast<uint4*>(packed)[i] = *reinterpret_cast<uint4 const*>(values);
  }
};

template <class Scalar>
void pack_warpgroup_weight(WeightView<Scalar> const& weight, Scalar* packed, WarpgroupLayout const& layout,
                           Execution<Device> const& exec)
{
  constexpr std::int64_t elements = 16 / static_cast<std::int64_t>(sizeof(Scalar));
  for_each(layout.size() / elements, PackWarpgroupWeight<Scalar>{weight, packed, layout}, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
