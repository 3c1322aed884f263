// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/warpgroup_gemm/sums.cuh>
#include <tessera/core/launch.cuh>

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
      "@present ld.global.v4.b32 {%0, %1, %2, %3}, [%4];\n"
      "}\n"
      : "+r"(to.x), "+r"(to.y), "+r"(to.z), "+r"(to.w)
      : "l"(from), "r"(present));
}

/// A warp of a warpgroup: 16 rows of the group's 64, and all columns of the block.
///
/// It works on an item after the other: `depth` chunks of an offset that the group has. A chunk of an item is
/// multiplied, then the same one of the next item is read into its registers.
template <class Shape>
class ConsumerWarp {
  using Scalar = typename Shape::Scalar;
  using Problem = WarpgroupGemmProblem<Scalar>;
  static constexpr int depth = Shape::depth;

 public:
  __device__ ConsumerWarp(Problem const& problem, WarpgroupShared<Shape> const& shared)
      : problem_{problem},
        shared_{shared},
        lane_{lane_id()},
        warp_{warp_id()},
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
  template <int... Chunk>
  __device__ void run(std::integer_sequence<int, Chunk...>)
  {
    sums_.clear();
    to_load_ = next_own(0);
    if (shared_.has_all_rows(problem_)) { wait_for_phase(*shared_.mapped, 0); }
    grid_dependency_wait();
    begin_load();
    (load<Chunk>(), ...);
    while (begin_item()) { (multiply<Chunk>(), ...); }
    finish_products();
  }

  /// Goes on to the next item to be multiplied, past the offsets that no row of the group has; false if there
  /// is none.
  __device__ bool begin_item()
  {
    if (chunk_ == 0) {
      while (entry_ < count_ && (shared_.list[entry_] & group_bits_) == 0) { skip_offset(); }
      if (entry_ >= count_) { return false; }
    }
    upper_ = 0U - (present_ & 1U);
    lower_ = 0U - (present_ >> 1);
    left_ = problem_.used_chunks - chunk_;
    begin_load();
    chunk_ += depth;
    if (chunk_ == problem_.chunks) {
      chunk_ = 0;
      ++entry_;
    }
    return true;
  }

  /// The first entry from `i` on that the group has.
  [[nodiscard]] __device__ int next_own(int i) const
  {
    while (i < count_ && (shared_.list[i] & group_bits_) == 0) { ++i; }
    return i;
  }

  /// Finds the rows of the next item.
  __device__ void begin_load()
  {
    if (to_load_ >= count_) {
      present_ = 0;
      return;
    }
    chunk_to_load_ = next_chunk_;
    if (next_chunk_ == 0) {
      std::int32_t row[2];
      find_rows(row);
      present_ = (row[0] >= 0 ? 1U : 0U) | (row[1] >= 0 ? 2U : 0U);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        first_[i] = begin_of(0, row[i]);
        second_[i] = begin_of(1, row[i]) - problem_.first_chunks * 64;
      }
    }
    next_chunk_ += depth;
    if (next_chunk_ == problem_.chunks) {
      next_chunk_ = 0;
      to_load_ = next_own(to_load_ + 1);
    }
  }

  /// The lane's rows of the entry to load.
  __device__ void find_rows(std::int32_t (&row)[2]) const
  {
    int const lane_row = lane_ / 4;
    if (shared_.has_all_rows(problem_)) {
      auto const entry = shared_.list[to_load_];
      auto const* const rows = shared_.rows +
                               (warp_ * problem_.volume + static_cast<int>(entry & 0xffffU)) * fragment_rows +
                               lane_row;
      bool const has = (entry >> (16 + warp_) & 1U) != 0;  // a fragment past the last has nothing
      row[0] = has ? rows[0] : -1;
      row[1] = has ? rows[8] : -1;
    } else {
      auto const* const rows =
          shared_.rows + to_load_ * WarpgroupShared<Shape>::places + warp_ * fragment_rows + lane_row;
      row[0] = rows[0];
      row[1] = rows[8];
    }
  }

  /// Where the lane reads a row of a source.
  [[nodiscard]] __device__ char const* begin_of(int source, std::int32_t row) const
  {
    return reinterpret_cast<char const*>(problem_.features[source]) + lane_ % 4 * 16 +
           std::int64_t{row} * (problem_.in_channels[source] * static_cast<int>(sizeof(Scalar)));
  }

  /// Begins to load a chunk. A row that is not there keeps what it had, and is masked when it is multiplied:
  /// what zeros merge with a load wait for it.
  template <int Chunk>
  __device__ void load()
  {
    int const chunk = chunk_to_load_ + Chunk;
    bool const is_first = chunk < problem_.first_chunks;
    auto const present = chunk < problem_.used_chunks ? present_ : 0U;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      auto* const first = first_[i];  // values to choose from: a choice of members would put them into memory
      auto* const second = second_[i];
      load_present(chunks_[Chunk][i], (is_first ? first : second) + chunk * 64, present >> i & 1U);
    }
  }

  template <int Chunk>
  __device__ void multiply()
  {
    constexpr bool begins_stage = Chunk % Shape::stage_chunks == 0;
    constexpr bool ends_stage = (Chunk + 1) % Shape::stage_chunks == 0;
    if constexpr (begins_stage) { wait_for_phase(shared_.full[reading_.stage()], reading_.phase()); }
    auto const weights = describe_operand(shared_.weight + reading_.stage() * Shape::stage_size +
                                          Chunk % Shape::stage_chunks * Shape::chunk_bytes);
    auto& rows = chunks_[Chunk];
    if constexpr (ScalarTraits<Scalar>::family == ScalarFamily::float32) { round(rows); }
    // A product takes consecutive registers, which those of two loads are not.
    auto& operand = operands_[Chunk % Shape::operands];
    bool const fills_up =
        Chunk > 0 && Chunk >= left_;  // with what is not there: weights are 0, rows may be NaN
    auto const upper = fills_up ? 0U : upper_;
    auto const lower = fills_up ? 0U : lower_;
    operand[0][0] = rows[0].x & upper;
    operand[0][1] = rows[1].x & lower;
    operand[0][2] = rows[0].y & upper;
    operand[0][3] = rows[1].y & lower;
    operand[1][0] = rows[0].z & upper;
    operand[1][1] = rows[1].z & lower;
    operand[1][2] = rows[0].w & upper;
    operand[1][3] = rows[1].w & lower;
    begin_products(operand);
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
    load<Chunk>();
    wait_for_products<Shape::pending>();
    if constexpr (begins_stage) { release(); }
    if constexpr (ends_stage) {
      to_release_ = reading_.stage();
      if constexpr (Shape::pending == 0) { release(); }
      next_stage();
    }
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
    if (to_release_ >= 0 && lane_ == 0) { arrive_at(shared_.read[to_release_]); }
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
    reading_.advance(problem_.stages);
  }
  /// Passes the stages of an offset that no row of the group has.
  __device__ void skip_offset()
  {
    finish_products();
    for (int chunk = 0; chunk < problem_.chunks; chunk += Shape::stage_chunks) {
      wait_for_phase(shared_.full[reading_.stage()], reading_.phase());
      to_release_ = reading_.stage();
      release();
      next_stage();
    }
    ++entry_;
  }

  Problem const& problem_;
  WarpgroupShared<Shape> const& shared_;
  int lane_;
  int warp_;
  std::uint32_t group_bits_;  // of the list's entries
  int count_;
  // The item that is loaded next.
  int to_load_ = 0;  // an entry of the list
  int next_chunk_ = 0;
  // The item that is being loaded: its first chunk, the addresses of its rows in both sources, and which rows
  // exist.
  int chunk_to_load_ = 0;
  char const* first_[2] = {};
  char const* second_[2] = {};
  std::uint32_t present_ = 0;
  // The item that is multiplied next; then masks of the rows of the one that is.
  int entry_ = 0;
  int chunk_ = 0;
  std::uint32_t upper_ = 0;
  std::uint32_t lower_ = 0;
  int left_ = 0;  // its chunks, and those of the items after it, that there are
  // The weights.
  PipelineState reading_;
  int to_release_ = -1;              // a stage that products under way read
  WarpgroupWeights<Shape> weights_;  // without a producer
  // Indexed by constants alone, so that they are registers.
  uint4 chunks_[depth][2] = {};
  std::uint32_t operands_[Shape::operands][2][4];
  WarpgroupSums<Shape> sums_;
};

#endif

/// An implicit GEMM by warpgroups: 64 rows per group, whose features go from memory straight into the registers
/// that `wgmma` takes, and weights that pass through shared memory in stages, copied by a thread of a further
/// warpgroup. Where tiles are few, the two blocks of a cluster share the offsets of one and add up through
/// shared memory; where they are many, each has its own.
///
/// Compiled for anything but sm_90a it is empty and has a byte of static shared memory, by which the host
/// tells.
template <class Shape>
__global__ void __launch_bounds__(Shape::threads, Shape::min_blocks)
    warpgroup_gemm_kernel(__grid_constant__ WarpgroupGemmProblem<typename Shape::Scalar> const problem)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) unsigned char memory[];
  auto const part = part_of_block<Shape>(problem);
  if (part.first_fragment < 0) {
    if (blockIdx.x == 0) { grid_dependency_wait(); }  // or without rows this one could end before it
    return;
  }
  WarpgroupShared<Shape> const shared{problem, part, memory};
  if (threadIdx.x == Shape::threads - 32) { shared.prepare_barriers(problem); }
  prepare_tile(problem, shared);
  if (part.shares) { arrive_in_cluster(); }
  if constexpr (Shape::has_producer) {
    if (threadIdx.x >= Shape::consumers) {
      give_registers<Shape::producer_registers>();
      if (threadIdx.x == Shape::consumers) {
        WarpgroupWeights<Shape> weights{problem, shared};
        while (weights.copy()) {}
      }
    } else {
      take_registers<Shape::consumer_registers>();
      ConsumerWarp<Shape> rows{problem, shared};
      rows.run();
      rows.finish(static_cast<int>(blockIdx.y) * Shape::columns);
    }
  } else {
    ConsumerWarp<Shape> rows{problem, shared};
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
