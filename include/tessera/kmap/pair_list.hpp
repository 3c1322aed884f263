// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace tessera {
inline namespace v0 {

/// The pairs of a kernel map as lists, one after the other by offset; what gather-scatter and fetch-on-demand
/// read. How many there are stays in the space until the host asks.
template <class Space>
class PairList {
 public:
  Buffer<std::int32_t, Space> in;     ///< [room] input rows: by offset, then by output row
  Buffer<std::int32_t, Space> out;    ///< [room] output rows
  Buffer<std::int64_t, Space> begin;  ///< [volume + 1] where each offset's pairs begin

  /// `begin` for the host. The reference is valid as long as the lists.
  /// Stream: waits for `exec` the first time, later never.
  [[nodiscard]] std::vector<std::int64_t> const& begin_on_host(Execution<Space> const& exec) const
  {
    std::lock_guard lock{mutex_};
    if (begin_on_host_.empty()) { begin_on_host_ = download(begin, exec); }
    return begin_on_host_;
  }
  /// The number of pairs.
  /// Stream: as begin_on_host().
  [[nodiscard]] std::int64_t num_pairs(Execution<Space> const& exec) const
  {
    return begin_on_host(exec).back();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::vector<std::int64_t> begin_on_host_;  // empty until asked for
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

/// begin[k] = place[k * step], where the sums of each offset's counts begin.
struct CollectBegins {
  std::int64_t const* place;  // [volume * step + 1]
  std::int64_t* begin;        // [volume + 1]
  std::int64_t step;

  TESSERA_HOST_DEVICE void operator()(std::int64_t k) const { begin[k] = place[k * step]; }
};

/// Fills the lists of a map that has entries; kmap/detail/list_pairs.cuh has the device's, which reads a row's
/// entries side by side.
template <class Space>
struct PairLister;

template <>
struct PairLister<Host> {
  static void run(PairList<Host>& lists, std::int32_t const* out_in, std::int64_t num_out, int volume,
                  std::int64_t /*most_pairs*/, Execution<Host> const& exec)
  {
    auto const entries = num_out * volume;
    Buffer<std::int64_t, Host> place{entries + 1, exec};
    for_each(entries + 1, MarkPairs{out_in, place.data(), num_out, volume}, exec);
    Scan<Host>::exclusive(place.data(), place.data(), entries + 1, exec);
    for_each(volume + 1, CollectBegins{place.data(), lists.begin.data(), num_out}, exec);
    // the host's memory is that of the count: nothing to wait for
    lists.in = Buffer<std::int32_t, Host>{lists.num_pairs(exec), exec};
    lists.out = Buffer<std::int32_t, Host>{lists.num_pairs(exec), exec};
    for_each(entries, WritePairs{out_in, place.data(), lists.in.data(), lists.out.data(), num_out, volume},
             exec);
  }
};

template <class Space>
struct PairListKey {
  using Value = PairList<Space>;
  friend bool operator==(PairListKey, PairListKey) { return true; }
};

/// Room for the pairs of a map: an output and an offset have one at most.
template <class Space>
[[nodiscard]] std::int64_t most_pairs(KernelMap<Space> const& map)
{
  if (!map.parts().pair_of_input.empty()) { return map.num_in(); }
  return map.num_out() * map.volume();
}

template <class Space>
[[nodiscard]] std::shared_ptr<PairList<Space>> make_pair_list(KernelMap<Space>& map,
                                                              Execution<Space> const& exec)
{
  auto const volume = map.volume();
  auto const num_out = map.num_out();
  auto lists = std::make_shared<PairList<Space>>();
  lists->begin = Buffer<std::int64_t, Space>{volume + 1, exec};
  if (num_out == 0 || volume == 0) {
    fill_bytes(lists->begin, 0, exec);
    return lists;
  }
  PairLister<Space>::run(*lists, map.out_in(exec), num_out, volume, most_pairs(map), exec);
  return lists;
}

}  // namespace detail

/// The pair lists of `map`, made at the first call and kept by the map.
///
/// Pair p of offset k, `begin[k] <= p < begin[k + 1]`, satisfies `map.out_in(out[p], k) = in[p]`.
/// Cost: two passes over the map and a scan, the first time; on the device room for as many pairs as there can
/// be, 8 bytes per row and offset.
/// Stream: enqueues kernels, does not wait.
/// Determinism: same map, same lists.
template <class Space>
[[nodiscard]] std::shared_ptr<PairList<Space>> pair_list(KernelMap<Space>& map, Execution<Space> const& exec)
{
  std::lock_guard lock{detail::access(map).mutex()};
  return detail::access(map).cache().get_or_make(detail::PairListKey<Space>{},
                                                 [&] { return detail::make_pair_list(map, exec); });
}

}  // namespace v0
}  // namespace tessera
