// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/cache.hpp>
#include <tessera/core/detail/map_stream_work.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/kmap/offset_mirror.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Offsets from the commonest to the rarest, as far as their places in the kernel tell; those of kernels of
/// more than 32 offsets as they are numbered.
struct OffsetOrder {
  static constexpr int most = 32;

  std::uint8_t offset_at[most] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                  16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
};

template <class Space>
class KernelMap;

namespace detail {
template <class Map>
class KernelMapAccess;
}  // namespace detail

/// What producers of a kernel map may know about it.
template <class Space>
struct KernelMapParts {
  OffsetOrder offset_order;
  /// [num_out] or none: bit j is 0 where the row has a neighbour under offset `offset_order.offset_at[j]`;
  /// bits from the volume on are 1.
  Buffer<std::uint32_t, Space> mask_keys = {};
  /// [num_in] or none, of maps under which an input feeds one output: `out * volume + k`, or -1.
  Buffer<std::int32_t, Space> pair_of_input = {};
  /// Whether a tile map may replace the map itself, which is rebuilt from it when asked for:
  /// FixedCapacity::releases_maps.
  bool is_releasable = false;
  /// [1] how many rows of the outputs and of the inputs are in use, or null: all; they belong to the sets.
  std::int32_t const* out_count = nullptr;
  std::int32_t const* in_count = nullptr;
  /// Of a map from a set to itself: which offsets are each other's negatives, where all have one.
  OffsetMirror mirror = {};
  /// The map that this one is the transposed of, if it is one.
  std::weak_ptr<KernelMap<Space>> transposed_of = {};
  /// The map stream on which the map and everything derived from it are made, if any.
  detail::MapStream<Space> map_stream = {};
};

/// Which input row feeds which output row under which kernel offset.
///
/// `out_in(o, k)` is the input row that output row o reads under offset k, or -1. Rows that are not in use,
/// of sets whose number of rows is not known to the host, have no neighbours. The map owns what is derived
/// from it (transposed map, pair lists, tile orders), so that layers which share a map share those too. It
/// must not outlive the coordinate sets it was made from.
template <class Space>
class KernelMap : public std::enable_shared_from_this<KernelMap<Space>> {
 public:
  using space = Space;

  /// @param out_in  [num_out, volume] rows of the input, or -1
  /// @param centre  the offset under which every row reads itself, or -1
  /// @throws invalid_argument  a mirror of another number of offsets, or of a map between different sets
  KernelMap(Buffer<std::int32_t, Space>&& out_in, std::int64_t num_in, std::int64_t num_out, int volume,
            int centre, KernelMapParts<Space>&& parts = {})
      : out_in_{std::move(out_in)},
        num_in_{num_in},
        num_out_{num_out},
        volume_{volume},
        centre_{centre},
        parts_{std::move(parts)}
  {
    auto const& mirror = parts_.mirror;
    detail::expects(!mirror.exists() || (mirror.volume() == volume && num_in == num_out),
                    "kernel map: a mirror of ", mirror.volume(), " offsets for a map of ", volume, " from ",
                    num_in, " rows to ", num_out);
  }

  /// [num_out, volume] in `Space`, for work on `exec`; valid as long as the map. Call it before a parallel loop,
  /// not inside: every call takes the map's lock.
  /// Stream: where the map is made on a map stream, waits for that on `exec`; may enqueue a kernel there, of a
  /// map that was released.
  [[nodiscard]] std::int32_t const* out_in(Execution<Space> const& exec) const
  {
    std::lock_guard lock{mutex_};
    is_pinned_ = true;
    return detail::on_map_stream(parts_.map_stream, exec, [&](Execution<Space> const&) { return rebuilt(); });
  }
  /// Rows of the sets, their capacity: in use or not.
  [[nodiscard]] std::int64_t num_in() const noexcept { return num_in_; }
  [[nodiscard]] std::int64_t num_out() const noexcept { return num_out_; }
  [[nodiscard]] int volume() const noexcept { return volume_; }
  [[nodiscard]] int centre() const noexcept { return centre_; }
  /// Whether every row in use reads itself and nothing else.
  [[nodiscard]] bool is_identity() const noexcept { return volume_ == 1 && centre_ == 0; }
  /// Whether pairs read backwards are pairs: `out_in(o, k) = i` exactly when
  /// `out_in(i, mirrored_offset(k)) = o`. So it is where source and target set are one and the kernel's
  /// offsets are closed under negation: of a region, where `2 anchor = (size - 1) dilation` on every axis.
  [[nodiscard]] bool is_symmetric() const noexcept { return parts_.mirror.exists(); }
  /// The offset whose pairs are those of offset k read backwards. @pre  is_symmetric()
  [[nodiscard]] int mirrored_offset(int k) const { return parts_.mirror(k); }
  /// mirrored_offset() as a whole; none where the map is not symmetric.
  [[nodiscard]] OffsetMirror const& mirror() const noexcept { return parts_.mirror; }

  /// What else was known when the map was made.
  [[nodiscard]] KernelMapParts<Space> const& parts() const noexcept { return parts_; }

 private:
  template <class Map>
  friend class detail::KernelMapAccess;

  /// The entries, rebuilt if they were released. @pre  the caller holds the lock
  [[nodiscard]] std::int32_t const* rebuilt() const
  {
    if (rebuild_) {
      out_in_ = rebuild_();
      rebuild_ = nullptr;
    }
    return out_in_.data();
  }

  mutable Buffer<std::int32_t, Space> out_in_;
  mutable std::function<Buffer<std::int32_t, Space>()> rebuild_;  // of a map that was released, else empty
  std::int64_t num_in_;
  std::int64_t num_out_;
  int volume_;
  int centre_;
  KernelMapParts<Space> parts_;
  detail::Cache cache_;
  mutable bool is_pinned_ = false;  // a pointer was given out that must stay valid
  mutable std::recursive_mutex mutex_;
};

namespace detail {

/// What the stages of the library may do with a map and its users may not.
template <class Map>
class KernelMapAccess {
 public:
  using Space = typename Map::space;

  explicit KernelMapAccess(Map& map) : map_{map} {}

  /// What is derived from the map. @pre  the caller holds mutex()
  [[nodiscard]] Cache& cache() const noexcept { return map_.cache_; }
  [[nodiscard]] std::recursive_mutex& mutex() const noexcept { return map_.mutex_; }

  /// out_in() for work on the stream that the map is made on, until tile_map() may release it.
  /// Stream: may enqueue a kernel there.
  [[nodiscard]] std::int32_t const* materialize() const
  {
    std::lock_guard lock{map_.mutex_};
    return map_.rebuilt();
  }
  /// out_in() for work on the stream that the map was asked for on, which has waited for it already; valid as
  /// long as the map. Waits for a map stream only where the map has to be rebuilt there.
  [[nodiscard]] std::int32_t const* pin(Execution<Space> const& exec) const
  {
    std::lock_guard lock{map_.mutex_};
    map_.is_pinned_ = true;
    return map_.rebuild_ ? map_.out_in(exec) : map_.out_in_.data();
  }
  /// Whether a tile map may take the map's place now. @pre  the caller holds mutex()
  [[nodiscard]] bool is_releasable() const noexcept { return map_.parts_.is_releasable && !map_.is_pinned_; }
  /// Gives the map's memory back; `rebuild()` returns what it held. @pre  the caller holds mutex()
  void release(std::function<Buffer<std::int32_t, Space>()> rebuild) const
  {
    map_.rebuild_ = std::move(rebuild);
    map_.out_in_ = {};
  }

 private:
  Map& map_;
};

template <class Space>
[[nodiscard]] KernelMapAccess<KernelMap<Space>> access(KernelMap<Space>& map)
{
  return KernelMapAccess<KernelMap<Space>>{map};
}
template <class Space>
[[nodiscard]] KernelMapAccess<KernelMap<Space> const> access(KernelMap<Space> const& map)
{
  return KernelMapAccess<KernelMap<Space> const>{map};
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
