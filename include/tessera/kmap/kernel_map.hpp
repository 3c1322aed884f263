// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/object_cache.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/parallel.hpp>

#include <cstdint>
#include <memory>
#include <mutex>

namespace tessera {
inline namespace v0 {

/// Which input row feeds which output row under which kernel offset.
///
/// `out_in(o, k)` is the input row that output row o reads under offset k, or -1. Rows that are not in use,
/// of sets whose number of rows is not known to the host, have no neighbours. The map owns what is derived
/// from it (transposed map, pair lists, tile orders), so that layers which share a map share those too.
template <class Space>
class KernelMap {
 public:
  using space = Space;

  /// @param out_in  [num_out, volume] rows of the input, or -1
  /// @param centre  the offset under which every row reads itself, or -1
  KernelMap(Buffer<std::int32_t, Space>&& out_in, std::int64_t num_in, std::int64_t num_out, int volume,
            int centre)
      : out_in_{std::move(out_in)}, num_in_{num_in}, num_out_{num_out}, volume_{volume}, centre_{centre}
  {}

  /// [num_out, volume] in `Space`.
  [[nodiscard]] std::int32_t const* out_in() const noexcept { return out_in_.data(); }
  /// Rows of the sets, their capacity: in use or not.
  [[nodiscard]] std::int64_t num_in() const noexcept { return num_in_; }
  [[nodiscard]] std::int64_t num_out() const noexcept { return num_out_; }
  [[nodiscard]] int volume() const noexcept { return volume_; }
  [[nodiscard]] int centre() const noexcept { return centre_; }
  /// Whether every row in use reads itself and nothing else.
  [[nodiscard]] bool is_identity() const noexcept { return volume_ == 1 && centre_ == 0; }

  /// @name For later stages
  /// @{
  [[nodiscard]] detail::ObjectCache& cache() noexcept { return cache_; }
  [[nodiscard]] std::recursive_mutex& mutex() noexcept { return mutex_; }
  /// @}

 private:
  Buffer<std::int32_t, Space> out_in_;
  std::int64_t num_in_;
  std::int64_t num_out_;
  int volume_;
  int centre_;
  detail::ObjectCache cache_;
  std::recursive_mutex mutex_;
};

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

}  // namespace detail

/// The map of the convolution that undoes `map`'s: pairs swapped, offsets keep their numbers.
///
/// `transposed.out_in(i, k) = o` exactly when `map.out_in(o, k) = i`. Made once and kept by `map`.
/// Cost: one pass over the map, the first time. Stream: enqueues a fill and a kernel, does not wait.
/// Determinism: same map, same result.
template <class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> transpose(KernelMap<Space>& map, Execution<Space> const& exec)
{
  std::lock_guard lock{map.mutex()};
  return map.cache().template get_or_make<KernelMap<Space>>("transposed", [&] {
    Buffer<std::int32_t, Space> transposed{map.num_in() * map.volume(), exec};
    fill_bytes(transposed, 0xff, exec);
    detail::for_each(map.num_out() * map.volume(),
                     detail::TransposePairs{map.out_in(), transposed.data(), map.volume()}, exec);
    return std::make_shared<KernelMap<Space>>(std::move(transposed), map.num_out(), map.num_in(),
                                              map.volume(), map.centre());
  });
}

}  // namespace v0
}  // namespace tessera
