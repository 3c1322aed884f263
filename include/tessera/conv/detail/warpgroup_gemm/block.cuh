// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/mma/bulk_copy.cuh>
#include <tessera/conv/detail/mma/pipeline_state.cuh>
#include <tessera/conv/detail/mma/warpgroup_instructions.cuh>
#include <tessera/conv/detail/warpgroup_gemm/problem.cuh>

namespace tessera {
inline namespace v0 {
namespace detail {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// What a block does.
struct WarpgroupPart {
  int first_fragment;  // of its tile, or -1: nothing
  bool shares;         // the tile's offsets, with the other block of the cluster
  int rank;            // of the two
};

/// Blocks decide by the rows in use, so a plan's as an eager call's; those past the last tile do nothing.
template <class Shape>
[[nodiscard]] __device__ WarpgroupPart
part_of_block(WarpgroupGemmProblem<typename Shape::Scalar> const& problem)
{
  constexpr int places = Shape::fragments * fragment_rows;
  int const num_rows =
      problem.count != nullptr ? min(max(*problem.count, 0), problem.num_out) : problem.num_out;
  int const num_tiles = ceil_div(num_rows, places);
  int const block = static_cast<int>(blockIdx.x);
  if (!problem.shares(num_tiles, static_cast<int>(gridDim.y))) {
    return {block < num_tiles ? block * Shape::fragments : -1, false, 0};
  }
  return {block / 2 < num_tiles ? block / 2 * Shape::fragments : -1, true, static_cast<int>(cluster_rank())};
}

/// The parts of a block's shared memory.
template <class Shape>
struct WarpgroupShared {
  static constexpr int places = Shape::fragments * fragment_rows;

  WarpgroupPart part;

  unsigned char* weight;    // [stages, stage_chunks, chunk_bytes]
  SharedBarrier* full;      // [stages] a stage has arrived
  SharedBarrier* read;      // [stages] every warp has done with it
  SharedBarrier* received;  // [fragments] the sums for a warp have arrived
  int* count;               // [1] entries of the list
  SharedBarrier* mapped;    // [1] the rows of all offsets have arrived
  float* bias;              // [columns]
  std::int32_t* out_rows;   // [places] rows of the output, or -1
  std::int32_t* rows;       // rows of features, or -1: [fragments, volume, fragment_rows] or [count, places]
  std::uint32_t* list;  // [count] an offset that any fragment has, and from bit 16 on which fragments have it
  float4* received_sums;  // [columns / 16, consumers] of the other block, where a tile is shared

  __device__ WarpgroupShared(WarpgroupGemmProblem<typename Shape::Scalar> const& problem,
                             WarpgroupPart const& own_part, unsigned char* shared)
      : part{own_part}, weight{shared}
  {
    auto const take = [&](int bytes) {
      auto* const begin = shared;
      shared += bytes;
      return begin;
    };
    constexpr int barrier = sizeof(SharedBarrier);
    static_assert(barrier == static_cast<int>(barrier_bytes), "select() counts what a block takes");
    take(problem.stages * Shape::stage_size);
    full = reinterpret_cast<SharedBarrier*>(take(problem.stages * barrier));
    read = reinterpret_cast<SharedBarrier*>(take(problem.stages * barrier));
    received = reinterpret_cast<SharedBarrier*>(take(Shape::fragments * barrier));
    count = reinterpret_cast<int*>(take(barrier));
    mapped = reinterpret_cast<SharedBarrier*>(take(barrier));
    bias = reinterpret_cast<float*>(take(Shape::columns * 4));
    out_rows = reinterpret_cast<std::int32_t*>(take(places * 4));
    auto const entries = part.shares ? problem.rank_volume : problem.volume;
    auto const row_entries = Shape::copies_all_rows(problem.volume) ? problem.volume : entries;
    rows = reinterpret_cast<std::int32_t*>(take(row_entries * places * 4));
    list = reinterpret_cast<std::uint32_t*>(take(16 * ceil_div(entries, 4)));
    received_sums = reinterpret_cast<float4*>(shared);
  }

  /// Whether the rows of all offsets are copied, before it is known which are needed; else those of the list.
  [[nodiscard]] __device__ static bool has_all_rows(
      WarpgroupGemmProblem<typename Shape::Scalar> const& problem)
  {
    return Shape::copies_all_rows(problem.volume) && problem.map != nullptr;
  }

  __device__ void prepare_barriers(WarpgroupGemmProblem<typename Shape::Scalar> const& problem) const
  {
    prepare_barrier(*mapped, 1);
    for (int i = 0; i < problem.stages; ++i) {
      prepare_barrier(full[i], 1);
      prepare_barrier(read[i], Shape::fragments);
    }
    if (part.shares) {
      for (int i = 0; i < Shape::fragments; ++i) {
        prepare_barrier(received[i], 1);
        arrive_expecting(received[i], static_cast<std::uint32_t>(32 * Shape::columns));
      }
    }
    fence_barriers();
  }
};

/// One warp lists the offsets of the block's that any row of a tile has.
template <class Shape>
__device__ int list_offsets(WarpgroupGemmProblem<typename Shape::Scalar> const& problem,
                            WarpgroupShared<Shape> const& shared)
{
  int const lane = lane_id();
  int const fragment = shared.part.first_fragment + lane;
  auto const own = !shared.part.shares ? ~0U : shared.part.rank == 0 ? problem.rank_bits : ~problem.rank_bits;
  bool const exists = lane < Shape::fragments && fragment < problem.num_fragments;
  int count = 0;
  for (int word = 0; word * 32 < problem.volume; ++word) {
    std::uint32_t mask = exists ? 1 : 0;
    if (problem.masks != nullptr && exists) { mask = __ldg(&problem.masks[fragment * problem.words + word]); }
    std::uint32_t fragments = 0;
#pragma unroll
    for (int p = 0; p < Shape::fragments; ++p) {
      fragments |= (__shfl_sync(0xffffffffU, mask, p) >> lane & 1U) << p;
    }
    int const offset = word * 32 + lane;
    if (offset >= problem.volume || (own >> lane & 1U) == 0) { fragments = 0; }
    auto const present = __ballot_sync(0xffffffffU, fragments != 0);
    if (fragments != 0) {
      shared.list[count + __popc(present & ((1U << lane) - 1))] =
          static_cast<std::uint32_t>(offset) | fragments << 16;
    }
    count += __popc(present);
  }
  return count;
}

/// A warp begins to copy the rows of all offsets.
template <class Shape>
__device__ void begin_rows(WarpgroupGemmProblem<typename Shape::Scalar> const& problem,
                           WarpgroupShared<Shape> const& shared)
{
  int const lane = lane_id();
  int const fragments = min(Shape::fragments, problem.num_fragments - shared.part.first_fragment);
  int const size = problem.volume * fragment_rows;
  auto const bytes = static_cast<std::uint32_t>(size) * 4U;
  __syncwarp();  // the barrier is prepared
  if (lane == 0) { arrive_expecting(*shared.mapped, static_cast<std::uint32_t>(fragments) * bytes); }
  __syncwarp();
  if (lane < fragments) {
    auto const* const from =
        problem.map + std::int64_t{shared.part.first_fragment + lane} * problem.map_length * fragment_rows;
    begin_bulk_copy(shared.rows + lane * size, from, bytes, *shared.mapped);
  }
}

/// All threads of a block put together which rows it reads and writes. If it has the rows of all offsets,
/// they are on their way then: see `mapped`.
template <class Shape>
__device__ void prepare_tile(WarpgroupGemmProblem<typename Shape::Scalar> const& problem,
                             WarpgroupShared<Shape> const& shared)
{
  constexpr int places = WarpgroupShared<Shape>::places;
  int const first_fragment = shared.part.first_fragment;
  int const thread = static_cast<int>(threadIdx.x);
  int const first = first_fragment * fragment_rows;
  bool const has_all_rows = shared.has_all_rows(problem);
  if (has_all_rows && thread >= Shape::threads - 32) { begin_rows(problem, shared); }
  if (thread < 32) {
    int const count = list_offsets<Shape>(problem, shared);
    if (thread == 0) { *shared.count = count; }
  } else {
    for (int place = thread - 32; place < places; place += Shape::threads - 32) {
      std::int32_t row = -1;
      if (first + place < problem.num_fragments * fragment_rows) {
        row = problem.order != nullptr          ? __ldg(problem.order + first + place)
              : first + place < problem.num_out ? first + place
                                                : -1;
      }
      shared.out_rows[place] = row;
    }
    int const first_channel = static_cast<int>(blockIdx.y) * Shape::columns;
    for (int i = thread - 32; i < Shape::columns; i += Shape::threads - 32) {
      bool const exists = problem.epilogue.bias != nullptr && first_channel + i < problem.out_channels;
      shared.bias[i] = exists ? widen(problem.epilogue.bias[first_channel + i]) : 0.0F;
    }
  }
  __syncthreads();
  if (has_all_rows) { return; }
  int const entries = *shared.count * places;
#pragma unroll 4
  for (int i = thread; i < entries; i += Shape::threads) {
    auto const entry = shared.list[i / places];
    int const place = i % places;
    int const fragment = place / fragment_rows;
    std::int32_t row = -1;
    if ((entry >> (16 + fragment) & 1U) != 0) {
      if (problem.map != nullptr) {
        row = __ldg(problem.map +
                    (std::int64_t{first_fragment + fragment} * problem.map_length + (entry & 0xffffU)) *
                        fragment_rows +
                    place % fragment_rows);
      } else if (first + place < problem.num_out) {
        row = __ldg(problem.identity + first + place);
      }
    }
    shared.rows[i] = row;
  }
  __syncthreads();
}

/// Copies the weights of the listed offsets, stage after stage; used by one thread.
template <class Shape>
class WarpgroupWeights {
 public:
  __device__ WarpgroupWeights(WarpgroupGemmProblem<typename Shape::Scalar> const& problem,
                              WarpgroupShared<Shape> const& shared)
      : problem_{problem}, shared_{shared}, count_{*shared.count}
  {}

  /// Waits for the next stage to be read, and copies into it what is next; false if there is nothing left.
  __device__ bool copy()
  {
    if (entry_ >= count_) { return false; }
    constexpr std::uint32_t stage_bytes = Shape::stage_size;
    auto const place =
        (std::size_t(blockIdx.y) * std::size_t(problem_.volume) + (shared_.list[entry_] & 0xffffU)) *
            std::size_t(problem_.chunks) +
        std::size_t(chunk_);
    int const stage = writing_.stage();
    wait_for_phase(shared_.read[stage], writing_.phase());
    arrive_expecting(shared_.full[stage], stage_bytes);
    begin_bulk_copy(shared_.weight + std::size_t(stage) * stage_bytes,
                    reinterpret_cast<unsigned char const*>(problem_.packed) + place * Shape::chunk_bytes,
                    stage_bytes, shared_.full[stage]);
    chunk_ += Shape::stage_chunks;
    if (chunk_ >= problem_.chunks) {
      chunk_ = 0;
      ++entry_;
    }
    writing_.advance(problem_.stages);
    return true;
  }

 private:
  WarpgroupGemmProblem<typename Shape::Scalar> const& problem_;
  WarpgroupShared<Shape> const& shared_;
  int count_;
  int entry_ = 0;
  int chunk_ = 0;
  PipelineState writing_{1};  // a stage that was never filled counts as read
};

#endif

}  // namespace detail
}  // namespace v0
}  // namespace tessera
