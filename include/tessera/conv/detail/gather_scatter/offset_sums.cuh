// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/block_gemm/problem.cuh>
#include <tessera/conv/detail/mma/instructions.cuh>
#include <tessera/core/buffer.hpp>
#include <tessera/core/launch.cuh>
#include <tessera/kmap/pair_list.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

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

/// Adds up offset after offset in a buffer of sums: calls `add(k, num_pairs, sums)` for every offset that has
/// pairs, ascending, then writes the output.
/// @param begins  [volume + 1] where each offset's pairs begin
template <class Scalar, class Add>
void sum_by_offset(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device> const& map,
                   std::vector<std::int64_t> const& begins, Execution<Device> const& exec, Add const& add)
{
  using Sum = accumulator_t<Scalar>;
  auto const size = map.num_out() * arguments.out_channels;
  Buffer<Sum, Device> buffer;
  Sum* sums = nullptr;
  if constexpr (std::is_same_v<Scalar, Sum>) {
    sums = arguments.output;
  } else {
    buffer = Buffer<Sum, Device>{size, exec};
    sums = buffer.data();
  }
  Transfer<Device>::fill_bytes(sums, 0, static_cast<std::size_t>(size) * sizeof(Sum), exec);
  for (std::size_t k = 0; k + 1 < begins.size(); ++k) {
    auto const num_pairs = begins[k + 1] - begins[k];
    if (num_pairs > 0) { add(static_cast<int>(k), num_pairs, sums); }
  }
  for_each(size,
           FinishSums<Scalar>{sums, arguments.output, epilogue_of(arguments), size, 1, arguments.out_channels},
           exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
