// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/warpgroup_gemm/block.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// The sums of a lane: of two rows, the upper and the lower one of its warp's fragments, eight neighbouring
/// columns out of each 32.
template <class Shape>
class WarpgroupSums {
  using Scalar = typename Shape::Scalar;
  using Problem = WarpgroupGemmProblem<Scalar>;

 public:
  static constexpr int columns = Shape::product / 2;
  float values[Shape::products][columns];  // as a product has them

  struct alignas(16) Eight {
    Scalar values[8];
  };
  static constexpr int blocks = Shape::columns / 32;

  __device__ void clear()
  {
#pragma unroll
    for (int p = 0; p < Shape::products; ++p) {
#pragma unroll
      for (int i = 0; i < columns; ++i) { values[p][i] = 0; }
    }
  }

  /// Adds up with the other block of the cluster, and writes the output. Rank 0 finishes the upper rows of a
  /// fragment, rank 1 the lower ones; a sum is that of rank 0's offsets and rank 1's.
  __device__ void finish(Problem const& problem, WarpgroupShared<Shape> const& shared, int first_channel)
  {
    constexpr int size = Shape::columns / 4;
    int const warp = static_cast<int>(threadIdx.x) / 32;
    auto* const place = shared.received_sums + threadIdx.x;
    auto const* const rows = shared.out_rows + warp * piece_rows + static_cast<int>(threadIdx.x) % 32 / 4;
    bool const shares = shared.part.shares;
    int const rank = shared.part.rank;
    int pass = shares ? rank : 0;                      // one of both rows, or both in turn
    constexpr int held = ScalarTraits<Scalar>::family == ScalarFamily::float16 ? 2 : 1;  // rows of residuals that there are registers for
    Eight residual[held][blocks];  // asked for before the other block's sums are waited for
    fetch_residual(problem, rows[8 * pass], first_channel, residual[0]);
    if (held == 2 && !shares) { fetch_residual(problem, rows[8], first_channel, residual[held - 1]); }
    if (shares) {
      wait_for_cluster();  // the other block's barriers are prepared
#pragma unroll
      for (int i = 0; i < size; i += 4) {
        auto const given = [&](int k) { return rank == 0 ? sum(i + k, 1) : sum(i + k, 0); };
        store_in_block(place + i / 4 * Shape::consumers, shared.received[warp],
                       static_cast<unsigned>(rank ^ 1), given(0), given(1), given(2), given(3));
      }
      wait(shared.received[warp], 0);
    }
#pragma unroll 1
    for (;;) {
      if (pass == 1) { take_lower(); }
      if (shares) {
#pragma unroll
        for (int i = 0; i < size; i += 4) {
          auto const other = place[i / 4 * Shape::consumers];
          sum(i, 0) += other.x;
          sum(i + 1, 0) += other.y;
          sum(i + 2, 0) += other.z;
          sum(i + 3, 0) += other.w;
        }
      }
      store(problem, rows[8 * pass], first_channel, shared.bias, residual[0]);
      if (shares || pass == 1) { return; }
      pass = 1;
      if (held == 1) { fetch_residual(problem, rows[8], first_channel, residual[0]); }
#pragma unroll
      for (int i = 0; i < blocks; ++i) { residual[0][i] = residual[held - 1][i]; }
    }
  }

 private:
  /// Puts the sums of the lower row in the place of the upper one's.
  __device__ void take_lower()
  {
#pragma unroll
    for (int i = 0; i < Shape::columns / 4; ++i) { sum(i, 0) = sum(i, 1); }
  }

  /// Sum number i of the lane's upper or lower row.
  [[nodiscard]] __device__ float& sum(int i, int lower)
  {
    int const column = i / 2 * 4 + i % 2;
    return values[column / columns][column % columns + 2 * lower];
  }

  __device__ static void fetch_residual(Problem const& problem, std::int32_t row, int first_channel,
                                        Eight (&residual)[blocks])
  {
    if (problem.residual == nullptr || row < 0 || !problem.whole_packs) { return; }
    int const first = first_channel + static_cast<int>(threadIdx.x) % 4 * 8;
    auto const* const from = problem.residual + std::int64_t{row} * problem.out_channels + first;
#pragma unroll
    for (int i = 0; i < blocks; ++i) {
      if (first + i * 32 < problem.out_channels) { load_once(residual[i], from + i * 32); }
    }
  }

  // Residuals and outputs leave the cache first: rows of features are read again and again meanwhile (C256 on
  // 94,444 rows 205 -> 191 us, on 21,428 rows 87 -> 79).
  __device__ static void load_once(Eight& to, Scalar const* from)
  {
#pragma unroll
    for (std::size_t i = 0; i < sizeof(Eight) / 16; ++i) {
      reinterpret_cast<uint4*>(&to)[i] = __ldcs(reinterpret_cast<uint4 const*>(from) + i);
    }
  }
  __device__ static void store_once(Scalar* to, Eight const& value)
  {
#pragma unroll
    for (std::size_t i = 0; i < sizeof(Eight) / 16; ++i) {
      __stcs(reinterpret_cast<uint4*>(to) + i, reinterpret_cast<uint4 const*>(&value)[i]);
    }
  }

  /// Writes the upper row of the lane.
  __device__ void store(Problem const& problem, std::int32_t row, int first_channel, float const* bias,
                        Eight const (&residual)[blocks])
  {
    int const first = first_channel + static_cast<int>(threadIdx.x) % 4 * 8;
    auto const at = std::int64_t{row} * problem.out_channels;
    if (row < 0) { return; }
    if (problem.sums != nullptr || !problem.whole_packs) {
#pragma unroll
      for (int i = 0; i < Shape::columns / 4; ++i) {
        int const channel = first + i / 8 * 32 + i % 8;
        if (channel >= problem.out_channels) { continue; }
        if (problem.sums != nullptr) {
          problem.sums[at + channel] = sum(i, 0);
        } else {
          store_one(problem, sum(i, 0) + 0.0F + bias[channel - first_channel], at + channel);
        }
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < blocks; ++i) {
      int const channel = first + i * 32;
      if (channel < problem.out_channels) {
        auto const* const biases = reinterpret_cast<float4 const*>(bias + (channel - first_channel));
        float4 const added[2] = {biases[0], biases[1]};
        float const eight[8] = {added[0].x, added[0].y, added[0].z, added[0].w,
                                added[1].x, added[1].y, added[1].z, added[1].w};
        Eight result;
#pragma unroll
        for (int k = 0; k < 8; ++k) {
          // + 0: a sum that underflowed to -0 is -0 or 0, depending on whether zeros were added after it.
          float value = sum(i * 8 + k, 0) + 0.0F + eight[k];
          if (problem.residual != nullptr) { value += widen(residual[i].values[k]); }
          result.values[k] = narrow<Scalar>(activate(problem, value));
        }
        store_once(problem.output + at + channel, result);
      }
    }
  }

  __device__ static void store_one(Problem const& problem, float value, std::int64_t at)
  {
    if (problem.residual != nullptr) { value += widen(problem.residual[at]); }
    problem.output[at] = narrow<Scalar>(activate(problem, value));
  }

  [[nodiscard]] __device__ static float activate(Problem const& problem, float value)
  {
    return value <= 0.0F ? (problem.slope == 0.0F ? 0.0F : value * problem.slope) : value;
  }
};

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
