// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Rows that are summed by themselves before the sums are added up in order: a number that depends on
/// nothing, so that neither threads, blocks nor capacity change a bit.
inline constexpr int slab_rows = 1024;

/// total[i] += parts[0, i] + parts[1, i] + ..., in this order.
template <class Sum>
struct AddSlabs {
  Sum const* parts;  // [num_slabs, size]
  Sum* total;        // [size]
  std::int64_t size;
  std::int64_t num_slabs;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    Sum sum = total[i];
    for (std::int64_t slab = 0; slab < num_slabs; ++slab) { sum += parts[slab * size + i]; }
    total[i] = sum;
  }
};

/// to[i] = sum, or to[i] + sum, rounded once.
template <class Sum, class Out>
struct StoreGradient {
  Sum const* sums;
  Out* to;
  bool accumulates;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { store(i, i); }
  TESSERA_HOST_DEVICE void store(std::int64_t place, std::int64_t i) const
  {
    to[place] = static_cast<Out>(accumulates ? static_cast<Sum>(to[place]) + sums[i] : sums[i]);
  }
};

/// The same for a weight [volume, in_channels, out_channels] in another order.
template <class Sum, class Out>
struct StoreInOrder {
  StoreGradient<Sum, Out> each;
  int in_channels;
  int out_channels;
  WeightSteps steps;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const row = i / out_channels;
    auto const offset = row / in_channels;
    each.store(offset * steps.offset + (row - offset * in_channels) * steps.in +
                   (i - row * out_channels) * steps.out,
               i);
  }
};

/// Writes the `size` sums over all slabs of `num_rows` rows, in the order of the slabs, to `total`.
/// @param sum_slabs  `sum_slabs(first, count, parts)` enqueues the sums of the slabs [first, first + count),
///                   parts [count, size]
/// Cost: up to 64 MB of memory, or one slab's sums.
/// Stream: enqueues two kernels for as many slabs as fit into it, and a fill; does not wait.
template <class Sum, class Space, class SumSlabs>
void sum_by_slabs(std::int64_t num_rows, std::int64_t size, Sum* total, Execution<Space> const& exec,
                  SumSlabs const& sum_slabs)
{
  constexpr std::int64_t most_bytes = std::int64_t{64} << 20;
  Transfer<Space>::fill_bytes(total, 0, static_cast<std::size_t>(size) * sizeof(Sum), exec);
  auto const slabs = std::int64_t{ceil_div(static_cast<long long>(num_rows), 1LL * slab_rows)};
  if (slabs == 0 || size == 0) { return; }
  auto const fitting = most_bytes / (size * static_cast<std::int64_t>(sizeof(Sum)));
  auto const at_once = std::clamp<std::int64_t>(fitting, 1, slabs);
  Buffer<Sum, Space> parts{at_once * size, exec};
  for (std::int64_t first = 0; first < slabs; first += at_once) {
    auto const count = std::min(at_once, slabs - first);
    sum_slabs(first, count, parts.data());
    for_each(size, AddSlabs<Sum>{parts.data(), total, size, count}, exec);
  }
}

/// Writes the gradient of a weight, slab by slab.
/// @param sum_slabs  `sum_slabs(out_in, first, count, parts)`, see sum_weight_slabs()
template <class Scalar, class Space, class SumSlabs>
void sum_weight_gradient(WeightGradientArguments<Scalar> const& arguments, KernelMap<Space>& map,
                         Execution<Space> const& exec, SumSlabs const& sum_slabs)
{
  auto const* const out_in = map.out_in(exec);  // here: a released map is rebuilt
  auto const size = std::int64_t{map.volume()} * arguments.in_channels * arguments.out_channels;
  sum_by_slabs(map.num_out(), size, arguments.grad_weight, exec,
               [&](std::int64_t first, std::int64_t count, accumulator_t<Scalar>* parts) {
                 sum_slabs(out_in, first, count, parts);
               });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
