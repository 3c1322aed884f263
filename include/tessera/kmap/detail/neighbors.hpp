// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/hash/coordinate_table.hpp>
#include <tessera/kmap/detail/parents.hpp>
#include <tessera/kmap/geometry.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Looks a neighbour up: `in = stride * out + offset`, or `stride * in = out + offset` when `generative`.
template <int Dim, class Key>
struct NeighborQuery {
  CoordinateView<Dim> outputs;
  CoordinateTableRef<Dim, Key> inputs;
  KernelRegion<Dim> region;
  bool generative;

  /// The input row, or -1, also for rows that are not in use.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int32_t find(std::int64_t row, IntArray<Dim> const& offset) const
  {
    if (row >= outputs.size()) { return -1; }
    auto const out = outputs.load(row);
    Coordinate<Dim> in;
    in.batch = out.batch;
    bool on_lattice = true;
    for (int axis = 0; axis < Dim; ++axis) {
      if (generative) {
        int const scaled = out.position[axis] + offset[axis];
        in.position[axis] = floor_div(scaled, region.stride[axis]);
        on_lattice = on_lattice && in.position[axis] * region.stride[axis] == scaled;
      } else {
        in.position[axis] = region.stride[axis] * out.position[axis] + offset[axis];
      }
    }
    return on_lattice ? inputs.find(in) : -1;
  }
};

/// One entry of the map an item.
template <int Dim, class Key>
struct FindNeighbors {
  NeighborQuery<Dim, Key> query;
  int volume;
  std::int32_t* out_in;  // [num_out, volume]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    std::int64_t const row = divide(static_cast<long long>(i), volume);
    out_in[i] = query.find(row, query.region.offset(static_cast<int>(i - row * volume)));
  }
};

/// A row of the map an item, of up to 32 offsets, with its mask; a lane has the offset at its place of the
/// order.
template <int Dim, class Key>
struct FindRowNeighbors {
  struct Lane {
    int k;
    IntArray<Dim> offset;
  };

  NeighborQuery<Dim, Key> query;
  OffsetOrder order;
  int volume;
  std::int32_t* out_in;      // [num_out, volume]
  std::uint32_t* mask_keys;  // [num_out]

  [[nodiscard]] TESSERA_HOST_DEVICE Lane prepare(int lane) const
  {
    int const k = order.offset_at[lane];
    return {k, query.region.offset(k)};
  }
  [[nodiscard]] TESSERA_HOST_DEVICE bool visit(std::int64_t row, Lane const& lane) const
  {
    auto const in = query.find(row, lane.offset);
    out_in[row * volume + lane.k] = in;
    return in >= 0;
  }
  TESSERA_HOST_DEVICE void finish(std::int64_t row, std::uint32_t bits) const { mask_keys[row] = ~bits; }
};

/// Offsets by their distance from the centre in steps along the axes, of equal ones those apart along the
/// last axis later, for that is mostly the height; as they are numbered where there is no centre or they are
/// few. Counting a sample of the rows orders them no better: of two LiDAR scans and a sphere, three levels
/// each, the tiles of 16 rows work on as many rows within 1 %.
template <int Dim>
[[nodiscard]] OffsetOrder order_offsets(KernelRegion<Dim> const& region, int centre)
{
  constexpr int few = 8;
  OffsetOrder order;
  auto const volume = region.volume();
  if (centre < 0 || volume <= few || volume > OffsetOrder::most) { return order; }
  auto const middle = region.digits(centre);
  auto const distance = [&](int k) {
    auto const digits = region.digits(k);
    int steps = 0;
    for (int i = 0; i < Dim; ++i) { steps += std::abs(digits[i] - middle[i]); }
    return std::make_pair(steps, std::abs(digits[Dim - 1] - middle[Dim - 1]));
  };
  std::stable_sort(order.offset_at, order.offset_at + volume,
                   [&](int a, int b) { return distance(a) < distance(b); });
  return order;
}

/// out_in[row] = row, or -1 where the row is not in use.
struct NumberIdentity {
  std::int32_t* out_in;  // [num_rows.capacity]
  RowCount num_rows;

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    out_in[row] = row < num_rows.size() ? static_cast<std::int32_t>(row) : -1;
  }
};

/// The map under which every row reads itself alone; needs no table.
template <class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> identity_map(RowCount const& rows,
                                                             KernelMapParts<Space>&& parts,
                                                             Execution<Space> const& exec)
{
  Buffer<std::int32_t, Space> out_in{rows.capacity, exec};
  for_each(rows.capacity, NumberIdentity{out_in.data(), rows}, exec);
  return std::make_shared<KernelMap<Space>>(std::move(out_in), rows.capacity, rows.capacity, 1, 0,
                                            std::move(parts));
}

/// The map from `in` to `out` by looking every neighbour up in the table of `in`.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> map_by_table(CoordinateSet<Dim, Space> const& in,
                                                             CoordinateSet<Dim, Space> const& out,
                                                             CoordinateTable<Dim, Space>& in_table,
                                                             KernelRegion<Dim> const& region, int centre,
                                                             bool generative, KernelMapParts<Space>&& parts,
                                                             Execution<Space> const& exec)
{
  auto const volume = region.volume();
  Buffer<std::int32_t, Space> out_in{out.capacity() * volume, exec};
  parts.offset_order = order_offsets(region, centre);
  bool const few = volume <= OffsetOrder::most;
  if (few) { parts.mask_keys = Buffer<std::uint32_t, Space>{out.capacity(), exec}; }
  in_table.visit([&](auto const& table) {
    using Key = typename decltype(table.packing)::KeyType;
    NeighborQuery<Dim, Key> const query{out.view(), table, region, generative};
    if (few) {
      for_each_ballot(out.capacity(), volume,
                      FindRowNeighbors<Dim, Key>{query, parts.offset_order, volume, out_in.data(),
                                                 parts.mask_keys.data()},
                      exec);
    } else {
      for_each(out_in.size(), FindNeighbors<Dim, Key>{query, volume, out_in.data()}, exec);
    }
  });
  return std::make_shared<KernelMap<Space>>(std::move(out_in), in.capacity(), out.capacity(), volume, centre,
                                            std::move(parts));
}

/// Throws where a coordinate that an output in `box` reads would overflow.
template <int Dim>
void check_reads(CoordinateBox<Dim> const& box, KernelRegion<Dim> const& region)
{
  for (int i = 0; i < Dim && !box.empty(); ++i) {
    std::int64_t const stride = region.stride[i];
    auto const [lowest, highest] = region.offsets(i);
    expects(box.lower[i] * stride + lowest >= INT_MIN && box.upper[i] * stride + highest <= INT_MAX,
            "convolution: outputs ", box.lower[i], " to ", box.upper[i], " on axis ", i, " at stride ",
            stride, " read coordinates that do not fit 32 bits");
  }
}

/// The map from `in` to `out`, not cached.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> find_neighbors(CoordinateSet<Dim, Space>& in,
                                                               CoordinateSet<Dim, Space> const& out,
                                                               KernelRegion<Dim> const& region,
                                                               bool generative, Execution<Space> const& exec)
{
  if (!generative) { check_reads(out.box(), region); }
  bool const is_same_set = &in == &out;
  int const centre = is_same_set ? region.centre() : -1;
  KernelMapParts<Space> parts;
  parts.is_releasable = out.fixed_capacity() && out.fixed_capacity()->releases_maps;
  if (is_same_set && !generative) { parts.mirror = mirror_of(region); }
  auto const map_stream = access(in).next_map_stream();
  parts.map_stream = map_stream;
  parts.out_count = out.row_count().count;
  parts.in_count = in.row_count().count;
  auto const on_own_stream = [&](auto const& make) { return on_map_stream(map_stream, exec, make); };
  if (region.volume() == 1 && centre == 0) {
    parts.is_releasable = false;  // it is read as it is
    return on_own_stream(
        [&](Execution<Space> const& own) { return identity_map(in.row_count(), std::move(parts), own); });
  }
  if (auto const by_parent = generative ? nullptr : find_parents(in, out, region)) {
    return on_own_stream([&](Execution<Space> const& own) {
      return map_by_parents(in, out, *by_parent, region, std::move(parts), own);
    });
  }
  auto const table = coordinate_table(in, exec);
  return on_own_stream([&](Execution<Space> const& own) {
    return map_by_table(in, out, *table, region, centre, generative, std::move(parts), own);
  });
}

/// The map of a set to `out`.
template <int Dim, class Space>
struct KernelMapKey {
  using Value = KernelMap<Space>;
  KernelRegion<Dim> region;
  bool generative;
  CoordinateSet<Dim, Space> const* out;
  friend bool operator==(KernelMapKey const& a, KernelMapKey const& b)
  {
    return a.region == b.region && a.generative == b.generative && a.out == b.out;
  }
};

/// The map of `in` -> `out` under `region`, cached by `in`.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> cached_map(CoordinateSet<Dim, Space>& in,
                                                           CoordinateSet<Dim, Space> const& out,
                                                           KernelRegion<Dim> const& region, bool generative,
                                                           Execution<Space> const& exec)
{
  return access(in).cache().get_or_make(KernelMapKey<Dim, Space>{region, generative, &out},
                                        [&] { return find_neighbors(in, out, region, generative, exec); });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
