// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/bulk_copy.cuh>
#include <tessera/conv/detail/mma/mask_cursor.cuh>
#include <tessera/conv/detail/mma/pipeline_state.cuh>
#include <tessera/conv/detail/warp_gemm/problem.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

#if __CUDA_ARCH__ >= 900

/// Weights that stay in shared memory as a whole: copied once, each offset with a barrier of its own.
template <class Shape>
class ResidentWeight {
  using Scalar = typename Shape::Scalar;

 public:
  /// All threads of the block.
  __device__ ResidentWeight(WarpGemmProblem<Scalar> const& problem, unsigned char* shared, int block)
      : problem_{problem},
        weight_{reinterpret_cast<Scalar*>(shared)},
        offset_size_{problem.chunks_per_offset * Shape::chunk_size},
        barriers_{reinterpret_cast<SharedBarrier*>(shared + std::size_t(problem.packed_offsets) *
                                                                std::size_t(offset_size_) * sizeof(Scalar))}
  {
    if (threadIdx.x == 0) {
      *queue() = 0;
      for (int i = 0; i < problem.packed_offsets; ++i) { prepare_barrier(barriers_[i], 1); }
      fence_barriers();
      auto const* const from = problem.packed + std::int64_t{block} * problem.packed_offsets * offset_size_;
      auto const bytes = static_cast<std::uint32_t>(offset_size_ * int(sizeof(Scalar)));
      for (int i = 0; i < problem.packed_offsets; ++i) {
        arrive_expecting(barriers_[i], bytes);
        begin_bulk_copy(weight_ + i * offset_size_, from + std::int64_t{i} * offset_size_, bytes,
                        barriers_[i]);
      }
    }
    __syncthreads();
  }

  /// How many tiles the warps of the block have taken.
  [[nodiscard]] __device__ int* queue() const
  {
    return reinterpret_cast<int*>(barriers_ + problem_.packed_offsets);
  }

  /// A step's weights, once they have arrived.
  [[nodiscard]] __device__ Scalar const* begin(WarpStep const& step)
  {
    wait_for_phase(barriers_[step.offset], 0);
    return weight_ + step.offset * offset_size_ + step.chunk * Shape::chunk_size;
  }
  __device__ void end(WarpStep const&) {}
  __device__ void end_tile() {}

 private:
  WarpGemmProblem<Scalar> const& problem_;
  Scalar* weight_;
  int offset_size_;
  SharedBarrier* barriers_;
};

/// The offsets that any row of a block's tile has, ascending; walked by all lanes of a warp together.
template <class Shape>
class BlockOffsets {
  using Scalar = typename Shape::Scalar;
  static constexpr int fragments = Shape::row_steps * Shape::row_warps;
  static_assert(fragments <= 32, "a block's tile must have at most 512 rows");
  static_assert(Shape::pack == 1, "packed offsets are for narrow layers, whose weight is resident");

 public:
  __device__ explicit BlockOffsets(WarpGemmProblem<Scalar> const& problem) : problem_{problem}
  {
    cursor_.begin(mask(0));
    next();
  }

  /// The current offset, or -1 past the last.
  [[nodiscard]] __device__ int offset() const { return offset_; }

  __device__ void next()
  {
    offset_ = cursor_.next(problem_.words, [this](int word) { return mask(word); });
  }

 private:
  [[nodiscard]] __device__ std::uint32_t mask(int word) const
  {
    int const lane = lane_id();
    int const fragment = static_cast<int>(blockIdx.x) * fragments + lane;
    std::uint32_t bits = 0;
    if (lane < fragments && fragment < problem_.num_fragments) {
      bits = __ldg(&problem_.masks[fragment * problem_.words + word]);
    }
    return __reduce_or_sync(0xffffffffU, bits);
  }

  WarpGemmProblem<Scalar> const& problem_;
  MaskCursor cursor_;
  int offset_ = -1;
};

/// Weights that pass through shared memory in stages. Warps take turns to begin the copy of what comes next
/// into the stage before the one that they have just read, so no warp is kept for copying.
template <class Shape>
class StagedWeight {
  using Scalar = typename Shape::Scalar;

 public:
  /// All threads of the block.
  __device__ StagedWeight(WarpGemmProblem<Scalar> const& problem, unsigned char* shared, int block)
      : problem_{problem},
        offsets_{problem},
        to_copy_{offsets_},
        weight_{reinterpret_cast<Scalar*>(shared)},
        part_size_{problem.stage_chunks * Shape::chunk_size},
        stage_size_{part_size_ * Shape::channel_warps},
        full_{reinterpret_cast<SharedBarrier*>(shared + std::size_t(problem.stages) *
                                                            std::size_t(stage_size_) * sizeof(Scalar))},
        read_{full_ + problem.stages}
  {
    auto const first = block * Shape::channel_warps;
    from_ = problem.packed + std::int64_t{first} * problem.packed_offsets * packed_offset_size();
    if constexpr (Shape::channel_warps > 1) {
      parts_ = min(Shape::channel_warps, problem.channel_blocks - first);
    }
    if (threadIdx.x == 0) {
      for (int i = 0; i < problem.stages; ++i) {
        prepare_barrier(full_[i], 1);
        prepare_barrier(read_[i], 32 * Shape::consumers);
      }
      fence_barriers();
    }
    for (int i = 0; i < problem.stages; ++i) {
      if (threadIdx.x == 0) { copy(i); }
      next_copy();
    }
    __syncthreads();
  }

  [[nodiscard]] __device__ Scalar const* begin(WarpStep const& step)
  {
    if (in_stage_ == 0) {
      while (offsets_.offset() != step.offset) { skip_offset(); }
      wait_for_phase(full_[reading_.stage()], reading_.phase());
    }
    return weight_ + reading_.stage() * stage_size_ + in_stage_ * Shape::chunk_size;
  }
  __device__ void end(WarpStep const& step)
  {
    in_stage_ += Shape::step_chunks;
    if (in_stage_ >= problem_.stage_chunks) {
      in_stage_ = 0;
      release();
      if (step.chunk + Shape::step_chunks >= problem_.chunks_per_offset) { offsets_.next(); }
    }
  }
  __device__ void end_tile()
  {
    while (offsets_.offset() >= 0) { skip_offset(); }
  }
  [[nodiscard]] __device__ int* queue() const { return nullptr; }

 private:
  __device__ void skip_offset()
  {
    for (int chunk = 0; chunk < problem_.chunks_per_offset; chunk += problem_.stage_chunks) {
      wait_for_phase(full_[reading_.stage()], reading_.phase());
      release();
    }
    offsets_.next();
  }
  __device__ void release()
  {
    __syncwarp();
    arrive_at(
        read_
            [reading_
                 .stage()]);  // every lane: of one for all, racecheck does not see that it follows their reads
    if (turn_ >= 0) {
      if (warp_id() == turn_ && lane_id() == 0 && to_copy_.offset() >= 0) {
        auto const before = reading_.previous(problem_.stages);
        wait_for_phase(read_[before.stage()], before.phase());
        copy(before.stage());
      }
      next_copy();
    }
    turn_ = turn_ + 1 == Shape::consumers ? 0 : turn_ + 1;
    reading_.advance(problem_.stages);
  }

  [[nodiscard]] __device__ int packed_offset_size() const
  {
    return problem_.packed_chunks * Shape::chunk_size;
  }

  /// One thread begins the copies that are due into a stage, if there are any left: each of a part, the
  /// channels of one warp. What a last part would have that does not exist stays as it is: its sums are not
  /// stored.
  __device__ void copy(int stage)
  {
    if (to_copy_.offset() < 0) { return; }
    auto const bytes = static_cast<std::uint32_t>(part_size_ * int(sizeof(Scalar)));
    arrive_expecting(full_[stage], bytes * static_cast<std::uint32_t>(parts_));
#pragma unroll
    for (int part = 0; part < Shape::channel_warps; ++part) {
      if (part < parts_) {
        auto const offset = std::int64_t{part} * problem_.packed_offsets + to_copy_.offset();
        begin_bulk_copy(weight_ + stage * stage_size_ + part * part_size_,
                        from_ + offset * packed_offset_size() + copied_, bytes, full_[stage]);
      }
    }
  }
  __device__ void next_copy()
  {
    copied_ += part_size_;
    if (copied_ >= problem_.chunks_per_offset * Shape::chunk_size) {
      copied_ = 0;
      if (to_copy_.offset() >= 0) { to_copy_.next(); }
    }
  }

  WarpGemmProblem<Scalar> const& problem_;
  BlockOffsets<Shape> offsets_;
  BlockOffsets<Shape> to_copy_;
  Scalar* weight_;
  int part_size_;   // of a stage: the channels of one warp
  int stage_size_;  // of all parts, one after the other
  SharedBarrier* full_;
  SharedBarrier* read_;
  int parts_ = 1;  // that exist
  Scalar const* from_ = nullptr;
  int copied_ = 0;
  int turn_ = -1;
  PipelineState reading_;
  int in_stage_ = 0;
};

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
