// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/block_gemm/problem.cuh>
#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/conv/detail/mma/mask_cursor.cuh>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Walks a block's steps - its active offsets ascending, and of each the channels `depth` at a time - and
/// begins the copies of each step's operands.
template <class Layout, bool Aligned>
class StageLoader {
  using Scalar = typename Layout::Scalar;
  static constexpr int row_chunks = Layout::depth / Layout::chunk;
  static constexpr int weight_chunks = Layout::channels / Layout::chunk;
  static constexpr int feature_copies = ceil_div(Layout::rows * row_chunks, Layout::threads);
  static constexpr int weight_copies = ceil_div(Layout::depth * weight_chunks, Layout::threads);

 public:
  __device__ StageLoader(BlockGemmProblem<Scalar> const& problem, BlockPlace<Layout> const& place)
      : problem_{problem}, place_{place}
  {
    cursor_.begin(problem.masks == nullptr ? 1U : mask(0));
    begin_offset();
  }

  [[nodiscard]] __device__ bool done() const { return offset_ < 0; }

  /// Begins to copy the current step's operands into `stage` and goes on to the next step.
  __device__ void load(Scalar* stage)
  {
    int const thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int n = 0; n < feature_copies; ++n) {
      int const i = n * Layout::threads + thread;
      if (Layout::rows * row_chunks % Layout::threads != 0 && i >= Layout::rows * row_chunks) { break; }
      int const column = i % row_chunks * Layout::chunk;
      int const channel = first_channel_ + column;
      copy(stage + i / row_chunks * Layout::feature_pitch + column, problem_.features,
           std::int64_t{rows_[n]} * problem_.in_channels + channel,
           rows_[n] < 0 ? 0 : problem_.in_channels - channel, problem_.aligned_features);
    }
    auto const* const weight =
        problem_.weight + (std::int64_t{place_.split} * problem_.split_length + offset_) *
                              problem_.in_channels * problem_.out_channels;
#pragma unroll
    for (int n = 0; n < weight_copies; ++n) {
      int const i = n * Layout::threads + thread;
      if (Layout::depth * weight_chunks % Layout::threads != 0 && i >= Layout::depth * weight_chunks) {
        break;
      }
      int const column = i % weight_chunks * Layout::chunk;
      int const in = first_channel_ + i / weight_chunks;
      int const out = place_.first_channel + column;
      copy(stage + Layout::weight_begin + i / weight_chunks * Layout::weight_pitch + column, weight,
           std::int64_t{in} * problem_.out_channels + out,
           in < problem_.in_channels ? problem_.out_channels - out : 0, problem_.aligned_weight);
    }
    first_channel_ += Layout::depth;
    if (first_channel_ >= problem_.in_channels) {
      first_channel_ = 0;
      begin_offset();
    }
  }

 private:
  /// Copies the chunk from element `at` of `operand`, of which the first `valid` elements exist (none if 0 or
  /// less); zeros take the others' place.
  __device__ static void copy(Scalar* to, Scalar const* operand, std::int64_t at, int valid, bool aligned)
  {
    if constexpr (!Aligned) {
      if (!aligned) {
        alignas(16) Scalar values[Layout::chunk];
#pragma unroll
        for (int i = 0; i < Layout::chunk; ++i) {
          values[i] = i < valid ? operand[at + i] : narrow<Scalar>(0);
        }
        *reinterpret_cast<uint4*>(to) = *reinterpret_cast<uint4 const*>(values);
        return;
      }
    }
    begin_copy(to, valid > 0 ? operand + at : operand, valid > 0);  // it exists as a whole or not at all
  }

  [[nodiscard]] __device__ std::uint32_t mask(int word) const
  {
    return problem_.masks[place_.tile * problem_.words + word];
  }

  /// Goes to the next active offset and fetches its rows now, so that they are there when its copies begin.
  __device__ void begin_offset()
  {
    offset_ = cursor_.next(problem_.words, [this](int word) { return mask(word); });
    if (offset_ < 0) { return; }
    auto const* const map =
        problem_.map == nullptr
            ? nullptr
            : problem_.map + (place_.tile * problem_.split_length + offset_) * Layout::rows;
#pragma unroll
    for (int n = 0; n < feature_copies; ++n) {
      int const row = (n * Layout::threads + static_cast<int>(threadIdx.x)) / row_chunks;
      rows_[n] = row >= place_.num_rows ? -1
                 : map == nullptr       ? static_cast<std::int32_t>(place_.first + row)
                                        : map[row];
    }
  }

  BlockGemmProblem<Scalar> const& problem_;
  BlockPlace<Layout> const& place_;
  MaskCursor cursor_;
  int offset_ = -1;  // in the split
  int first_channel_ = 0;
  std::int32_t rows_[feature_copies];  // of this thread's copies
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
