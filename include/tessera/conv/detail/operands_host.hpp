// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/microkernel_host.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/build_notes.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

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
    note_unoptimized(static_cast<double>(map.num_out()) * map.volume() * arguments.in_channels *
                     arguments.out_channels);
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
    product.row_step = arguments_.in_channels;
    product.panels = weight_.data() + std::int64_t{k} * num_panels_ * panel_size();
    product.panel_size = panel_size();
    product.sums = sums;
    product.in = in;
    product.out = out;
    product.count = count;
    product.channels = arguments_.in_channels;
    product.num_panels = num_panels_;
    multiply_(product);
  }

  /// output[row, :] = epilogue(sums[row - begin, :]) for the rows [begin, end).
  void store(Sum const* sums, std::int64_t begin, std::int64_t end) const
  {
    auto const epilogue = epilogue_of(arguments_);
    for (auto row = begin; row < end; ++row) {
      auto const* const from = sums + (row - begin) * width();
      auto const to = row * arguments_.out_channels;
      for (int c = 0; c < arguments_.out_channels; ++c) {
        arguments_.output[to + c] = epilogue.template run<ActivationSet::all>(from[c], c, to + c);
      }
    }
  }

 private:
  [[nodiscard]] std::int64_t panel_size() const
  {
    return std::int64_t{arguments_.in_channels} * panel_channels<Sum>;
  }

  /// The weight as [volume, panels, in, panel_channels]: a panel is contiguous, so that it
  /// stays in the first-level cache, and the channels the last one has too many are 0.
  void pack_weight(int volume, Execution<Host> const& exec)
  {
    weight_ = Buffer<Sum, Host>{volume * num_panels_ * panel_size(), exec};
    auto const weight = weight_of(arguments_, volume);
    exec.parallel_for(std::int64_t{volume} * num_panels_, 8, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        auto const first = static_cast<int>(i % num_panels_) * panel_channels<Sum>;
        auto const used = std::min(arguments_.out_channels - first, panel_channels<Sum>);
        auto const* from = &weight.at(i / num_panels_, 0, first);
        auto* to = weight_.data() + i * panel_size();
        for (int c = 0; c < arguments_.in_channels; ++c) {
          for (int j = 0; j < panel_channels<Sum>; ++j) {
            to[j] = j < used ? static_cast<Sum>(from[j * weight.out_step]) : Sum{0};
          }
          from += weight.in_step;
          to += panel_channels<Sum>;
        }
      }
    });
  }

  ConvolutionArguments<Scalar> arguments_;
  int num_panels_;
  MultiplyPanels<Sum> multiply_ = multiply_panels<Sum>();
  Buffer<Sum, Host> weight_;
  Buffer<Sum, Host> converted_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
