// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/backend.hpp>
#include <tessera/conv/detail/operands_host.hpp>
#include <tessera/conv/detail/weight_gradient/host.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/kmap/pair_list.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// One thread's share of the implicit GEMM: blocks of output rows, each multiplied offset by offset, so that
/// an offset's weight is fetched once for many rows.
template <class Scalar>
class HostBlocks {
 public:
  using Sum = accumulator_t<Scalar>;

  HostBlocks(HostOperands<Scalar> const& operands, std::int32_t const* out_in, int volume,
             std::int64_t rows_per_block, int splits, Execution<Host> const& exec)
      : operands_{operands},
        out_in_{out_in},
        volume_{volume},
        rows_per_block_{rows_per_block},
        splits_{splits},
        in_{chunk * list_stride(), exec},
        out_{chunk * list_stride(), exec},
        sums_{rows_per_block * operands.width(), exec},
        total_{splits > 1 ? sums_.size() : 0, exec}
  {}

  /// Rows [begin, end) of the output, at most rows_per_block.
  void run(std::int64_t begin, std::int64_t end)
  {
    auto const count = (end - begin) * operands_.width();
    auto const per_split = ceil_div(volume_, splits_);
    for (int first = 0; first < volume_; first += per_split) {
      std::fill_n(sums_.data(), count, Sum{0});
      auto const last = std::min(first + per_split, volume_);
      for (int k = first; k < last; k += chunk) { add_offsets(begin, end, k, std::min(k + chunk, last)); }
      if (splits_ > 1 && first == 0) {
        total_.swap(sums_);
      } else if (splits_ > 1) {
        for (std::int64_t i = 0; i < count; ++i) { total_.data()[i] += sums_.data()[i]; }
      }
    }
    operands_.store(splits_ > 1 ? total_.data() : sums_.data(), begin, end);
  }

 private:
  static constexpr int chunk = 32;  // offsets whose pairs are looked up at once

  /// One cache line more than a block's rows, so that the ends of the lists do not fall into one set of the
  /// cache.
  [[nodiscard]] std::int64_t list_stride() const { return rows_per_block_ + 16; }

  void add_offsets(std::int64_t begin, std::int64_t end, int first, int last)
  {
    std::array<std::int64_t, chunk> count{};
    for (auto row = begin; row < end; ++row) {
      auto const* const from = out_in_ + row * volume_;
      for (int k = first; k < last; ++k) {  // without branches, which would be mispredicted
        auto& n = count[static_cast<std::size_t>(k - first)];
        auto const place = (k - first) * list_stride() + n;
        in_.data()[place] = from[k];
        out_.data()[place] = static_cast<std::int32_t>(row - begin);
        n += from[k] >= 0 ? 1 : 0;
      }
    }
    for (int k = first; k < last; ++k) {
      auto const list = (k - first) * list_stride();
      operands_.add_product(k, operands_.features(), in_.data() + list, out_.data() + list,
                            count[static_cast<std::size_t>(k - first)], sums_.data());
    }
  }

  HostOperands<Scalar> const& operands_;
  std::int32_t const* out_in_;  // [num_out, volume]
  int volume_;
  std::int64_t rows_per_block_;
  int splits_;
  Buffer<std::int32_t, Host> in_;   // [chunk, list_stride] the pairs' input rows
  Buffer<std::int32_t, Host> out_;  // [chunk, list_stride] and output rows, counted from the block's first
  Buffer<Sum, Host> sums_;          // [rows_per_block, width]
  Buffer<Sum, Host> total_;         // the same, with more than one split
};

/// The dataflows on the host. Products are exact in every MathMode; the sums of an output row depend on its
/// own inputs only, not on threads, on the order of rows or on what other rows read.
template <>
struct ConvolutionBackend<Host> {
  template <class Scalar>
  [[nodiscard]] static KernelPlan plan(ConvolutionArguments<Scalar> const& arguments, MapSummary const&, int,
                                       Execution<Host> const&, bool has_operation = true)
  {
    KernelPlan plan;
    plan.operation = arguments.operation;
    plan.falls_back = !has_operation;
    return plan;
  }
  [[nodiscard]] static std::int64_t packed_size(KernelPlan const&) { return 0; }
  template <class Scalar>
  static void pack(KernelPlan const&, WeightView<Scalar> const&, Scalar*, Execution<Host> const&)
  {}

  /// `sort` and the tile change nothing here: absent neighbours are never multiplied.
  template <class TilePolicy, class Scalar>
  static void implicit_gemm(ConvolutionArguments<Scalar> const& arguments, KernelMap<Host>& map,
                            bool /*sort*/, int splits, Execution<Host> const& exec)
  {
    expects(splits >= 1, "implicit_gemm: splits is ", splits, "; it must be at least 1");
    HostOperands<Scalar> const operands{arguments, map, exec};
    auto const rows = rows_per_block(map.num_out(), operands.width(), exec);
    auto const* const out_in =
        map.out_in(exec);  // here, since a released map is rebuilt by a loop of its own
    std::atomic<std::int64_t> next{0};
    exec.parallel_for(exec.num_threads(), 1, [&](std::int64_t, std::int64_t) {
      HostBlocks<Scalar> blocks{operands, out_in, map.volume(), rows, splits, exec};
      for (auto begin = next.fetch_add(rows); begin < map.num_out(); begin = next.fetch_add(rows)) {
        blocks.run(begin, std::min(begin + rows, map.num_out()));
      }
    });
  }

  /// Each offset's product is summed by itself, then added to the output's sums.
  template <class Scalar>
  static void gather_scatter(ConvolutionArguments<Scalar> const& arguments, KernelMap<Host>& map,
                             Execution<Host> const& exec)
  {
    using Sum = accumulator_t<Scalar>;
    auto const channels = arguments.in_channels;
    for_each_offset(arguments, map, exec, [&](auto const& operands, int k, auto const& pairs, Sum* sums) {
      auto const width = operands.width();
      std::vector<std::int32_t> order(static_cast<std::size_t>(pairs.count));
      std::iota(order.begin(), order.end(), 0);
      Buffer<Sum, Host> gathered{pairs.count * channels, exec};
      Buffer<Sum, Host> product{pairs.count * width, exec};
      for (std::int64_t p = 0; p < pairs.count; ++p) {
        std::copy_n(operands.features() + pairs.in[p] * std::int64_t{channels}, channels,
                    gathered.data() + p * channels);
      }
      std::fill_n(product.data(), product.size(), Sum{0});
      operands.add_product(k, gathered.data(), order.data(), order.data(), pairs.count, product.data());
      for (std::int64_t p = 0; p < pairs.count; ++p) {
        auto* const to = sums + pairs.out[p] * width;
        auto const* const from = product.data() + p * width;
        for (std::int64_t c = 0; c < width; ++c) { to[c] += from[c]; }
      }
    });
  }

  /// Each offset's products are added to the output's sums as they are made.
  template <class Scalar>
  static void fetch_on_demand(ConvolutionArguments<Scalar> const& arguments, KernelMap<Host>& map,
                              Execution<Host> const& exec)
  {
    for_each_offset(arguments, map, exec, [](auto const& operands, int k, auto const& pairs, auto* sums) {
      operands.add_product(k, operands.features(), pairs.in, pairs.out, pairs.count, sums);
    });
  }

  template <class Scalar>
  static void weight_gradient(WeightGradientArguments<Scalar> const& arguments, KernelMap<Host>& map,
                              Execution<Host> const& exec)
  {
    sum_weight_gradient(arguments, map, exec,
                        [&](std::int32_t const* out_in, std::int64_t first, std::int64_t count, auto* parts) {
                          sum_weight_slabs(arguments, out_in, map.num_out(), map.volume(), first, count,
                                           parts, exec);
                        });
  }

 private:
  struct Pairs {
    std::int32_t const* in;
    std::int32_t const* out;
    std::int64_t count;
  };

  static constexpr std::int64_t pairs_per_piece = 256;

  /// Enough rows to use a weight often once it is in the cache, few enough that their sums stay there too
  /// and that every thread gets several blocks.
  [[nodiscard]] static std::int64_t rows_per_block(std::int64_t num_out, std::int64_t width,
                                                   Execution<Host> const& exec)
  {
    auto const cached = std::clamp<std::int64_t>(65536 / width, 256, 1024);
    auto const shared = ceil_div(num_out, 4LL * exec.num_threads());
    return std::clamp<std::int64_t>(shared, 32, cached);
  }

  /// Calls `add(operands, k, pairs, sums)` for pieces of the pair lists, offsets ascending and pieces of one
  /// offset, which have no output row in common, in parallel; then stores the sums.
  template <class Scalar, class Add>
  static void for_each_offset(ConvolutionArguments<Scalar> const& arguments, KernelMap<Host>& map,
                              Execution<Host> const& exec, Add const& add)
  {
    using Sum = accumulator_t<Scalar>;
    HostOperands<Scalar> const operands{arguments, map, exec};
    auto const lists = pair_list(map, exec);
    auto const& begins = lists->begin_on_host(exec);
    Buffer<Sum, Host> sums{map.num_out() * operands.width(), exec};
    fill_bytes(sums, 0, exec);
    for (int k = 0; k < map.volume(); ++k) {
      auto const first = begins[static_cast<std::size_t>(k)];
      auto const num_pairs = begins[static_cast<std::size_t>(k) + 1] - first;
      exec.parallel_for(num_pairs, pairs_per_piece, [&](std::int64_t begin, std::int64_t end) {
        for (auto p = begin; p < end; p += pairs_per_piece) {
          Pairs const pairs{lists->in.data() + first + p, lists->out.data() + first + p,
                            std::min(pairs_per_piece, end - p)};
          add(operands, k, pairs, sums.data());
        }
      });
    }
    exec.parallel_for(map.num_out(), 1024, [&](std::int64_t begin, std::int64_t end) {
      operands.store(sums.data() + begin * operands.width(), begin, end);
    });
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
