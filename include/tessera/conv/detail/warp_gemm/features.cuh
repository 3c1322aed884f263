// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/mask_cursor.cuh>
#include <tessera/conv/detail/warp_gemm/problem.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

#if __CUDA_ARCH__ >= 900

/// 16 bytes, zeros unless `present`.
[[nodiscard]] __device__ inline uint4 load_if(void const* from, bool present)
{
  uint4 value;
  asm volatile(
      "{\n"
      ".reg .pred present;\n"
      "setp.ne.s32 present, %5, 0;\n"
      "mov.b32 %0, 0;\n"
      "mov.b32 %1, 0;\n"
      "mov.b32 %2, 0;\n"
      "mov.b32 %3, 0;\n"
      "@present ld.global.v4.b32 {%0, %1, %2, %3}, [%4];\n"
      "}\n"
      : "=&r"(value.x), "=&r"(value.y), "=&r"(value.z), "=&r"(value.w)
      : "l"(from), "r"(static_cast<int>(present)));
  return value;
}

/// Walks through a warp's tiles and their offsets, and reads rows of features into registers. The numbers of
/// the rows are fetched for four offsets at once and a fetch ahead, so that reading rows need not wait for
/// them.
template <class Shape>
class FeatureStream {
  using Scalar = typename Shape::Scalar;
  static constexpr int row_steps = Shape::row_steps;
  static constexpr int row_tiles = Shape::row_tiles;
  static constexpr int pack = Shape::pack;

 public:
  using Chunk = uint4[row_tiles];  // of rows lane / 4 + 8 i

  /// @param queue  counts the tiles that warps of the block have taken
  __device__ FeatureStream(WarpGemmProblem<Scalar> const& problem, int* queue)
      : problem_{problem}, queue_{queue}
  {
    begin_tile();
    fetch_rows();
  }

  [[nodiscard]] __device__ WarpStep const& step() const { return step_; }

  /// Whether `step` is its tile's last.
  [[nodiscard]] __device__ bool is_last(WarpStep const& step) const
  {
    return step.tile % 2 != 0 &&
           (step.offset < 0 || step.chunk + Shape::step_chunks >= problem_.chunks_per_offset);
  }

  /// Goes on to the step for place `Place` of `depth`; a tile begins at place 0, with empty steps before it.
  template <int Place>
  __device__ void next_step()
  {
    if (Place > 0 && ended_) {
      step_.offset = -1;
#pragma unroll
      for (int i = 0; i < row_tiles; ++i) { rows_[i] = -1; }
      return;
    }
    step_.chunk += Shape::step_chunks;
    if (step_.offset < 0 || step_.chunk >= problem_.chunks_per_offset) { begin_offset(); }
    ended_ = is_last(step_);
  }

  /// Begins to load chunk `index` of the step.
  __device__ void load(Chunk& to, int index) const
  {
    if constexpr (pack == 4) {
      if (problem_.in_channels != 8) { return load_few(to); }
    }
    int const channel = pack == 1 ? (step_.chunk + index) * 32 + quarter() * 8 : quarter() % (4 / pack) * 8;
#pragma unroll
    for (int i = 0; i < row_tiles; ++i) {
      to[i] = load_if(problem_.features + std::int64_t{rows_[i]} * problem_.in_channels + channel,
                      rows_[i] >= 0 && channel < problem_.in_channels);
    }
  }

 private:
  static constexpr int batch = pack == 1 ? 4 : 1;  // offsets whose rows are fetched at once

  [[nodiscard]] __device__ static int quarter()
  {
    return static_cast<int>(threadIdx.x) % 4;
  }

  [[nodiscard]] __device__ std::uint32_t mask(int word) const
  {
    std::uint32_t bits = 0;
#pragma unroll
    for (int i = 0; i < row_steps; ++i) {
      int const fragment = tile_ * row_steps + i;
      if (fragment < problem_.num_fragments) {
        bits |= __ldg(&problem_.masks[fragment * problem_.words + word]);
      }
    }
    if constexpr (pack == 2) { bits = (bits | bits >> 1) & 0x55555555U; }
    if constexpr (pack == 4) {
      bits |= bits >> 1;
      bits = (bits | bits >> 2) & 0x11111111U;
    }
    return bits;
  }

  /// A row of fewer than 8 channels, in pairs as far as they are aligned: of an odd number of channels every
  /// other row begins between two pairs, with its first channel by itself instead of its last.
  [[nodiscard]] __device__ uint4 load_pairs(Scalar const* from) const
  {
    int const pairs = problem_.in_channels / 2;
    bool const has_single = problem_.in_channels % 2 != 0;
    bool const single_first = has_single && reinterpret_cast<std::uintptr_t>(from) % 4 != 0;
    std::uint32_t single = 0;
    if (has_single) {
      single = reinterpret_cast<unsigned short const*>(from)[single_first ? 0 : problem_.in_channels - 1];
    }
    auto const* const aligned = reinterpret_cast<std::uint32_t const*>(from + (single_first ? 1 : 0));
    std::uint32_t words[4] = {};
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      if (k < pairs) { words[k] = aligned[k]; }
    }
    if (single_first) {
#pragma unroll
      for (int k = 3; k > 0; --k) { words[k] = __funnelshift_l(words[k - 1], words[k], 16); }
      words[0] = words[0] << 16 | single;
      return make_uint4(words[0], words[1], words[2], words[3]);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (has_single && k == pairs) { words[k] = single; }
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
  }

  /// Loads rows of fewer than 8 channels, which do not begin at multiples of 16 bytes.
  __device__ void load_few(Chunk& to) const
  {
#pragma unroll
    for (int i = 0; i < row_tiles; ++i) {
      bool const exists = rows_[i] >= 0;
      auto const* const from =
          problem_.features + (exists ? std::int64_t{rows_[i]} * problem_.in_channels : std::int64_t{0});
      if (problem_.in_channels == 4) {
        auto const value = exists ? *reinterpret_cast<uint2 const*>(from) : make_uint2(0, 0);
        to[i] = make_uint4(value.x, value.y, 0, 0);
        continue;
      }
      to[i] = exists ? load_pairs(from) : make_uint4(0, 0, 0, 0);
    }
  }

  __device__ void begin_tile()
  {
    if constexpr (Shape::resident) {
      int taken = 0;
      if (lane_id() == 0) { taken = atomicAdd(queue_, 1); }
      tile_ = static_cast<int>(blockIdx.x + __shfl_sync(0xffffffffU, taken, 0) * gridDim.x);
      if (tile_ >= ceil_div(problem_.num_fragments, row_steps)) { tile_ = -1; }
    } else {
      tile_ =
          tile_ == -2 ? static_cast<int>(blockIdx.x) * Shape::row_warps + warp_id() % Shape::row_warps : -1;
    }
    cursor_.begin(tile_ < 0 ? 0 : mask(0));
    skip_empty_words();
  }
  __device__ void skip_empty_words()
  {
    if (tile_ >= 0) {
      cursor_.skip_empty_words(problem_.words, [this](int word) { return mask(word); });
    }
  }

  __device__ void begin_offset()
  {
    if (taken_ == count_) {
      taken_ = 0;
      count_ = next_count_;
      offsets_ = next_offsets_;
      batch_tile_ = next_tile_;
#pragma unroll
      for (int i = 0; i < row_tiles; ++i) { lane_rows_[i] = next_rows_[i]; }
      fetch_rows();
    }
    step_.chunk = 0;
    step_.offset = count_ == 0 ? -1 : __shfl_sync(0xffffffffU, offsets_, taken_) / pack;
#pragma unroll
    for (int i = 0; i < row_tiles; ++i) {
      rows_[i] = batch == 1 ? lane_rows_[i]
                            : __shfl_sync(0xffffffffU, lane_rows_[i], lane_id() - quarter() + taken_);
    }
    taken_ += count_ == 0 ? 0 : 1;
    step_.tile = taken_ == count_ ? batch_tile_ : batch_tile_ & ~1;
  }

  /// Begins to load the rows' numbers of the tile's next offsets, lane i % 4 those of the offset i % 4.
  __device__ void fetch_rows()
  {
    next_tile_ = 2 * tile_;
    next_offsets_ = -1;
    next_count_ = 0;
#pragma unroll
    for (int i = 0; i < row_tiles; ++i) { next_rows_[i] = -1; }
    if (tile_ < 0) { return; }
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      if (cursor_.has_offset()) {
        int const offset = cursor_.take();
        if (batch == 1 || quarter() == i) { next_offsets_ = offset; }
        ++next_count_;
      }
    }
    int const offset = pack == 1 ? next_offsets_ : next_offsets_ + quarter() * pack / 4;
    if (next_offsets_ >= 0 && offset < problem_.split_length) {
#pragma unroll
      for (int i = 0; i < row_steps; ++i) {
        int const fragment = tile_ * row_steps + i;
        if (fragment < problem_.num_fragments) {
          auto const* const from = problem_.map +
                                   (std::int64_t{fragment} * problem_.split_length + offset) * fragment_rows +
                                   lane_id() / 4;
          next_rows_[2 * i] = __ldg(from);
          next_rows_[2 * i + 1] = __ldg(from + 8);
        }
      }
    }
    skip_empty_words();
    if (!cursor_.has_offset()) {
      ++next_tile_;
      begin_tile();
    }
  }

  WarpGemmProblem<Scalar> const& problem_;
  int* queue_;
  // The tile that rows' numbers are fetched for, and its offsets to come.
  int tile_ = -2;
  MaskCursor cursor_;
  // The offsets fetched last: lane i % 4 has offset i % 4.
  int next_tile_ = 0;  // twice the tile, + 1 if these are its last
  int next_count_ = 0;
  int next_offsets_ = -1;
  std::int32_t next_rows_[row_tiles];
  // Those fetched before, of which `taken_` have become steps.
  int batch_tile_ = 0;
  int count_ = 0;
  int taken_ = 0;
  int offsets_ = -1;
  std::int32_t lane_rows_[row_tiles];
  // What chunks are loaded for.
  WarpStep step_;
  bool ended_ = false;
  std::int32_t rows_[row_tiles];
};

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
