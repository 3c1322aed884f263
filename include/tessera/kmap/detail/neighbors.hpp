// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/hash/coordinate_table.hpp>
#include <tessera/kmap/geometry.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <memory>
#include <string>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Relation of inputs and outputs: `in = stride * out + offset`, or `stride * in = out + offset` when
/// `generative`.
template <int Dim, class Key>
struct FindNeighbors {
  CoordinateView<Dim> outputs;
  CoordinateTableRef<Dim, Key> inputs;
  KernelRegion<Dim> region;
  bool generative;
  int volume;
  std::int32_t* out_in;  // [num_out, volume]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    std::int64_t const row = divide(static_cast<long long>(i), volume);
    if (row >= outputs.size()) {
      out_in[i] = -1;
      return;
    }
    auto const out = outputs[row];
    auto const offset = region.offset(static_cast<int>(i - row * volume));
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
    out_in[i] = on_lattice ? inputs.find(in) : -1;
  }
};

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
                                                             Execution<Space> const& exec)
{
  Buffer<std::int32_t, Space> out_in{rows.capacity, exec};
  for_each(rows.capacity, NumberIdentity{out_in.data(), rows}, exec);
  return std::make_shared<KernelMap<Space>>(std::move(out_in), rows.capacity, rows.capacity, 1, 0);
}

/// The map from `in` to `out`, not cached.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> find_neighbors(CoordinateSet<Dim, Space>& in,
                                                               CoordinateSet<Dim, Space> const& out,
                                                               KernelRegion<Dim> const& region,
                                                               bool generative, Execution<Space> const& exec)
{
  auto const volume = region.volume();
  if (&in == &out && volume == 1 && region.centre() == 0) { return identity_map(in.row_count(), exec); }
  Buffer<std::int32_t, Space> out_in{out.capacity() * volume, exec};
  coordinate_table(in, exec)->visit([&](auto const& table) {
    using Key = typename decltype(table.packing)::KeyType;
    for_each(out.capacity() * volume,
             FindNeighbors<Dim, Key>{out.view(), table, region, generative, volume, out_in.data()}, exec);
  });
  return std::make_shared<KernelMap<Space>>(std::move(out_in), in.capacity(), out.capacity(), volume,
                                            &in == &out ? region.centre() : -1);
}

template <int Dim>
[[nodiscard]] std::string name_of(KernelRegion<Dim> const& r)
{
  return concat(" size ", list(r.size), " stride ", list(r.stride), " dilation ", list(r.dilation),
                " anchor ", list(r.anchor));
}

/// A different text for every type, so that two policies which chose one name do not share a cache entry.
template <class T>
[[nodiscard]] std::string type_key()
{
  static char anchor = 0;  // not const: equal constants may be folded into one
  return concat(" at ", static_cast<void const*>(&anchor));
}

/// The map of `in` -> `out` under `region`, cached by `in`.
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> cached_map(CoordinateSet<Dim, Space>& in,
                                                           CoordinateSet<Dim, Space> const& out,
                                                           KernelRegion<Dim> const& region, bool generative,
                                                           Execution<Space> const& exec)
{
  auto const name = concat("map ", generative, name_of(region), " to ", static_cast<void const*>(&out));
  return in.cache().template get_or_make<KernelMap<Space>>(
      name, [&] { return find_neighbors(in, out, region, generative, exec); });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
