// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/block_gemm/problem.cuh>
#include <tessera/core/launch.cuh>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// output = epilogue(sum over splits, ascending). `output` may be the sums of a single split.
template <class Scalar>
struct FinishSums {
  accumulator_t<Scalar> const* sums;  // [splits, size]
  Scalar* output;                     // [size]
  EpilogueFunctor<Scalar> epilogue;
  std::int64_t size;
  int splits;
  int out_channels;

  __device__ void operator()(std::int64_t i) const
  {
    accumulator_t<Scalar> sum{0};
    for (int split = 0; split < splits; ++split) { sum += sums[split * size + i]; }
    output[i] = epilogue.template run<ActivationSet::all>(sum, static_cast<int>(i % out_channels), i);
  }
};

/// gathered[p] = features[in[p]], in units of one element or of 16 bytes.
template <class Unit>
struct GatherRows {
  Unit const* features;    // [num_in, units]
  std::int32_t const* in;  // [num_pairs]
  Unit* gathered;          // [num_pairs, units]
  std::int64_t units;

  __device__ void operator()(std::int64_t i) const
  {
    auto const pair = i / units;
    gathered[i] = features[in[pair] * units + (i - pair * units)];
  }
};

/// Gathers the features of a problem of as many outputs as there are pairs.
template <class Scalar>
void gather(BlockGemmProblem<Scalar> const& problem, std::int32_t const* in, Scalar* gathered,
            Execution<Device> const& exec)
{
  if (problem.aligned_features) {
    auto const units = problem.in_channels / (16 / static_cast<int>(sizeof(Scalar)));
    for_each(problem.num_out * units,
             GatherRows<uint4>{reinterpret_cast<uint4 const*>(problem.features), in,
                               reinterpret_cast<uint4*>(gathered), units},
             exec);
  } else {
    for_each(problem.num_out * problem.in_channels,
             GatherRows<Scalar>{problem.features, in, gathered, problem.in_channels}, exec);
  }
}

/// sums[out[p]] += products[p]; an output occurs once among the pairs of an offset, so no two threads meet.
template <class Sum>
struct ScatterAdd {
  Sum const* products;      // [num_pairs, channels]
  std::int32_t const* out;  // [num_pairs]
  Sum* sums;                // [num_out, channels]
  std::int64_t channels;

  __device__ void operator()(std::int64_t i) const
  {
    auto const pair = i / channels;
    sums[out[pair] * channels + (i - pair * channels)] += products[i];
  }
};

/// Enqueues FinishSums of all outputs.
template <class Scalar>
void finish_sums(accumulator_t<Scalar> const* sums, int splits, ConvolutionArguments<Scalar> const& arguments,
                 std::int64_t num_out, Execution<Device> const& exec)
{
  auto const size = num_out * arguments.out_channels;
  for_each(size,
           FinishSums<Scalar>{sums, arguments.output, epilogue_of(arguments), size, splits,
                              arguments.out_channels},
           exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
