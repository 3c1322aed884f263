// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/backend.hpp>
#include <tessera/conv/detail/microkernel_host.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/kmap/pair_list.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A convolution's operands in the type and layout that the host multiplies: weights as panels, features and
/// sums as accumulators.
template <class Scalar>
class HostOperands {
 public:
  using Sum = accumulator_t<Scalar>;

  HostOperands(ConvolutionArguments<Scalar> const& arguments, KernelMap<Host> const& map,
               Execution<Host> const& exec)
      : arguments_{arguments}, num_panels_{ceil_div(arguments.out_channels, panel_channels<Sum>)}
  {
    pack_weight(map.volume(), exec);
    if constexpr (!std::is_same_v<Scalar, Sum>) {
      converted_ = Buffer<Sum, Host>{map.num_in() * arguments.in_channels, exec};
      for_each(
          converted_.size(),
          [from = arguments.features, to = converted_.data()](std::int64_t i) {
            to[i] = static_cast<Sum>(from[i]);
          },
          exec);
    }
  }

  [[nodiscard]] Sum const* features() const
  {
    if constexpr (std::is_same_v<Scalar, Sum>) {
      return arguments_.features;
    } else {
      return converted_.data();
    }
  }

  /// Channels of a row of sums: the output's, rounded up to whole panels.
  [[nodiscard]] std::int64_t width() const { return std::int64_t{num_panels_} * panel_channels<Sum>; }

  /// `sums[out[p], :] += features[in[p], :] * weight[k]` for each of `count` pairs; an `out` may occur once.
  void add_product(int k, Sum const* features, std::int32_t const* in, std::int32_t const* out,
                   std::int64_t count, Sum* sums) const
  {
    PanelProduct<Sum> product;
    product.features = features;
    product.sums_stride = width();
    product.in = in;
    product.out = out;
    product.count = count;
    product.channels = arguments_.in_channels;
    for (int panel = 0; panel < num_panels_; ++panel) {
      product.panel = weight_.data() + (std::int64_t{k} * num_panels_ + panel) * panel_size();
      product.sums = sums + std::int64_t{panel} * panel_channels<Sum>;
      multiply_(product);
    }
  }

  /// output[row, :] = activation(sums[row - begin, :] + bias + residual) for the rows [begin, end), rounded
  /// once.
  void store(Sum const* sums, std::int64_t begin, std::int64_t end) const
  {
    auto const* const residual = arguments_.epilogue.residual.data;
    for (auto row = begin; row < end; ++row) {
      auto const* const from = sums + (row - begin) * width();
      auto* const to = arguments_.output + row * arguments_.out_channels;
      for (int c = 0; c < arguments_.out_channels; ++c) {
        auto sum = from[c];
        if (arguments_.bias != nullptr) { sum += static_cast<Sum>(arguments_.bias[c]); }
        if (residual != nullptr) { sum += static_cast<Sum>(residual[row * arguments_.out_channels + c]); }
        to[c] = static_cast<Scalar>(
            apply_activation(sum, arguments_.epilogue.activation, arguments_.epilogue.slope));
      }
    }
  }

 private:
  [[nodiscard]] std::int64_t panel_size() const
  {
    return std::int64_t{arguments_.in_channels} * panel_channels<Sum>;
  }

  /// weight [volume, in, out] as [volume, panels, in, panel_channels]: a panel lies together, so that it
  /// stays in the first-level cache, and the channels the last one has too many are 0.
  void pack_weight(int volume, Execution<Host> const& exec)
  {
    weight_ = Buffer<Sum, Host>{volume * num_panels_ * panel_size(), exec};
    exec.parallel_for(std::int64_t{volume} * num_panels_, 8, [this](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        auto const first = static_cast<int>(i % num_panels_) * panel_channels<Sum>;
        auto const used = std::min(arguments_.out_channels - first, panel_channels<Sum>);
        auto const* from =
            arguments_.weight + i / num_panels_ * arguments_.in_channels * arguments_.out_channels + first;
        auto* to = weight_.data() + i * panel_size();
        for (int c = 0; c < arguments_.in_channels; ++c) {
          for (int j = 0; j < panel_channels<Sum>; ++j) {
            to[j] = j < used ? static_cast<Sum>(from[j]) : Sum{0};
          }
          from += arguments_.out_channels;
          to += panel_channels<Sum>;
        }
      }
    });
  }

  ConvolutionArguments<Scalar> arguments_;
  int num_panels_;
  MultiplyPanel<Sum> multiply_ = multiply_panel<Sum>();
  Buffer<Sum, Host> weight_;
  Buffer<Sum, Host> converted_;
};

/// One thread's share of the implicit GEMM: blocks of output rows, each multiplied offset by offset, so that
/// an offset's weight is fetched once for many rows.
template <class Scalar>
class HostBlocks {
 public:
  using Sum = accumulator_t<Scalar>;

  HostBlocks(HostOperands<Scalar> const& operands, KernelMap<Host> const& map, std::int64_t rows_per_block,
             int splits, Execution<Host> const& exec)
      : operands_{operands},
        map_{map},
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
    auto const per_split = ceil_div(map_.volume(), splits_);
    for (int first = 0; first < map_.volume(); first += per_split) {
      std::fill_n(sums_.data(), count, Sum{0});
      auto const last = std::min(first + per_split, map_.volume());
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
      auto const* const from = map_.out_in() + row * map_.volume();
      for (int k = first; k < last; ++k) {  // without branches, which nobody could foresee
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
  KernelMap<Host> const& map_;
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
  [[nodiscard]] static bool takes_pair(ConvolutionArguments<Scalar> const&, int, Execution<Host> const&)
  {
    return false;
  }
  template <class Scalar>
  [[nodiscard]] static PackedWeight<Scalar, Host> pack(ConvolutionArguments<Scalar> const&, int,
                                                       Execution<Host> const&)
  {
    return {};
  }
  template <class Scalar>
  [[nodiscard]] static CarriedOut carried_out(ConvolutionArguments<Scalar> const&, KernelMap<Host> const&,
                                              int, Execution<Host> const&)
  {
    return {};
  }

  /// `sort` and the tile change nothing here: absent neighbours are never multiplied.
  template <class TilePolicy, class Scalar>
  static void implicit_gemm(ConvolutionArguments<Scalar> const& arguments, KernelMap<Host>& map,
                            bool /*sort*/, int splits, Execution<Host> const& exec)
  {
    expects(splits >= 1, "implicit_gemm: splits is ", splits, "; it must be at least 1");
    HostOperands<Scalar> const operands{arguments, map, exec};
    auto const rows = rows_per_block(map.num_out(), operands.width(), exec);
    std::atomic<std::int64_t> next{0};
    exec.parallel_for(exec.num_threads(), 1, [&](std::int64_t, std::int64_t) {
      HostBlocks<Scalar> blocks{operands, map, rows, splits, exec};
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
    Buffer<Sum, Host> sums{map.num_out() * operands.width(), exec};
    fill_bytes(sums, 0, exec);
    for (int k = 0; k < map.volume(); ++k) {
      auto const first = lists->host_begin[static_cast<std::size_t>(k)];
      exec.parallel_for(lists->num_pairs(k), pairs_per_piece, [&](std::int64_t begin, std::int64_t end) {
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
