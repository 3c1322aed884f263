// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/sort.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace tessera {
inline namespace v0 {

/// The pairs of a kernel map as lists, one after the other by offset; what gather-scatter and fetch-on-demand
/// read.
template <class Space>
struct PairList {
  Buffer<std::int32_t, Space> in;        ///< [num_pairs] input rows: by offset, then by output row
  Buffer<std::int32_t, Space> out;       ///< [num_pairs] output rows
  Buffer<std::int64_t, Space> begin;     ///< [volume + 1] where each offset's pairs begin
  std::vector<std::int64_t> host_begin;  ///< the same for the host

  [[nodiscard]] std::int64_t num_pairs() const noexcept { return host_begin.back(); }
  [[nodiscard]] std::int64_t num_pairs(int k) const
  {
    return host_begin[static_cast<std::size_t>(k) + 1] - host_begin[static_cast<std::size_t>(k)];
  }
};

namespace detail {

/// present[k * num_out + o] = 1 where output o has a pair of offset k; one further 0 closes the array.
struct MarkPairs {
  std::int32_t const* out_in;  // [num_out, volume]
  std::int64_t* present;       // [volume * num_out + 1]
  std::int64_t num_out;
  int volume;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const k = i / num_out;
    auto const o = i - k * num_out;
    present[i] = k < volume && out_in[o * volume + k] >= 0 ? 1 : 0;
  }
};

/// Writes each pair where the sums of MarkPairs put it, and where each offset begins.
struct WritePairs {
  std::int32_t const* out_in;  // [num_out, volume]
  std::int64_t const* place;   // [volume * num_out + 1]
  std::int32_t* in;            // [num_pairs]
  std::int32_t* out;           // [num_pairs]
  std::int64_t num_out;
  int volume;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const k = i / num_out;
    auto const o = i - k * num_out;
    auto const row = out_in[o * volume + k];
    if (row >= 0) {
      in[place[i]] = row;
      out[place[i]] = static_cast<std::int32_t>(o);
    }
  }
};

struct CollectBegins {
  std::int64_t const* place;  // [volume * num_out + 1]
  std::int64_t* begin;        // [volume + 1]
  std::int64_t num_out;

  TESSERA_HOST_DEVICE void operator()(std::int64_t k) const { begin[k] = place[k * num_out]; }
};

}  // namespace detail

namespace detail {

template <class Space>
struct PairListKey {
  using Value = PairList<Space>;
  friend bool operator==(PairListKey, PairListKey) { return true; }
};

}  // namespace detail

/// The pair lists of `map`, made at the first call and kept by the map.
///
/// Pair p of offset k, `begin[k] <= p < begin[k + 1]`, satisfies `map.out_in(out[p], k) = in[p]`.
/// Cost: two passes over the map and a scan, the first time. Stream: waits once, for the number of pairs.
/// Determinism: same map, same lists.
template <class Space>
[[nodiscard]] std::shared_ptr<PairList<Space>> pair_list(KernelMap<Space>& map, Execution<Space> const& exec)
{
  std::lock_guard lock{map.mutex()};
  return map.cache().get_or_make(detail::PairListKey<Space>{}, [&] {
    auto const volume = map.volume();
    auto const num_out = map.num_out();
    auto lists = std::make_shared<PairList<Space>>();
    if (num_out == 0) {
      lists->host_begin.assign(static_cast<std::size_t>(volume) + 1, 0);
      lists->begin = upload(lists->host_begin, exec);
      return lists;
    }
    auto const cells = num_out * volume;
    Buffer<std::int64_t, Space> place{cells + 1, exec};
    for_each(cells + 1, detail::MarkPairs{map.out_in(exec), place.data(), num_out, volume}, exec);
    detail::Scan<Space>::exclusive(place.data(), place.data(), cells + 1, exec);
    lists->begin = Buffer<std::int64_t, Space>{volume + 1, exec};
    for_each(volume + 1, detail::CollectBegins{place.data(), lists->begin.data(), num_out}, exec);
    lists->host_begin = download(lists->begin, exec);
    lists->in = Buffer<std::int32_t, Space>{lists->num_pairs(), exec};
    lists->out = Buffer<std::int32_t, Space>{lists->num_pairs(), exec};
    for_each(cells,
             detail::WritePairs{map.out_in(exec), place.data(), lists->in.data(), lists->out.data(), num_out,
                                volume},
             exec);
    return lists;
  });
}

}  // namespace v0
}  // namespace tessera
