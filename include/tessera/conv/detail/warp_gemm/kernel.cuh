// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/warp_gemm/features.cuh>
#include <tessera/conv/detail/warp_gemm/weight.cuh>
#include <tessera/core/launch.cuh>

#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

#if __CUDA_ARCH__ >= 900

/// 16 bytes of shared memory.
__device__ inline void load_operand(std::uint32_t (&operand)[4], void const* from)
{
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(operand[0]), "=r"(operand[1]), "=r"(operand[2]), "=r"(operand[3])
               : "r"(shared_address(from)));
}

/// The sums of a warp: the channels that PackedLayout deals to the lane, of rows lane % 4 * 2 + 8 i and the
/// next.
template <class Shape>
struct WarpSums {
  using Scalar = typename Shape::Scalar;
  static constexpr int dealt = Shape::dealt;
  float values[Shape::channel_tiles][Shape::row_tiles][2][2];  // ..., next channel, next row

  __device__ void clear()
  {
#pragma unroll
    for (int i = 0; i < Shape::channel_tiles; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::row_tiles; ++j) {
        values[i][j][0][0] = values[i][j][0][1] = values[i][j][1][0] = values[i][j][1][1] = 0;
      }
    }
  }

  /// += chunk of features * chunk of weights; `weights` is where the lane's operands begin.
  __device__ void multiply(uint4 const (&rows)[Shape::row_tiles], Scalar const* weights)
  {
    // Products that add to the same sums are far apart, and an operand is read while the last is multiplied.
    std::uint32_t operand[2][4];
    load_operand(operand[0], weights);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int i = 0; i < Shape::channel_tiles; ++i) {
        int const next = half * Shape::channel_tiles + i + 1;
        if (next < 2 * Shape::channel_tiles) {
          load_operand(operand[next % 2],
                       weights + (next % Shape::channel_tiles * 2 + next / Shape::channel_tiles) * 256);
        }
#pragma unroll
        for (int j = 0; j < Shape::row_tiles; ++j) {
          multiply_matrices<Scalar>(values[i][j][0], values[i][j][1], operand[(next + 1) % 2],
                                    half == 0 ? rows[j].x : rows[j].z, half == 0 ? rows[j].y : rows[j].w);
        }
      }
    }
  }

  /// Writes the outputs of the tile's rows, or the sums where they are asked for.
  __device__ void store(WarpGemmProblem<Scalar> const& problem, int tile, int first_channel)
  {
#pragma unroll
    for (int j = 0; j < Shape::row_tiles; ++j) { store_two(problem, tile, j, first_channel); }
  }

 private:
  /// Stores the lane's two rows of row tile `j`.
  __device__ void store_two(WarpGemmProblem<Scalar> const& problem, int tile, int j, int first_channel) const
  {
    int const lane = lane_id();
    int const fragment = tile * Shape::row_steps + j / 2;
    auto rows = make_int2(-1, -1);
    if (fragment < problem.num_fragments) {
      rows = __ldg(reinterpret_cast<int2 const*>(problem.order + fragment * fragment_rows) + j % 2 * 4 +
                   lane % 4);
    }
#pragma unroll
    for (int next = 0; next < 2; ++next) {
      int const row = next == 0 ? rows.x : rows.y;
#pragma unroll
      for (int group = 0; group < Shape::channel_tiles / dealt; ++group) {
        int const channel = first_channel + group * dealt * 16 + lane / 4 * dealt * 2;
        float sums[dealt * 2];
#pragma unroll
        for (int i = 0; i < dealt * 2; ++i) { sums[i] = pick(values[group * dealt + i / 2], j, i % 2, next); }
        if (row >= 0 && channel < problem.out_channels) {
          store_row(problem, std::int64_t{row} * problem.out_channels + channel, channel, sums);
        }
      }
    }
  }

  /// values[j][i][k] for a `j` that need not be a constant, without an index into registers.
  __device__ static float pick(float const (&values)[Shape::row_tiles][2][2], int j, int i, int k)
  {
    float picked = values[0][i][k];
#pragma unroll
    for (int n = 1; n < Shape::row_tiles; ++n) { picked = n == j ? values[n][i][k] : picked; }
    return picked;
  }

  __device__ static void store_row(WarpGemmProblem<Scalar> const& problem, std::int64_t at, int channel,
                                   float const (&sums)[dealt * 2])
  {
    if (problem.sums != nullptr) {
#pragma unroll
      for (int i = 0; i < dealt; ++i) {
        reinterpret_cast<float2*>(problem.sums + at)[i] = make_float2(sums[2 * i], sums[2 * i + 1]);
      }
      return;
    }
    struct alignas(dealt * 4) Row {
      Scalar values[dealt * 2];
    };
    auto const& epilogue = problem.epilogue;
    Row bias;
    Row residual;
    Row result;
    if (epilogue.bias != nullptr) { bias = *reinterpret_cast<Row const*>(epilogue.bias + channel); }
    if (epilogue.residual != nullptr) { residual = *reinterpret_cast<Row const*>(epilogue.residual + at); }
    if (epilogue.is_linear()) {
      epilogue.template run<ActivationSet::linear>(sums, bias.values, residual.values, result.values);
    } else {
      epilogue.template run<ActivationSet::curved>(sums, bias.values, residual.values, result.values);
    }
    *reinterpret_cast<Row*>(problem.output + at) = result;
  }
};

/// A warp's whole work. A chunk of a step is multiplied, then that of the step `depth` later is read into its
/// registers.
template <class Shape, class Weight>
class WarpMultiplication {
 public:
  __device__ WarpMultiplication(WarpGemmProblem<typename Shape::Scalar> const& problem, Weight& weight,
                                int channel_warp, int first_channel)
      : problem_{problem},
        weight_{weight},
        features_{problem, weight.queue()},
        first_channel_{first_channel + channel_warp * Shape::channels},
        operands_begin_{channel_warp * problem.stage_chunks * Shape::chunk_size + lane_id() * 8}
  {}

  __device__ void run() { run(std::make_integer_sequence<int, Shape::depth>{}); }

 private:
  template <int... Place>
  __device__ void run(std::integer_sequence<int, Place...>)
  {
    grid_dependency_wait();
    (begin<Place>(), ...);
    while (steps_[0].tile >= 0) {
      int const tile = steps_[0].tile / 2;
      sums_.clear();
      bool last = false;
      do {
        (step<Place>(last), ...);
      } while (!last);
      weight_.end_tile();
      sums_.store(problem_, tile, first_channel_);
    }
  }
  template <int Place>
  __device__ void begin()
  {
    features_.template next_step<Place>();
    steps_[Place] = features_.step();
#pragma unroll
    for (int i = 0; i < Shape::step_chunks; ++i) { features_.load(chunks_[Place][i], i); }
  }
  template <int Place>
  __device__ void step(bool& last)
  {
    auto const step = steps_[Place];
    features_.template next_step<Place>();
    steps_[Place] = features_.step();
    last = last || features_.is_last(step);
    typename Shape::Scalar const* operands = nullptr;
    if (step.offset >= 0) { operands = weight_.begin(step) + operands_begin_; }
#pragma unroll
    for (int i = 0; i < Shape::step_chunks; ++i) {
      if (step.offset >= 0) { sums_.multiply(chunks_[Place][i], operands + i * Shape::chunk_size); }
      features_.load(chunks_[Place][i], i);
    }
    if (step.offset >= 0) { weight_.end(step); }
  }

  WarpGemmProblem<typename Shape::Scalar> const& problem_;
  Weight& weight_;
  FeatureStream<Shape> features_;
  int first_channel_;
  int operands_begin_;
  WarpSums<Shape> sums_;
  // Indexed by constants alone, so that they are registers.
  typename FeatureStream<Shape>::Chunk chunks_[Shape::depth][Shape::step_chunks];
  WarpStep steps_[Shape::depth];
};

#endif

/// An implicit GEMM in which a warp reads its rows of features straight into the registers that tensor cores
/// take, and weights come through shared memory.
template <class Shape>
__global__ void __launch_bounds__(Shape::threads, Shape::min_blocks)
    warp_gemm_kernel(__grid_constant__ WarpGemmProblem<typename Shape::Scalar> const problem)
{
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) unsigned char shared[];
  int const block = static_cast<int>(blockIdx.y);
  int const first_channel = block * Shape::block_channels;
  if constexpr (Shape::resident) {
    static_assert(Shape::channel_warps == 1, "a warp of a resident weight has all its channels");
    ResidentWeight<Shape> weight{problem, shared, block};
    WarpMultiplication<Shape, ResidentWeight<Shape>>{problem, weight, 0, first_channel}.run();
  } else {
    StagedWeight<Shape> weight{problem, shared, block};
    WarpMultiplication<Shape, StagedWeight<Shape>>{problem, weight, warp_id() / Shape::row_warps,
                                                   first_channel}
        .run();
  }
#endif
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
