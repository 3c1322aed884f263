// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/sort.hpp>
#include <tessera/kmap/detail/mask_keys.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <memory>
#include <mutex>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The task of sorting rows by the places of their masks in the Gray code, the last first.
template <class Key>
struct OrderRows {
  using KeyType = Key;

  Key const* keys;      // [num_out] the complements of masks
  std::int32_t* order;  // [num_out]

  [[nodiscard]] TESSERA_HOST_DEVICE Key key(std::int64_t row) const
  {
    return static_cast<Key>(~gray_place(static_cast<Key>(~keys[row])));
  }
  TESSERA_HOST_DEVICE void store(std::int64_t place, Key, std::int32_t row) const { order[place] = row; }
};

template <class Key, class Space>
void order_by_written_keys(KernelMap<Space> const& map, SplitOffsets const& offsets, int split,
                           std::int32_t* order, Execution<Space> const& exec)
{
  Buffer<Key, Space> keys{map.num_out(), exec};
  MaskBits const mask{map.parts().offset_order, offsets, split, static_cast<int>(sizeof(Key)) * 8};
  for_each(map.num_out(), WriteMaskKeys<Key>{access(map).materialize(), keys.data(), map.volume(), mask},
           exec);
  Sort<Space>::run(OrderRows<Key>{keys.data(), order}, map.num_out(), mask.bits, exec);
}

/// The sorted order of a map's rows, for so many splits.
template <class Space>
struct RowOrderKey {
  using Value = Buffer<std::int32_t, Space>;
  int splits;
  friend bool operator==(RowOrderKey a, RowOrderKey b) { return a.splits == b.splits; }
};

/// The rows of each split in the order that tile_map() describes, [splits, num_out]. Made once and kept by the
/// map.
template <class Space>
[[nodiscard]] std::shared_ptr<Buffer<std::int32_t, Space>> row_order(KernelMap<Space>& map, int splits,
                                                                     Execution<Space> const& exec)
{
  std::lock_guard lock{access(map).mutex()};
  return access(map).cache().get_or_make(RowOrderKey<Space>{splits}, [&] {
    auto order = std::make_shared<Buffer<std::int32_t, Space>>(splits * map.num_out(), exec);
    auto const& keys = map.parts().mask_keys;
    SplitOffsets const offsets{map.volume(), ceil_div(map.volume(), splits)};
    for (int split = 0; split < splits && map.num_out() > 0; ++split) {
      auto* const part = order->data() + split * map.num_out();
      if (splits == 1 && !keys.empty()) {
        Sort<Space>::run(OrderRows<std::uint32_t>{keys.data(), part}, map.num_out(), map.volume(), exec);
      } else if (offsets.length <= 32) {
        order_by_written_keys<std::uint32_t>(map, offsets, split, part, exec);
      } else {
        order_by_written_keys<std::uint64_t>(map, offsets, split, part, exec);
      }
    }
    return order;
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
