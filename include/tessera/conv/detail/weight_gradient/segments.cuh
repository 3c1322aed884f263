// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/weight_gradient/shapes.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/launch.cuh>
#include <tessera/kmap/detail/list_pairs.cuh>
#include <tessera/kmap/kernel_map.hpp>

#include <cstdint>
#include <memory>
#include <mutex>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Pairs of one offset that a block sums by itself, one after the other in the pair list.
struct GradientSegment {
  std::int64_t begin;  // place of the first in the pair list
  std::int32_t count;  // 0: there is no segment
  std::int32_t part;   // its place among all segments, by offset and then by output row
};

/// The segments of a map: `first[volume]` and empty ones. Offset k's parts are [first[k], first[k + 1]).
struct GradientSegments {
  Buffer<GradientSegment, Device> list;  ///< [room] in the order in which they are worked on
  Buffer<std::int32_t, Device> first;    ///< [volume + 1]
};

/// What the pairs are read from: lists, or rows that each pair with themselves.
struct SegmentSource {
  std::int64_t const* begin;   // [volume + 1] of the pair list, or null: an identity
  std::int32_t const* in_use;  // [1] rows of the identity in use, or null: all
  std::int64_t num_rows;

  [[nodiscard]] __device__ std::int64_t pairs_before(std::int64_t k) const
  {
    if (begin != nullptr) { return begin[k]; }
    if (k == 0) { return 0; }
    return in_use == nullptr || num_rows < *in_use ? num_rows : std::int64_t{*in_use};
  }
};

/// Writes the segments, all of an offset about as long: number s of its n comes at s / n. So at any time blocks
/// work on the same share of the rows, whatever their offset. One block.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    cut_segments_kernel(SegmentSource source, SegmentCut cut, int volume, GradientSegment* list, int room,
                        std::int32_t* first)
{
  int const thread = static_cast<int>(threadIdx.x);
  auto const length = cut.length(source.pairs_before(volume));
  for (int k = thread; k < volume; k += Threads) {
    auto const pairs = source.pairs_before(k + 1) - source.pairs_before(k);
    first[k + 1] = static_cast<std::int32_t>((pairs + length - 1) / length);
  }
  __syncthreads();
  if (thread < 32) {  // their sums, in place
    std::int32_t sum = 0;
    if (thread == 0) { first[0] = 0; }
    for (int base = 0; base < volume; base += 32) {
      int const k = base + thread;
      auto value = k < volume ? first[k + 1] : 0;
      for (int step = 1; step < 32; step *= 2) {
        auto const below = __shfl_up_sync(0xffffffffU, value, static_cast<unsigned>(step));
        if (thread >= step) { value += below; }
      }
      value += sum;
      if (k < volume) { first[k + 1] = value; }
      sum = __shfl_sync(0xffffffffU, value, 31);
    }
  }
  __syncthreads();
  for (int part = thread; part < first[volume]; part += Threads) {
    int k = 0;
    for (int above = volume; above - k > 1;) {  // first[k] <= part < first[above]
      int const middle = (k + above) / 2;
      (first[middle] <= part ? k : above) = middle;
    }
    int const place = part - first[k];
    int const own = first[k + 1] - first[k];
    constexpr int most_ranked = 2048;             // offsets; more keep their order, which is cheaper to find
    int rank = volume <= most_ranked ? 0 : part;  // segments that come before this one
    for (int other = 0; volume <= most_ranked && other < volume; ++other) {
      int const scaled = place * (first[other + 1] - first[other]);
      rank += (scaled + own - 1) / own;
      // At the same place the one of the lower offset comes first.
      if (other < k && scaled % own == 0 && first[other] < first[other + 1]) { ++rank; }
    }
    auto const pairs = source.pairs_before(k + 1) - source.pairs_before(k);
    auto const units = ceil_div(pairs, std::int64_t{SegmentCut::unit});  // at least `own`
    auto const begin = units * place / own * SegmentCut::unit;
    auto const end = units * (place + 1) / own * SegmentCut::unit;
    list[rank] = {source.pairs_before(k) + begin,
                  static_cast<std::int32_t>((end < pairs ? end : pairs) - begin), part};
  }
  for (int i = first[volume] + thread; i < room; i += Threads) { list[i] = {0, 0, 0}; }
}

struct GradientSegmentsKey {
  using Value = GradientSegments;
  SegmentCut cut;
  friend bool operator==(GradientSegmentsKey const& a, GradientSegmentsKey const& b)
  {
    return a.cut == b.cut;
  }
};

/// The segments of a map, made at the first call and kept by the map.
/// @param lists  of the map, or null where it is an identity
/// @param room   segments that there can be
/// Stream: enqueues a kernel the first time, does not wait.
[[nodiscard]] inline std::shared_ptr<GradientSegments> gradient_segments(KernelMap<Device>& map,
                                                                         PairList<Device> const* lists,
                                                                         SegmentCut const& cut,
                                                                         std::int64_t room,
                                                                         Execution<Device> const& exec)
{
  constexpr int threads = 1024;
  std::lock_guard lock{access(map).mutex()};
  return access(map).cache().get_or_make(GradientSegmentsKey{cut}, [&] {
    auto segments = std::make_shared<GradientSegments>();
    segments->list = Buffer<GradientSegment, Device>{room, exec};
    segments->first = Buffer<std::int32_t, Device>{map.volume() + 1, exec};
    SegmentSource const source{lists == nullptr ? nullptr : lists->begin.data(), map.parts().out_count,
                               map.num_out()};
    launch(cut_segments_kernel<threads>, dim3(1), threads, 0, exec, source, cut, map.volume(),
           segments->list.data(), static_cast<int>(room), segments->first.data());
    return segments;
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
