// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/kernel_map.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// transposed[in, k] = out for each pair (in, out) of offset k; a pair occurs once, so no two threads meet.
struct TransposePairs {
  std::int32_t const* out_in;  // [num_out, volume]
  std::int32_t* transposed;    // [num_in, volume], filled with -1
  int volume;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const in = out_in[i];
    if (in >= 0) {
      auto const out = divide(static_cast<long long>(i), volume);
      transposed[std::int64_t{in} * volume + (i - out * volume)] = static_cast<std::int32_t>(out);
    }
  }
};

/// The masks of a map's rows; a lane has the offset at its place of the order.
struct ReadRowMasks {
  std::int32_t const* out_in;  // [num_out, volume]
  OffsetOrder order;
  int volume;
  std::uint32_t* mask_keys;  // [num_out] see KernelMapParts

  [[nodiscard]] TESSERA_HOST_DEVICE int prepare(int lane) const { return order.offset_at[lane]; }
  [[nodiscard]] TESSERA_HOST_DEVICE bool visit(std::int64_t row, int k) const
  {
    return out_in[row * volume + k] >= 0;
  }
  TESSERA_HOST_DEVICE void finish(std::int64_t row, std::uint32_t bits) const { mask_keys[row] = ~bits; }
};

/// TransposePairs where each input has one pair at most, with the masks; item number i is one entry.
struct ExpandPairs {
  std::int32_t const* pair_of_input;  // [num_in]
  std::int32_t* transposed;           // [num_in, volume]
  std::uint32_t* mask_keys;           // [num_in] or null
  int volume;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const in = divide(static_cast<long long>(i), volume);
    auto const k = static_cast<int>(i - in * volume);
    auto const pair = pair_of_input[in];
    auto const out = pair < 0 ? -1 : static_cast<std::int32_t>(divide(static_cast<long long>(pair), volume));
    auto const own = pair - out * volume;
    transposed[i] = pair >= 0 && own == k ? out : -1;
    if (k == 0 && mask_keys != nullptr) { mask_keys[in] = pair < 0 ? ~0U : ~(1U << own); }
  }
};

template <class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> make_transposed(KernelMap<Space>& map,
                                                                Execution<Space> const& exec)
{
  auto const volume = map.volume();
  Buffer<std::int32_t, Space> transposed{map.num_in() * volume, exec};
  KernelMapParts<Space> parts;
  parts.is_releasable = map.parts().is_releasable;
  parts.map_stream = map.parts().map_stream;
  parts.out_count = map.parts().in_count;
  parts.in_count = map.parts().out_count;
  parts.mirror = map.parts().mirror;
  parts.transposed_of = map.weak_from_this();
  bool const few = volume <= OffsetOrder::most;
  parts.mask_keys = Buffer<std::uint32_t, Space>{few ? map.num_in() : 0, exec};
  auto* const mask_keys = parts.mask_keys.data();
  auto const& pairs = map.parts().pair_of_input;
  if (pairs.empty()) {
    parts.offset_order = map.parts().offset_order;
    fill_bytes(transposed, 0xff, exec);
    for_each(map.num_out() * volume, TransposePairs{access(map).materialize(), transposed.data(), volume},
             exec);
    if (few) {
      for_each_ballot(map.num_in(), volume,
                      ReadRowMasks{transposed.data(), parts.offset_order, volume, mask_keys}, exec);
    }
  } else {
    for_each(transposed.size(), ExpandPairs{pairs.data(), transposed.data(), mask_keys, volume}, exec);
  }
  return std::make_shared<KernelMap<Space>>(std::move(transposed), map.num_out(), map.num_in(), volume,
                                            map.centre(), std::move(parts));
}

/// The transposed map of a map.
template <class Space>
struct TransposedMapKey {
  using Value = KernelMap<Space>;
  friend bool operator==(TransposedMapKey, TransposedMapKey) { return true; }
};

}  // namespace detail

/// The map of the convolution that undoes `map`'s: pairs swapped, offsets keep their numbers.
///
/// `transposed.out_in(i, k) = o` exactly when `map.out_in(o, k) = i`. Made once and kept by `map`, to which
/// the transposed map of the result leads back.
/// Cost: one pass over the map and one over the result, or one over the result where inputs have one pair each;
/// the first time.
/// Stream: enqueues a fill and two kernels, or one kernel; does not wait.
/// Determinism: same map, same result.
template <class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> transpose(KernelMap<Space>& map, Execution<Space> const& exec)
{
  if (auto original = map.parts().transposed_of.lock()) { return original; }
  std::lock_guard lock{detail::access(map).mutex()};
  return detail::access(map).cache().get_or_make(detail::TransposedMapKey<Space>{}, [&] {
    return detail::on_map_stream(map.parts().map_stream, exec, [&](Execution<Space> const& own) {
      return detail::make_transposed(map, own);
    });
  });
}

/// The map that the gradient of a convolution's input is computed with, and how it reads the weight.
template <class Space>
struct GradientMap {
  std::shared_ptr<KernelMap<Space>> map;  ///< from the rows of the output's gradient to those of the input
  bool is_mirrored;                       ///< `map` is the convolution's own, its offsets are read mirrored

  /// The offset of the convolution's weight that offset k of `map` multiplies with.
  [[nodiscard]] int weight_offset(int k) const { return is_mirrored ? map->mirrored_offset(k) : k; }
};

/// The map for the data gradient of a convolution over `map`:
/// `dx[i] = sum over k of dy[result.map->out_in(i, k)] * transpose(weight[result.weight_offset(k)])`.
///
/// A symmetric map serves both directions, and so do its tile maps; else it is transpose() of `map`. Where
/// the result's `map` is `map` itself and `map` is in no shared_ptr, the result does not own it.
/// Cost: nothing for a symmetric map, else that of transpose().
/// Stream: as transpose().
/// Determinism: as transpose().
template <class Space>
[[nodiscard]] GradientMap<Space> gradient_map(KernelMap<Space>& map, Execution<Space> const& exec)
{
  if (!map.is_symmetric()) { return {transpose(map, exec), false}; }
  auto owner = map.weak_from_this().lock();
  if (!owner) { owner = std::shared_ptr<KernelMap<Space>>{std::shared_ptr<void>{}, &map}; }
  return {std::move(owner), true};
}

}  // namespace v0
}  // namespace tessera
