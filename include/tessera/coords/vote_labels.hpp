// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/coords/key_packing.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/core/detail/sort.hpp>

#include <cstdint>
#include <optional>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A label as an unsigned number that compares as the label does, and back.
[[nodiscard]] TESSERA_HOST_DEVICE inline std::uint32_t to_unsigned(std::int32_t label)
{
  return static_cast<std::uint32_t>(label) ^ 0x80000000U;
}
[[nodiscard]] TESSERA_HOST_DEVICE inline std::int32_t to_label(std::uint32_t ordered)
{
  return static_cast<std::int32_t>(ordered ^ 0x80000000U);
}

/// What points vote for: `votes[i] = voxel | label`, one above the largest for points that do not vote.
struct CastVotes {
  std::int32_t const* inverse;  // [num_points] voxel, or -1
  std::int32_t const* labels;   // [num_points]
  std::int32_t num_voxels;
  bool ignores;
  std::int32_t ignored;
  std::uint64_t* votes;  // [num_points]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    bool const takes_part = inverse[i] >= 0 && !(ignores && labels[i] == ignored);
    auto const voxel = static_cast<std::uint32_t>(takes_part ? inverse[i] : num_voxels);
    votes[i] = std::uint64_t{voxel} << 32 | (takes_part ? to_unsigned(labels[i]) : 0);
  }
};

/// starts[i] = 1 where sorted vote i is the first of its voxel and label; one further 0 closes the array.
struct MarkBallots {
  std::uint64_t const* votes;  // [num_points], ascending
  std::int64_t num_points;
  std::int32_t* starts;  // [num_points + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    starts[i] = i < num_points && (i == 0 || votes[i] != votes[i - 1]) ? 1 : 0;
  }
};

/// begin[ballot] = its first vote; item num_points closes the last.
struct BeginBallots {
  std::int32_t const* place;  // [num_points + 1] sums of the starts before a vote
  std::int64_t num_points;
  std::int32_t* begin;  // [num_points + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (i == num_points || place[i + 1] != place[i]) { begin[place[i]] = static_cast<std::int32_t>(i); }
  }
};

/// best[voxel] = the largest of its ballots: most votes first, then the smallest label.
struct CountBallots {
  std::uint64_t const* votes;  // [num_points], ascending
  std::int32_t const* place;   // [num_points + 1]
  std::int32_t const* begin;   // [ballots + 1]
  std::int32_t num_voxels;
  unsigned long long* best;  // [num_voxels], filled with 0

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const voxel = static_cast<std::uint32_t>(votes[i] >> 32);
    if (place[i + 1] == place[i] || voxel == static_cast<std::uint32_t>(num_voxels)) { return; }
    auto const count = static_cast<unsigned long long>(begin[place[i] + 1] - begin[place[i]]);
    auto const label = static_cast<std::uint32_t>(votes[i] & 0xffffffffU);
    atomic_maximum(&best[voxel], count << 32 | (~label & 0xffffffffU));
  }
};

/// labels[voxel] = that of its best ballot, `none` where there was no vote.
struct TakeLabels {
  unsigned long long const* best;  // [num_voxels]
  std::int32_t none;
  std::int32_t* labels;  // [num_voxels]

  TESSERA_HOST_DEVICE void operator()(std::int64_t voxel) const
  {
    auto const winner = ~static_cast<std::uint32_t>(best[voxel] & 0xffffffffU);
    labels[voxel] = best[voxel] != 0 ? to_label(winner) : none;
  }
};

/// The labels of voxels, [num_voxels], from those of the points.
template <class Space>
[[nodiscard]] Buffer<std::int32_t, Space> vote(Buffer<std::int32_t, Space> const& inverse,
                                               std::int32_t num_voxels, std::int32_t const* labels,
                                               std::optional<std::int32_t> ignored,
                                               Execution<Space> const& exec)
{
  auto const n = inverse.size();
  expects(labels != nullptr || n == 0, "vote_labels: no labels for ", n, " points");
  Buffer<std::uint64_t, Space> votes{n, exec};
  {
    Buffer<std::uint64_t, Space> unsorted{n, exec};
    for_each(n,
             CastVotes{inverse.data(), labels, num_voxels, ignored.has_value(), ignored.value_or(0),
                       unsorted.data()},
             exec);
    int const bits = 32 + bits_for(std::int64_t{num_voxels} + 1);
    Sort<Space>::keys(unsorted.data(), votes.data(), n, bits, exec);
  }
  Buffer<std::int32_t, Space> place{n + 1, exec};
  Buffer<std::int32_t, Space> begin{n + 1, exec};
  Buffer<unsigned long long, Space> best{num_voxels, exec};
  fill_bytes(best, 0, exec);
  for_each(n + 1, MarkBallots{votes.data(), n, place.data()}, exec);
  Scan<Space>::exclusive(place.data(), place.data(), n + 1, exec);
  for_each(n + 1, BeginBallots{place.data(), n, begin.data()}, exec);
  for_each(n, CountBallots{votes.data(), place.data(), begin.data(), num_voxels, best.data()}, exec);
  Buffer<std::int32_t, Space> result{num_voxels, exec};
  for_each(num_voxels, TakeLabels{best.data(), ignored.value_or(0), result.data()}, exec);
  return result;
}

}  // namespace detail

/// The label of each voxel, [num_voxels] in `Space`: the one that most of its points have, of equally many
/// the smallest.
///
/// | name    | shape        | memory | holds                                                        |
/// |---------|--------------|--------|--------------------------------------------------------------|
/// | voxels  |              | Space  | sparse_quantize() or dynamic_voxelize() of the points        |
/// | labels  | [num_points] | Space  | any integers                                                 |
/// | ignored |              | host   | points of this label do not vote; left out: all vote         |
///
/// Points that are in no voxel do not vote. A voxel whose points are all ignored gets the ignored label.
/// Cost: one sort of the points.
/// Stream: enqueues on `exec`; waits for the number of voxels where the host does not know it.
/// Determinism: same input, same bits, on Host and Device; integer atomics alone.
/// Source: the majority of labels that mmdetection3d and Cylinder3D give voxels in training.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Buffer<std::int32_t, Space> vote_labels(QuantizedPoints<Dim, Scalar, Space> const& voxels,
                                                      std::int32_t const* labels,
                                                      std::optional<std::int32_t> ignored,
                                                      Execution<Space> const& exec)
{
  return detail::vote(voxels.inverse, static_cast<std::int32_t>(voxels.num_voxels()), labels, ignored, exec);
}

/// The same of voxels in fixed room, [max_voxels]; those past the last one get `ignored` or 0.
/// Stream: enqueues on `exec`, does not wait; a CUDA graph can be made of it.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Buffer<std::int32_t, Space> vote_labels(FixedQuantizedPoints<Dim, Scalar, Space> const& voxels,
                                                      std::int32_t const* labels,
                                                      std::optional<std::int32_t> ignored,
                                                      Execution<Space> const& exec)
{
  return detail::vote(voxels.inverse, static_cast<std::int32_t>(voxels.coordinates->capacity()), labels,
                      ignored, exec);
}

}  // namespace v0
}  // namespace tessera
