// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/group_gemm_sums.cuh>

#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Begins to read 16 bytes if they are `present`; otherwise `to` keeps what it was.
__device__ inline void load_present(uint4& to, void const* from, std::uint32_t present)
{
  asm volatile(
      "{\n"
      ".reg .pred present;\n"
      "setp.ne.u32 present, %5, 0;\n"
      "@present ld.global.nc.v4.b32 {%0, %1, %2, %3}, [%4];\n"
      "}\n"
      : "+r"(to.x), "+r"(to.y), "+r"(to.z), "+r"(to.w)
      : "l"(from), "r"(present));
}

/// A warp of a warpgroup: 16 rows of the group's 64, and all columns of the block.
template <class Shape>
class GroupWarp {
  static_assert(Shape::pending == 0 || Shape::depth % 2 == 0, "steps take turns with the operands");
  using Scalar = typename Shape::Scalar;
  using Problem = GroupGemmProblem<Scalar>;
  static constexpr int depth = Shape::depth;

 public:
  __device__ GroupWarp(Problem const& problem, GroupShared<Shape> const& shared)
      : problem_{problem},
        shared_{shared},
        lane_{static_cast<int>(threadIdx.x) % 32},
        warp_{static_cast<int>(threadIdx.x) / 32},
        group_bits_{0xfU << (16 + warp_ / 4 * 4)},
        count_{*shared.count},
        weights_{problem, shared}
  {
    if constexpr (!Shape::has_producer) {
      if (threadIdx.x == 0) {
        for (int i = 1; i < problem.stages && weights_.copy(); ++i) {}
      }
      __syncwarp();
    }
  }

  /// Multiplies and adds up.
  __device__ void run() { run(std::make_integer_sequence<int, depth>{}); }

  /// Adds up with the other block of the cluster, and writes the output.
  __device__ void finish(int first_channel) { sums_.finish(problem_, shared_, first_channel); }

 private:
  template <int... Place>
  __device__ void run(std::integer_sequence<int, Place...>)
  {
    sums_.clear();
    to_load_ = next_own(0);
    (load(chunks_[Place], present_[Place]), ...);
    while ((step<Place>() && ...)) {}
    finish_products();
  }

  /// The first entry from `i` on that the group has.
  [[nodiscard]] __device__ int next_own(int i) const
  {
    while (i < count_ && (shared_.list[i] & group_bits_) == 0) { ++i; }
    return i;
  }

  /// Begins to load the next chunk of features. A place that nothing is loaded into keeps what it had, and is
  /// masked when it is multiplied: what zeros merge with a load wait for it.
  __device__ void load(uint4 (&to)[2], std::uint32_t& present)
  {
    present = 0;
    if (to_load_ < count_) {
      if (chunk_to_load_ == 0 || chunk_to_load_ == problem_.first_chunks) { begin_source(); }
      bool const exists = channel_ < channels_;
      present = (exists && rows_[0] >= 0 ? 1U : 0U) | (exists && rows_[1] >= 0 ? 2U : 0U);
      channel_ += group_chunk_channels<Scalar>;
      if (++chunk_to_load_ == problem_.chunks) {
        chunk_to_load_ = 0;
        to_load_ = next_own(to_load_ + 1);
      }
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      load_present(to[i], from_[i], present >> i & 1U);
      from_[i] += 64;
    }
  }

  /// Where an offset's rows of a source begin, for the lane.
  __device__ void begin_source()
  {
    bool const second = chunk_to_load_ != 0;
    if (!second) {
      auto const* const rows =
          shared_.rows + to_load_ * GroupShared<Shape>::places + warp_ * piece_rows + lane_ / 4;
      rows_[0] = rows[0];
      rows_[1] = rows[8];
    }
    channels_ = second ? problem_.in_channels[1] : problem_.in_channels[0];
    channel_ = lane_ % 4 * (16 / int(sizeof(Scalar)));
    auto const* const features = second ? problem_.features[1] : problem_.features[0];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      from_[i] = reinterpret_cast<char const*>(features + channel_) +
                 std::int64_t{rows_[i]} * (channels_ * int(sizeof(Scalar)));
    }
  }

  /// Multiplies the chunk at `Place`, and loads the one `depth` later there.
  /// @returns whether there was any
  template <int Place>
  [[nodiscard]] __device__ bool step()
  {
    if (in_stage_ == 0) {
      while (to_multiply_ < count_ && (shared_.list[to_multiply_] & group_bits_) == 0) { skip_offset(); }
      if (to_multiply_ >= count_) { return false; }
      wait(shared_.full[stage_], phase_);
    }
    auto const weights = describe_operand(shared_.weight + (stage_ * problem_.stage_chunks + in_stage_) *
                                                               std::size_t(Shape::chunk_bytes));
    auto& rows = chunks_[Place];
    if constexpr (sizeof(Scalar) == 4) { round(rows); }
    // A product takes registers that lie side by side, which those of two loads do not.
    std::uint32_t const upper = 0U - (present_[Place] & 1U);
    std::uint32_t const lower = 0U - (present_[Place] >> 1);
    auto& operand = operands_[Shape::pending == 0 ? 0 : Place % 2];
    operand[0][0] = rows[0].x & upper;
    operand[0][1] = rows[1].x & lower;
    operand[0][2] = rows[0].y & upper;
    operand[0][3] = rows[1].y & lower;
    operand[1][0] = rows[0].z & upper;
    operand[1][1] = rows[1].z & lower;
    operand[1][2] = rows[0].w & upper;
    operand[1][3] = rows[1].w & lower;
    begin_products();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int p = 0; p < Shape::products; ++p) {
        begin_product<Scalar, Shape::product>(
            sums_.values[p], operand[half],
            weights + std::uint64_t(half * Shape::columns * 2 + p * Shape::product * 2));
      }
    }
    close_products();
    load(rows, present_[Place]);
    wait_for_products<Shape::pending>();
    release();
    if (++in_stage_ == problem_.stage_chunks) {
      in_stage_ = 0;
      to_release_ = stage_;
      if constexpr (Shape::pending == 0) { release(); }
      next_stage();
      chunk_ += problem_.stage_chunks;
      if (chunk_ == problem_.chunks) {
        chunk_ = 0;
        ++to_multiply_;
      }
    }
    return true;
  }

  __device__ static void round(uint4 (&rows)[2])
  {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      rows[i].x = __float_as_uint(round_to_tf32(__uint_as_float(rows[i].x)));
      rows[i].y = __float_as_uint(round_to_tf32(__uint_as_float(rows[i].y)));
      rows[i].z = __float_as_uint(round_to_tf32(__uint_as_float(rows[i].z)));
      rows[i].w = __float_as_uint(round_to_tf32(__uint_as_float(rows[i].w)));
    }
  }

  __device__ void finish_products()
  {
    wait_for_products<0>();
    release();
  }
  __device__ void release()
  {
    if (to_release_ >= 0 && lane_ == 0) { arrive(shared_.read[to_release_]); }
    to_release_ = -1;
  }
  /// Goes on to the next stage; without a producer, what comes into the one before this is copied, which
  /// others have done with by now.
  __device__ void next_stage()
  {
    if constexpr (!Shape::has_producer) {
      if (warp_ == 0) {
        if (lane_ == 0) { weights_.copy(); }
        __syncwarp();
      }
    }
    if (++stage_ == problem_.stages) {
      stage_ = 0;
      phase_ ^= 1U;
    }
  }
  /// Passes the stages of an offset that no row of the group has.
  __device__ void skip_offset()
  {
    finish_products();
    for (int chunk = 0; chunk < problem_.chunks; chunk += problem_.stage_chunks) {
      wait(shared_.full[stage_], phase_);
      to_release_ = stage_;
      release();
      next_stage();
    }
    ++to_multiply_;
  }

  Problem const& problem_;
  GroupShared<Shape> const& shared_;
  int lane_;
  int warp_;
  std::uint32_t group_bits_;  // of the list's entries
  int count_;
  // What is loaded next: an entry of the list, a chunk, and the rows.
  int to_load_ = 0;
  int chunk_to_load_ = 0;
  std::int32_t rows_[2] = {-1, -1};
  int channels_ = 0;  // of the source
  int channel_ = 0;   // the lane's first
  char const* from_[2] = {nullptr, nullptr};
  // What is multiplied next, and where its weights lie.
  int to_multiply_ = 0;
  int chunk_ = 0;  // the first of the stage
  int in_stage_ = 0;
  int stage_ = 0;
  std::uint32_t phase_ = 0;
  int to_release_ = -1;          // a stage that products under way read
  GroupWeights<Shape> weights_;  // without a producer
  // Indexed by constants alone, so that they are registers.
  uint4 chunks_[depth][2] = {};
  std::uint32_t present_[depth] = {};  // bit i: whether row i of the chunk is there
  std::uint32_t operands_[1 + Shape::pending][2][4];
  GroupSums<Shape> sums_;
};

#endif

/// An implicit GEMM by warpgroups: 64 rows a group, whose features go from memory straight into the registers
/// that `wgmma` takes, and weights that pass through shared memory in stages, copied by a thread of a further
/// warpgroup. A cluster of two blocks shares the offsets of a tile and adds up through shared memory.
///
/// Compiled for anything but sm_90a it is empty and has a byte of static shared memory, by which the host
/// tells.
template <class Shape>
__global__ void __launch_bounds__(Shape::threads, Shape::min_blocks)
    group_gemm_kernel(__grid_constant__ GroupGemmProblem<typename Shape::Scalar> const problem)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) unsigned char memory[];
  GroupShared<Shape> const shared{problem, memory};
  if (threadIdx.x == Shape::threads - 1) { shared.prepare_barriers(problem); }
  prepare_tile<Shape>(problem, shared, static_cast<int>(blockIdx.x) / problem.ranks * Shape::pieces);
  if (problem.ranks > 1) { synchronize_cluster(); }  // the other block's barriers are prepared
  if constexpr (Shape::has_producer) {
    if (threadIdx.x >= Shape::consumers) {
      give_registers<Shape::producer_registers>();
      if (threadIdx.x == Shape::consumers) {
        GroupWeights<Shape> weights{problem, shared};
        while (weights.copy()) {}
      }
    } else {
      take_registers<Shape::consumer_registers>();
      GroupWarp<Shape> rows{problem, shared};
      rows.run();
      rows.finish(static_cast<int>(blockIdx.y) * Shape::columns);
    }
  } else {
    GroupWarp<Shape> rows{problem, shared};
    rows.run();
    rows.finish(static_cast<int>(blockIdx.y) * Shape::columns);
  }
#else
  __shared__ char volatile absent;
  absent = 0;
#endif
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
