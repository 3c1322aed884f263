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
    int const warp = warp_id();
    auto* const place = shared.received_sums + threadIdx.x;
    auto const* const rows = shared.out_rows + warp * fragment_rows + lane_id() / 4;
    bool const shares = shared.part.shares;
    int const rank = shared.part.rank;
    int pass = shares ? rank : 0;  // one of both rows, or both in turn
    constexpr int held = ScalarTraits<Scalar>::family == ScalarFamily::float16
                             ? 2
                             : 1;  // rows of residuals that there are registers for
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
      wait_for_phase(shared.received[warp], 0);
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
    if (problem.epilogue.residual == nullptr || row < 0 || !problem.whole_packs) { return; }
    int const first = first_channel + static_cast<int>(threadIdx.x) % 4 * 8;
    auto const* const from = problem.epilogue.residual + std::int64_t{row} * problem.out_channels + first;
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

  /// Writes the upper row of the lane; its sums and the residual are gone then.
  __device__ void store(Problem const& problem, std::int32_t row, int first_channel, float const* bias,
                        Eight (&residual)[blocks])
  {
    int const first = first_channel + static_cast<int>(threadIdx.x) % 4 * 8;
    auto const at = std::int64_t{row} * problem.out_channels;
    if (row < 0) { return; }
    if (problem.sums != nullptr) {
#pragma unroll
      for (int i = 0; i < Shape::columns / 4; ++i) {
        int const channel = first + i / 8 * 32 + i % 8;
        if (channel < problem.out_channels) { problem.sums[at + channel] = sum(i, 0); }
      }
      return;
    }
    if (problem.epilogue.is_linear() && problem.whole_packs) {
#pragma unroll
      for (int i = 0; i < blocks; ++i) {
        int const channel = first + i * 32;
        if (channel >= problem.out_channels) { continue; }
        Eight result;
        finish_eight<ActivationSet::linear>(problem, i, bias + (channel - first_channel), residual[i],
                                            result);
        store_once(problem.output + at + channel, result);
      }
      return;
    }
#pragma unroll 1
    for (int channel = first; channel < first_channel + Shape::columns; channel += 32) {
      store_eight(problem, at, channel, bias + (channel - first_channel));
#pragma unroll
      for (int k = 0; k + 8 < Shape::columns / 4; ++k) { sum(k, 0) = sum(k + 8, 0); }
    }
  }

  /// The outputs of eight sums, those of block number `i` of 32 columns.
  template <ActivationSet Set>
  __device__ void finish_eight(Problem const& problem, int i, float const* bias, Eight const& residual,
                               Eight& result)
  {
    auto const* const biases = reinterpret_cast<float4 const*>(bias);
    float4 const terms[2] = {biases[0], biases[1]};
    float const bias_terms[8] = {terms[0].x, terms[0].y, terms[0].z, terms[0].w,
                                 terms[1].x, terms[1].y, terms[1].z, terms[1].w};
    float own[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) { own[k] = sum(i * 8 + k, 0); }
    problem.epilogue.template run<Set>(own, bias_terms, residual.values, result.values);
  }

  /// Writes the outputs of the first eight sums to columns from `channel` on, as far as they exist.
  /// @param bias  of these columns
  __device__ void store_eight(Problem const& problem, std::int64_t at, int channel, float const* bias)
  {
    // Sums take turns at the first place, since registers have no index, and outputs replace them.
#pragma unroll 1
    for (int k = 0; k < 8; ++k) {
      float const own[1] = {sum(0, 0)};
      float const bias_term[1] = {bias[k]};
      Scalar residual[1];
      Scalar output[1];
      if (problem.epilogue.residual != nullptr && channel + k < problem.out_channels) {
        residual[0] = problem.epilogue.residual[at + channel + k];
      }
      problem.epilogue.template run<ActivationSet::all>(own, bias_term, residual, output);
#pragma unroll
      for (int i = 0; i < 7; ++i) { sum(i, 0) = sum(i + 1, 0); }
      sum(7, 0) = widen(output[0]);
    }
    Eight result;
#pragma unroll
    for (int k = 0; k < 8; ++k) { result.values[k] = narrow<Scalar>(sum(k, 0)); }
    if (problem.whole_packs) {
      if (channel < problem.out_channels) { store_once(problem.output + at + channel, result); }
      return;
    }
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      if (channel + k < problem.out_channels) { problem.output[at + channel + k] = result.values[k]; }
    }
  }
};

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
