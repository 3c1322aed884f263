// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/kmap/geometry.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <climits>
#include <memory>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The inputs of a set ordered by their parents.
template <class Space>
struct InputsByParent {
  Buffer<std::int32_t, Space> rows;     // [capacity] of inputs
  Buffer<std::int32_t, Space> parents;  // [capacity] the row of the output each of them has, or -1
};

/// The inputs of a set ordered by their parents in `out`.
template <int Dim, class Space>
struct InputsByParentKey {
  using Value = InputsByParent<Space>;
  ParentRule<Dim> rule;
  void const* out;
  friend bool operator==(InputsByParentKey const& a, InputsByParentKey const& b)
  {
    return a.rule.stride == b.rule.stride && a.rule.anchor == b.rule.anchor && a.out == b.out;
  }
};

/// Enters the one pair of each input, an item; the first of an output's inputs writes the output's row.
template <int Dim>
struct PairWithParents {
  CoordinateView<Dim> inputs;
  std::int32_t const* rows;     // [inputs.num_rows.capacity] see InputsByParent
  std::int32_t const* parents;  // [inputs.num_rows.capacity]
  KernelRegion<Dim> region;
  RowCount outputs;             // room for no more than inputs
  std::int32_t* out_in;         // [outputs.capacity, volume]
  std::uint32_t* mask_keys;     // [outputs.capacity] or null
  std::int32_t* pair_of_input;  // [inputs.num_rows.capacity]
  std::uint32_t* errors;        // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t place) const
  {
    if (place >= outputs.size() && place < outputs.capacity) { begin_row(place); }  // it is not in use
    auto const parent = parents[place];
    pair_of_input[rows[place]] = parent < 0 ? -1 : parent * region.volume() + offset_of(rows[place]);
    if (parent < 0 || (place > 0 && parents[place - 1] == parent)) { return; }
    begin_row(parent);
    auto* const entries = out_in + std::int64_t{parent} * region.volume();
    std::uint32_t key = ~0U;
    for (auto i = place; i < inputs.num_rows.capacity && parents[i] == parent; ++i) {
      auto const k = offset_of(rows[i]);
      if (entries[k] >= 0) {  // the smaller row stays
        atomic_or(errors, std::uint32_t{DataError::duplicate});
        continue;
      }
      entries[k] = rows[i];
      if (mask_keys != nullptr) { key &= ~(1U << k); }
    }
    if (mask_keys != nullptr) { mask_keys[parent] = key; }
  }

 private:
  TESSERA_HOST_DEVICE void begin_row(std::int64_t out) const
  {
    auto const volume = region.volume();
    auto* const entries = out_in + out * volume;
    if (mask_keys != nullptr) { mask_keys[out] = ~0U; }
#if defined(__CUDA_ARCH__)
    if (volume % 4 == 0) {  // each thread writes a row of its own: as few stores as can be
      for (int k = 0; k < volume; k += 4) {
        *reinterpret_cast<int4*>(entries + k) = make_int4(-1, -1, -1, -1);
      }
      return;
    }
#endif
    for (int k = 0; k < volume; ++k) { entries[k] = -1; }
  }

  /// Under which offset the input is its parent's.
  [[nodiscard]] TESSERA_HOST_DEVICE int offset_of(std::int32_t row) const
  {
    auto const in = inputs.load(row).position;
    int k = 0;
    for (int axis = 0; axis < Dim; ++axis) {
      int const moved = in[axis] + region.anchor[axis];
      k = k * region.size[axis] + moved - floor_div(moved, region.stride[axis]) * region.stride[axis];
    }
    return k;
  }
};

/// Where the rows of the parents in `out` of `in` are, if they are known, and there is one pair per input;
/// else null.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<InputsByParent<Space>> find_parents(CoordinateSet<Dim, Space>& in,
                                                                  CoordinateSet<Dim, Space> const& out,
                                                                  KernelRegion<Dim> const& region)
{
  if (!region.tiles_inputs() || out.capacity() * region.volume() > INT_MAX) { return nullptr; }
  return access(in).cache().find(InputsByParentKey<Dim, Space>{{region.stride, region.anchor}, &out});
}

/// The map from `in` to `out` by the rows of parents.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> map_by_parents(CoordinateSet<Dim, Space>& in,
                                                               CoordinateSet<Dim, Space> const& out,
                                                               InputsByParent<Space> const& by_parent,
                                                               KernelRegion<Dim> const& region,
                                                               KernelMapParts<Space>&& parts,
                                                               Execution<Space> const& exec)
{
  auto const volume = region.volume();
  Buffer<std::int32_t, Space> out_in{out.capacity() * volume, exec};
  if (volume <= OffsetOrder::most) { parts.mask_keys = Buffer<std::uint32_t, Space>{out.capacity(), exec}; }
  parts.pair_of_input = Buffer<std::int32_t, Space>{in.capacity(), exec};
  for_each(in.capacity(),
           PairWithParents<Dim>{in.view(), by_parent.rows.data(), by_parent.parents.data(), region,
                                out.row_count(), out_in.data(), parts.mask_keys.data(),
                                parts.pair_of_input.data(), access(in).errors()},
           exec);
  if constexpr (std::is_same_v<Space, Host>) { in.check(exec); }
  return std::make_shared<KernelMap<Space>>(std::move(out_in), in.capacity(), out.capacity(), volume, -1,
                                            std::move(parts));
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
