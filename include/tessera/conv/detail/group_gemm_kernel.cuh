// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/bulk_copy.cuh>
#include <tessera/conv/detail/group_gemm_problem.cuh>
#include <tessera/conv/detail/warp_gemm_features.cuh>
#include <tessera/conv/detail/warpgroup_instructions.cuh>

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

/// The parts of a block's shared memory.
template <class Shape>
struct GroupShared {
  static constexpr int places = Shape::pieces * piece_rows;

  unsigned char* weight;    // [stages, stage_chunks, chunk_bytes]
  float4* received_sums;    // [columns / 16, consumers] of the other block of the cluster
  SharedBarrier* full;      // [stages] a stage has arrived
  SharedBarrier* read;      // [stages] every warp has done with it
  SharedBarrier* received;  // [pieces] the sums for a warp have arrived
  int* count;               // [1] entries of the list
  std::int32_t* out_rows;   // [places] rows of the output, or -1
  std::int32_t* rows;       // [count, places] rows of features, or -1
  std::uint32_t* list;      // [count] an offset that any piece has, and from bit 16 on which pieces have it

  __device__ GroupShared(GroupGemmProblem<typename Shape::Scalar> const& problem, unsigned char* shared)
      : weight{shared}
  {
    auto const take = [&](int bytes) {
      auto* const begin = shared;
      shared += bytes;
      return begin;
    };
    constexpr int barrier = sizeof(SharedBarrier);
    take(problem.stages * problem.stage_chunks * Shape::chunk_bytes);
    received_sums = reinterpret_cast<float4*>(take(problem.ranks > 1 ? Shape::exchange_bytes : 0));
    full = reinterpret_cast<SharedBarrier*>(take(problem.stages * barrier));
    read = reinterpret_cast<SharedBarrier*>(take(problem.stages * barrier));
    received = reinterpret_cast<SharedBarrier*>(take(Shape::pieces * barrier));
    count = reinterpret_cast<int*>(take(8));
    out_rows = reinterpret_cast<std::int32_t*>(take(places * 4));
    rows = reinterpret_cast<std::int32_t*>(take(problem.rank_volume * places * 4));
    list = reinterpret_cast<std::uint32_t*>(take(problem.rank_volume * 4));
  }

  __device__ void prepare_barriers(GroupGemmProblem<typename Shape::Scalar> const& problem) const
  {
    for (int i = 0; i < problem.stages; ++i) {
      prepare_barrier(full[i], 1);
      prepare_barrier(read[i], Shape::pieces);
    }
    if (problem.ranks > 1) {
      for (int i = 0; i < Shape::pieces; ++i) {
        prepare_barrier(received[i], 1);
        arrive_expecting(received[i], static_cast<std::uint32_t>(32 * Shape::columns));
      }
    }
    fence_barriers();
  }
};

/// One warp lists the offsets of the block's that any row of a tile has.
template <class Shape>
__device__ int list_offsets(GroupGemmProblem<typename Shape::Scalar> const& problem, std::uint32_t* list,
                            int first_piece)
{
  int const lane = static_cast<int>(threadIdx.x) % 32;
  int const piece = first_piece + lane;
  int const begin = static_cast<int>(cluster_rank()) * problem.rank_volume;
  int const end = min(begin + problem.rank_volume, problem.volume);
  bool const exists = lane < Shape::pieces && piece < problem.num_pieces;
  int count = 0;
  for (int word = begin / 32; word * 32 < end; ++word) {
    std::uint32_t mask = exists ? 1 : 0;
    if (problem.masks != nullptr && exists) { mask = __ldg(&problem.masks[piece * problem.words + word]); }
    std::uint32_t pieces = 0;
#pragma unroll
    for (int p = 0; p < Shape::pieces; ++p) {
      pieces |= (__shfl_sync(0xffffffffU, mask, p) >> lane & 1U) << p;
    }
    int const offset = word * 32 + lane;
    if (offset < begin || offset >= end) { pieces = 0; }
    auto const present = __ballot_sync(0xffffffffU, pieces != 0);
    if (pieces != 0) {
      list[count + __popc(present & ((1U << lane) - 1))] = static_cast<std::uint32_t>(offset) | pieces << 16;
    }
    count += __popc(present);
  }
  return count;
}

/// All threads of a block put together which rows it reads and writes.
template <class Shape>
__device__ void prepare_tile(GroupGemmProblem<typename Shape::Scalar> const& problem,
                             GroupShared<Shape> const& shared, int first_piece)
{
  constexpr int places = GroupShared<Shape>::places;
  int const thread = static_cast<int>(threadIdx.x);
  int const first = first_piece * piece_rows;
  if (thread < 32) {
    int const count = list_offsets<Shape>(problem, shared.list, first_piece);
    if (thread == 0) { *shared.count = count; }
  } else {
    for (int place = thread - 32; place < places; place += Shape::threads - 32) {
      std::int32_t row = -1;
      if (first + place < problem.num_pieces * piece_rows) {
        row = problem.order != nullptr          ? __ldg(problem.order + first + place)
              : first + place < problem.num_out ? first + place
                                                : -1;
      }
      shared.out_rows[place] = row;
    }
  }
  __syncthreads();
  int const entries = *shared.count * places;
#pragma unroll 4
  for (int i = thread; i < entries; i += Shape::threads) {
    auto const entry = shared.list[i / places];
    int const place = i % places;
    int const piece = place / piece_rows;
    std::int32_t row = -1;
    if ((entry >> (16 + piece) & 1U) != 0) {
      if (problem.map != nullptr) {
        row =
            __ldg(problem.map +
                  (std::int64_t{first_piece + piece} * problem.map_length + (entry & 0xffffU)) * piece_rows +
                  place % piece_rows);
      } else if (first + place < problem.num_out) {
        row = __ldg(problem.identity + first + place);
      }
    }
    shared.rows[i] = row;
  }
  __syncthreads();
}

/// One thread copies the weights of the listed offsets, stage after stage.
template <class Shape>
__device__ void copy_weights(GroupGemmProblem<typename Shape::Scalar> const& problem,
                             GroupShared<Shape> const& shared)
{
  auto const stage_bytes = static_cast<std::uint32_t>(problem.stage_chunks * Shape::chunk_bytes);
  auto const offset_bytes = std::size_t(problem.chunks) * Shape::chunk_bytes;
  auto const* const from = reinterpret_cast<unsigned char const*>(problem.packed) +
                           std::size_t(blockIdx.y) * std::size_t(problem.volume) * offset_bytes;
  int const count = *shared.count;
  int stage = 0;
  std::uint32_t phase = 1;  // a stage that nobody has read yet counts as read
  for (int i = 0; i < count; ++i) {
    auto const* offset = from + std::size_t(shared.list[i] & 0xffffU) * offset_bytes;
    for (int chunk = 0; chunk < problem.chunks; chunk += problem.stage_chunks) {
      wait(shared.read[stage], phase);
      arrive_expecting(shared.full[stage], stage_bytes);
      begin_bulk_copy(shared.weight + std::size_t(stage) * stage_bytes, offset, stage_bytes,
                      shared.full[stage]);
      offset += stage_bytes;
      if (++stage == problem.stages) {
        stage = 0;
        phase ^= 1U;
      }
    }
  }
}

/// A warp of a warpgroup: 16 rows of the group's 64, and all columns of the block.
template <class Shape>
class GroupWarp {
  static_assert(Shape::depth % 2 == 0, "steps take turns with the operands");
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
        count_{*shared.count}
  {}

  /// Multiplies and adds up.
  __device__ void run() { run(std::make_integer_sequence<int, depth>{}); }

  /// Adds up with the other block of the cluster, and writes the output. Rank 0 finishes the upper rows of a
  /// fragment, rank 1 the lower ones; a sum is that of rank 0's offsets and rank 1's.
  __device__ void finish(int first_channel)
  {
    constexpr int size = Shape::columns / 4;
    auto* const place = shared_.received_sums + threadIdx.x;
    auto const* const rows = shared_.out_rows + warp_ * piece_rows + lane_ / 4;
    bool const shares = problem_.ranks > 1;
    auto const rank = static_cast<int>(cluster_rank());
    if (shares) {
#pragma unroll
      for (int i = 0; i < size; i += 4) {
        auto const given = [&](int k) { return rank == 0 ? sum(i + k, 1) : sum(i + k, 0); };
        store_in_block(place + i / 4 * Shape::consumers, shared_.received[warp_],
                       static_cast<unsigned>(rank ^ 1), given(0), given(1), given(2), given(3));
      }
      wait(shared_.received[warp_], 0);
    }
#pragma unroll 1
    for (int pass = shares ? rank : 0; pass < 2; pass += shares ? 2 : 1) {  // one of both, or both in turn
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
      store(rows[8 * pass], first_channel);
    }
  }

 private:
  /// Puts the sums of the lower row in the place of the upper one's.
  __device__ void take_lower()
  {
#pragma unroll
    for (int i = 0; i < Shape::columns / 4; ++i) { sum(i, 0) = sum(i, 1); }
  }

  template <int... Place>
  __device__ void run(std::integer_sequence<int, Place...>)
  {
#pragma unroll
    for (int p = 0; p < Shape::products; ++p) {
#pragma unroll
      for (int i = 0; i < Shape::product / 2; ++i) { sums_[p][i] = 0; }
    }
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
    auto& operand = operands_[Place % 2];
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
            sums_[p], operand[half],
            weights + std::uint64_t(half * Shape::columns * 2 + p * Shape::product * 2));
      }
    }
    close_products();
    load(rows, present_[Place]);
    wait_for_products<1>();
    release();
    if (++in_stage_ == problem_.stage_chunks) {
      in_stage_ = 0;
      to_release_ = stage_;
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
  __device__ void next_stage()
  {
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

  /// Sum number i of the lane's upper or lower row.
  [[nodiscard]] __device__ float& sum(int i, int lower)
  {
    int const column = i / 2 * 4 + i % 2;
    return sums_[column / (Shape::product / 2)][column % (Shape::product / 2) + 2 * lower];
  }

  struct alignas(16) Eight {
    Scalar values[8];
  };

  /// Writes the upper row of the lane.
  __device__ void store(std::int32_t row, int first_channel)
  {
    constexpr int blocks = Shape::columns / 32;
    int const first = first_channel + lane_ % 4 * 8;
    auto const at = std::int64_t{row} * problem_.out_channels;
    if (row < 0) { return; }
    if (problem_.sums != nullptr) {
#pragma unroll
      for (int i = 0; i < Shape::columns / 4; ++i) {
        int const channel = first + i / 8 * 32 + i % 8;
        if (channel < problem_.out_channels) { problem_.sums[at + channel] = sum(i, 0); }
      }
      return;
    }
    if (!problem_.whole_packs) {
#pragma unroll
      for (int i = 0; i < Shape::columns / 4; ++i) {
        int const channel = first + i / 8 * 32 + i % 8;
        if (channel < problem_.out_channels) { store_one(sum(i, 0), at + channel, channel); }
      }
      return;
    }
    // All residuals are asked for before the first is waited for.
    Eight residual[blocks];
    if (problem_.residual != nullptr) {
#pragma unroll
      for (int i = 0; i < blocks; ++i) {
        if (first + i * 32 < problem_.out_channels) {
          residual[i] = *reinterpret_cast<Eight const*>(problem_.residual + at + first + i * 32);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < blocks; ++i) {
      int const channel = first + i * 32;
      if (channel < problem_.out_channels) {
        Eight bias;
        if (problem_.bias != nullptr) { bias = *reinterpret_cast<Eight const*>(problem_.bias + channel); }
        Eight result;
#pragma unroll
        for (int k = 0; k < 8; ++k) {
          float value = sum(i * 8 + k, 0) + 0.0F;  // -0 is -0 or 0, as zeros are added or not
          if (problem_.bias != nullptr) { value += widen(bias.values[k]); }
          if (problem_.residual != nullptr) { value += widen(residual[i].values[k]); }
          result.values[k] = narrow<Scalar>(activate(value));
        }
        *reinterpret_cast<Eight*>(problem_.output + at + channel) = result;
      }
    }
  }

  __device__ void store_one(float value, std::int64_t at, int channel) const
  {
    value += 0.0F;
    if (problem_.bias != nullptr) { value += widen(problem_.bias[channel]); }
    if (problem_.residual != nullptr) { value += widen(problem_.residual[at]); }
    problem_.output[at] = narrow<Scalar>(activate(value));
  }

  [[nodiscard]] __device__ float activate(float value) const
  {
    return value <= 0.0F ? (problem_.slope == 0.0F ? 0.0F : value * problem_.slope) : value;
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
  int to_release_ = -1;  // a stage that products under way read
  // Indexed by constants alone, so that they are registers.
  uint4 chunks_[depth][2] = {};
  std::uint32_t present_[depth] = {};  // bit i: whether row i of the chunk is there
  std::uint32_t operands_[2][2][4];
  float sums_[Shape::products][Shape::product / 2];
};

#endif

/// An implicit GEMM by warpgroups: 64 rows a group, whose features go from memory straight into the registers
/// that `wgmma` takes, and weights that pass through shared memory in stages, copied by a thread of a further
/// warpgroup. A cluster of two blocks shares the offsets of a tile and adds up through shared memory.
///
/// Compiled for anything but sm_90a it is empty and has a byte of static shared memory, by which the host
/// tells.
template <class Shape>
__global__ void __launch_bounds__(Shape::threads, 1)
    group_gemm_kernel(__grid_constant__ GroupGemmProblem<typename Shape::Scalar> const problem)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) unsigned char memory[];
  GroupShared<Shape> const shared{problem, memory};
  if (threadIdx.x == Shape::consumers) { shared.prepare_barriers(problem); }
  prepare_tile<Shape>(problem, shared, static_cast<int>(blockIdx.x) / problem.ranks * Shape::pieces);
  if (problem.ranks > 1) { synchronize_cluster(); }  // the other block's barriers are prepared
  if (threadIdx.x >= Shape::consumers) {
    give_registers<Shape::producer_registers>();
    if (threadIdx.x == Shape::consumers) { copy_weights<Shape>(problem, shared); }
  } else {
    take_registers<Shape::consumer_registers>();
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
