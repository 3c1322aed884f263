// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "arguments.hpp"

#include <tessera/conv/convolution_backward.hpp>
#include <tessera/conv/over_map.hpp>
#include <tessera/kmap/restore.hpp>
#include <tessera/kmap/tile_map.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera_torch {

using Tensors = std::vector<Tensor>;

/// What crosses of a kernel map besides its tensors: see KernelMap of ops.py.
struct MapNumbers {
  Integers kernel_size;
  std::int64_t centre;
  bool symmetric;
};

/// Convolutions of one space, over maps that cross as tensors.
template <class Space>
struct ConvolutionOperators {
  using Map = ts::KernelMap<Space>;
  using Execution = ts::Execution<Space>;

  static Tensor convolution(Tensor const& features, Tensor const& weight, std::optional<Tensor> const& bias,
                            Tensor const& out_in, std::optional<Tensor> const& in_out,
                            Integers const& kernel_size, std::int64_t centre, bool symmetric,
                            Tensors const& tiles, Tensors const&, std::string const& dataflow, bool sort,
                            std::int64_t splits, std::string const& math)
  {
    constexpr auto const* who = "convolution";
    auto const config = config_of(dataflow, sort, splits, math, who);
    Call<Space> call{features};
    return Scalars<Space>::visit(features, who, [&](auto type) {
      using Scalar = typename decltype(type)::type;
      auto const x = features_of<Scalar>(features, features, who, "the tensor of features");
      auto const view = weight_view<Scalar>(weight, features, out_in, x.columns, who);
      auto const map =
          map_of(out_in, in_out, features, x.rows, {kernel_size, centre, symmetric}, who, call.exec());
      keep_tiles(*map, tiles, features, config, who, call.exec());
      ts::ConvolutionArguments<Scalar> arguments;
      arguments.features = x.data;
      arguments.weight = view.data;
      arguments.weight_steps = view.steps();
      arguments.in_channels = view.in_channels;
      arguments.out_channels = view.out_channels;
      arguments.math = config.math;
      if (bias) {
        check_tensor(*bias, features, 1, who, "the bias");
        check_dtype<Scalar>(*bias, who, "the bias");
        expects(bias->numel() == view.out_channels, who, ": a bias of ", bias->numel(), " numbers for ",
                view.out_channels, " output channels");
        arguments.bias = static_cast<Scalar const*>(bias->data_ptr());
      }
      auto y = empty_tensor({map->num_out(), view.out_channels}, torch_dtype<Scalar>(), call.device());
      arguments.output = static_cast<Scalar*>(y.data_ptr());
      ts::convolve_over_map(config, arguments, *map, call.exec());
      return y;
    });
  }

  /// (gradient of the features, of the weight as [volume, in, out] in the weight's strides, of the bias); no elements
  /// where not wanted.
  static std::tuple<Tensor, Tensor, Tensor> convolution_backward(
      Tensor const& grad, Tensor const& features, Tensor const& weight, Tensor const& out_in,
      std::optional<Tensor> const& in_out, Integers const& kernel_size, std::int64_t centre, bool symmetric,
      Tensors const& tiles, Tensors const& pairs, std::string const& dataflow, bool sort, std::int64_t splits,
      std::string const& math, std::vector<bool> const& wanted)
  {
    constexpr auto const* who = "convolution_backward";
    auto const config = config_of(dataflow, sort, splits, math, who);
    expects(wanted.size() == 3, who, ": ", wanted.size(), " answers to which of 3 gradients are wanted");
    Call<Space> call{features};
    return Scalars<Space>::visit(features, who, [&](auto type) {
      using Scalar = typename decltype(type)::type;
      auto const x = features_of<Scalar>(features, features, who, "the tensor of features");
      auto const dy = features_of<Scalar>(grad, features, who, "the gradient");
      auto const view = weight_view<Scalar>(weight, features, out_in, x.columns, who);
      auto const map =
          map_of(out_in, in_out, features, x.rows, {kernel_size, centre, symmetric}, who, call.exec());
      expects(dy.rows == map->num_out() && dy.columns == view.out_channels, who, ": a gradient of ", dy.rows,
              " x ", dy.columns, " for ", map->num_out(), " output rows of ", view.out_channels, " channels");
      auto grads =
          std::make_tuple(no_elements<Scalar>(call), no_elements<Scalar>(call), no_elements<Scalar>(call));
      if (wanted[0]) {
        auto const gradient_map = ts::gradient_map(*map, call.exec()).map;
        keep_tiles(*gradient_map, tiles, features, config, who, call.exec());
        std::get<0>(grads) = take(call, ts::convolution_backward_data(dy, view, *map, config, call.exec()));
      }
      if (wanted[1]) {
        auto& dw = std::get<1>(grads);
        Sizes const sizes{view.volume, view.in_channels, view.out_channels};
        Sizes const of_weight{view.offset_step, view.in_step, view.out_step};
        auto const strides = gradient_strides(sizes, of_weight);
        dw = empty_tensor(sizes, torch_dtype<Scalar>(), call.device(), strides);
        keep_pairs(*map, pairs, features, who, call.exec());
        ts::convolution_backward_weight(x, dy, *map, static_cast<Scalar*>(dw.data_ptr()),
                                        ts::WeightSteps{strides[0], strides[1], strides[2]},
                                        ts::GradientMode::overwrite, call.exec());
      }
      if (wanted[2]) {
        auto& db = std::get<2>(grads);
        db = empty_tensor({view.out_channels}, torch_dtype<Scalar>(), call.device());
        ts::convolution_backward_bias(dy, *map, static_cast<Scalar*>(db.data_ptr()),
                                      ts::GradientMode::overwrite, call.exec());
      }
      return grads;
    });
  }

  static Tensor transpose_map(Tensor const& out_in, std::int64_t num_in)
  {
    constexpr auto const* who = "transpose_map";
    Call<Space> call{out_in};
    auto const map = map_of(out_in, std::nullopt, out_in, num_in, {{}, -1, false}, who, call.exec());
    return take(call, ts::transpose(*map, call.exec())->out_in(call.exec()), {map->num_in(), map->volume()});
  }

  /// The rows of the tiles that a convolution reads, or 0.
  static std::int64_t tile_rows(Tensor const& features, Tensor const& weight, std::int64_t num_out,
                                std::int64_t centre, std::string const& operation_name, std::int64_t splits,
                                std::string const& math)
  {
    constexpr auto const* who = "tile_rows";
    auto const config = config_of("implicit_gemm", true, splits, math, who);
    auto const operation = choice<ts::Operation>(
        operation_name,
        {{"forward", ts::Operation::forward}, {"backward_data", ts::Operation::backward_data}}, who,
        "operation");
    Call<Space> call{features};
    return Scalars<Space>::visit(features, who, [&](auto type) -> std::int64_t {
      using Scalar = typename decltype(type)::type;
      expects(weight.dim() == 3 && weight.size(0) >= 1, who, ": the weight is not [volume, in, out]");
      auto const volume = to_int(weight.size(0), who, "volume");
      bool const forward = operation == ts::Operation::forward;
      ts::ConvolutionArguments<Scalar> arguments;
      arguments.in_channels = to_int(weight.size(forward ? 1 : 2), who, "number of channels");
      arguments.out_channels = to_int(weight.size(forward ? 2 : 1), who, "number of channels");
      arguments.operation = operation;
      arguments.math = config.math;
      return ts::tile_rows_of(config, arguments, {num_out, volume, volume == 1 && centre == 0}, call.exec());
    });
  }

  /// (order, map, masks) of a TileMap.
  static std::tuple<Tensor, Tensor, Tensor> tile_map(Tensor const& out_in, Tensor const& mask_keys,
                                                     Integers const& kernel_size, std::int64_t centre,
                                                     std::int64_t rows, bool sort, std::int64_t splits)
  {
    constexpr auto const* who = "tile_map";
    auto const config = config_of("implicit_gemm", sort, splits, "exact", who);
    Call<Space> call{out_in};
    auto const map =
        map_of(out_in, std::nullopt, out_in, 0, {kernel_size, centre, false}, who, call.exec(), &mask_keys);
    auto const made = ts::tile_map(*map, sort, ts::used_splits(map->volume(), config.splits),
                                   to_int(rows, who, "tile rows"), call.exec());
    Sizes const tiles{made->splits, made->num_tiles};
    auto const sized = [&](std::int64_t rest) { return Sizes{tiles[0], tiles[1], rest}; };
    return std::make_tuple(
        take(call, made->order.data(), sized(made->tile_rows)),
        take(call, made->map.data(), {tiles[0], tiles[1], made->split_length, made->tile_rows}),
        take(call, made->masks.data(), sized(made->words)));
  }

  /// (inputs, outputs, begins) of a PairList.
  static std::tuple<Tensor, Tensor, Tensor> pair_list(Tensor const& out_in, std::int64_t num_in)
  {
    constexpr auto const* who = "pair_list";
    Call<Space> call{out_in};
    auto const map = map_of(out_in, std::nullopt, out_in, num_in, {{}, -1, false}, who, call.exec());
    auto const made = ts::pair_list(*map, call.exec());
    Sizes const room{made->in.size()};
    return std::make_tuple(take(call, made->in.data(), room), take(call, made->out.data(), room),
                           take(call, made->begin.data(), {made->begin.size()}));
  }

  template <class Library>
  static void add_to(Library& library)
  {
    library.impl("convolution", TORCH_BOX(&convolution));
    library.impl("convolution_backward", TORCH_BOX(&convolution_backward));
    library.impl("transpose_map", TORCH_BOX(&transpose_map));
    library.impl("tile_rows", TORCH_BOX(&tile_rows));
    library.impl("tile_map", TORCH_BOX(&tile_map));
    library.impl("pair_list", TORCH_BOX(&pair_list));
  }

  /// A map on the memory of tensors, which must outlive it; with `in_out` it knows its transposed one.
  [[nodiscard]] static std::shared_ptr<Map> map_of(Tensor const& out_in, std::optional<Tensor> const& in_out,
                                                   Tensor const& like, std::int64_t num_in,
                                                   MapNumbers const& numbers, char const* who,
                                                   Execution const& exec, Tensor const* mask_keys = nullptr)
  {
    check_tensor(out_in, like, 2, who, "the kernel map");
    auto const num_out = out_in.size(0);
    auto const volume = to_int(out_in.size(1), who, "volume");
    expects(volume >= 1, who, ": a kernel map of no offsets");
    expects(num_in >= 0, who, ": a kernel map of ", num_in, " input rows");
    bool const knows_inputs = mask_keys == nullptr;  // tiles say nothing of them
    expects(numbers.centre < volume, who, ": the centre ", numbers.centre, " of ", volume, " offsets");
    expects(!knows_inputs || num_in == num_out || (numbers.centre < 0 && !numbers.symmetric), who,
            ": a kernel map with a centre, or symmetric, from ", num_in, " to ", num_out, " rows");
    ts::KernelMapParts<Space> parts;
    parts.offset_order = offset_order(numbers, volume, who);
    if (numbers.symmetric) { parts.mirror = ts::OffsetMirror::reversal(volume); }
    if (mask_keys != nullptr && mask_keys->numel() > 0) {
      expects(mask_keys->numel() == num_out, who, ": ", mask_keys->numel(), " mask keys for ", num_out,
              " rows");
      parts.mask_keys = borrow<std::uint32_t>(*mask_keys, like, who, "the tensor of mask keys", exec);
    }
    auto const centre = to_int(numbers.centre, who, "centre");
    auto const map = std::make_shared<Map>(borrow(out_in, like, who, "the kernel map", exec), num_in, num_out,
                                           volume, centre, std::move(parts));
    if (knows_inputs) { check_entries(out_in, num_in, who, "the kernel map", exec); }
    if (in_out && !numbers.symmetric) {
      expects(in_out->dim() == 2 && in_out->size(0) == num_in && in_out->size(1) == volume, who,
              ": the transposed map is not of ", num_in, " rows and ", volume, " offsets");
      ts::restore_transposed(*map, borrow(*in_out, like, who, "the transposed map", exec));
      check_entries(*in_out, num_out, who, "the transposed map", exec);
    }
    return map;
  }

 private:
  /// On the host every entry is looked at, which costs little beside the work over a map.
  static void check_entries(Tensor const& map, std::int64_t rows, char const* who, char const* name,
                            Execution const& exec)
  {
    if constexpr (std::is_same_v<Space, ts::Host>) {
      auto const* const entries = static_cast<std::int32_t const*>(map.data_ptr());
      std::atomic<bool> inside{true};
      exec.parallel_for(map.numel(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
        std::int32_t lowest = -1;
        std::int32_t highest = -1;
        for (auto i = begin; i < end; ++i) {
          lowest = std::min(lowest, entries[i]);
          highest = std::max(highest, entries[i]);
        }
        if (lowest < -1 || highest >= rows) { inside.store(false, std::memory_order_relaxed); }
      });
      expects(inside.load(), who, ": ", name, " has entries outside of [-1, ", rows, ")");
    }
  }

  [[nodiscard]] static ts::ConvConfig config_of(std::string const& dataflow, bool sort, std::int64_t splits,
                                                std::string const& math, char const* who)
  {
    using Dataflow = ts::Dataflow;
    ts::ConvConfig config;
    config.dataflow = choice<Dataflow>(dataflow,
                                       {{"implicit_gemm", Dataflow::implicit_gemm},
                                        {"gather_scatter", Dataflow::gather_scatter},
                                        {"fetch_on_demand", Dataflow::fetch_on_demand}},
                                       who, "dataflow");
    config.math = choice<ts::MathMode>(math, {{"exact", ts::MathMode::exact}, {"tf32", ts::MathMode::tf32}},
                                       who, "math mode");
    config.sort = sort;
    config.splits = to_int(splits, who, "number of splits");
    expects(config.splits >= 1, who, ": ", splits, " splits; there must be at least 1");
    return config;
  }

  /// As the map was made with: the order of its kernel's offsets. A thread remembers those that it was asked for, a few.
  [[nodiscard]] static ts::OffsetOrder offset_order(MapNumbers const& numbers, int volume, char const* who)
  {
    if (numbers.centre < 0) { return {}; }
    thread_local std::map<std::array<std::int64_t, 5>, ts::OffsetOrder> known;  // by the centre and the size
    return visit_dim(static_cast<std::int64_t>(numbers.kernel_size.size()), who, [&](auto dim) {
      constexpr int Dim = decltype(dim)::value;
      auto const size = per_axis<Dim>(numbers.kernel_size, who, "kernel size");
      ts::ConvolutionGeometry<Dim> geometry;
      geometry.kernel_size = size;
      expects(geometry.volume() == volume, who, ": a kernel of size ", size, " for a map of ", volume,
              " offsets");
      std::array<std::int64_t, 5> key{numbers.centre};
      std::copy(numbers.kernel_size.begin(), numbers.kernel_size.end(), key.begin() + 1);
      auto const found = known.find(key);
      if (found != known.end()) { return found->second; }
      if (known.size() >= 64) { known.clear(); }
      auto const order = ts::offset_order(size, to_int(numbers.centre, who, "centre"));
      known.emplace(key, order);
      return order;
    });
  }

  /// Gives the map the tiles that were cut before.
  static void keep_tiles(Map& map, Tensors const& tiles, Tensor const& like, ts::ConvConfig const& config,
                         char const* who, Execution const& exec)
  {
    if (tiles.empty()) { return; }
    expects(tiles.size() == 3 && tiles[1].dim() == 4, who, ": tiles are three tensors, order, map and masks");
    expects(tiles[1].size(0) == ts::used_splits(map.volume(), config.splits), who, ": tiles of ",
            tiles[1].size(0), " splits");
    ts::TileMap<Space> made;
    made.splits = to_int(tiles[1].size(0), who, "number of splits");
    made.num_tiles = tiles[1].size(1);
    made.split_length = to_int(tiles[1].size(2), who, "split length");
    made.tile_rows = to_int(tiles[1].size(3), who, "tile rows");
    made.words = (made.split_length + 31) / 32;
    made.order = borrow(tiles[0], like, who, "the order of the tiles", exec);
    made.map = borrow(tiles[1], like, who, "the map of the tiles", exec);
    made.masks = borrow<std::uint32_t>(tiles[2], like, who, "the masks of the tiles", exec);
    ts::restore_tiles(map, config.sort && map.volume() > 1, std::move(made));
  }

  /// Gives the map the pair lists that were made before.
  static void keep_pairs(Map& map, Tensors const& pairs, Tensor const& like, char const* who,
                         Execution const& exec)
  {
    if (pairs.empty()) { return; }
    expects(pairs.size() == 3, who, ": pairs are three tensors, inputs, outputs and begins");
    ts::restore_pair_list(map, borrow(pairs[0], like, who, "the inputs of the pairs", exec),
                          borrow(pairs[1], like, who, "the outputs of the pairs", exec),
                          borrow<std::int64_t>(pairs[2], like, who, "the begins of the pairs", exec));
  }

  /// Those of the weight, if each of its elements has a place of its own in as much memory as they need: then the
  /// parameter that it is a view of can take its gradient as it is. Else those of a contiguous tensor.
  [[nodiscard]] static Sizes gradient_strides(Sizes const& sizes, Sizes const& strides)
  {
    std::array<std::size_t, 3> axes{0, 1, 2};
    std::sort(axes.begin(), axes.end(), [&](auto a, auto b) {
      return std::make_pair(strides[a], sizes[a]) < std::make_pair(strides[b], sizes[b]);
    });
    std::int64_t next = 1;
    for (auto const axis : axes) {
      if (sizes[axis] == 1) { continue; }
      if (strides[axis] != next) { return contiguous_strides(sizes); }
      next *= sizes[axis];
    }
    return strides;
  }

  /// Rows that convolutions may read wherever they begin.
  template <class Scalar>
  [[nodiscard]] static ts::MatrixView<Scalar const> features_of(Tensor const& tensor, Tensor const& like,
                                                                char const* who, char const* name)
  {
    check_tensor(tensor, like, 2, who, name);
    check_dtype<Scalar>(tensor, who, name);
    return {static_cast<Scalar const*>(tensor.data_ptr()), tensor.size(0), tensor.size(1)};
  }

  /// [volume, in, out] in any strides.
  template <class Scalar>
  [[nodiscard]] static ts::WeightView<Scalar> weight_view(Tensor const& weight, Tensor const& like,
                                                          Tensor const& out_in, std::int64_t channels,
                                                          char const* who)
  {
    expects(weight.is_cpu() == like.is_cpu() && weight.get_device_index() == like.get_device_index(), who,
            ": the weight is on another device than the features");
    check_dtype<Scalar>(weight, who, "the weight");
    expects(weight.dim() == 3, who, ": a weight of ", weight.dim(), " axes, not [volume, in, out]");
    expects(out_in.dim() == 2 && weight.size(0) == out_in.size(1), who, ": a weight of ", weight.size(0),
            " offsets for a kernel map of ", out_in.dim() == 2 ? out_in.size(1) : -1);
    expects(weight.size(1) == channels, who, ": a weight of ", weight.size(1),
            " input channels for features of ", channels);
    auto view = ts::plain_weight(
        static_cast<Scalar const*>(weight.data_ptr()), to_int(weight.size(0), who, "volume"),
        to_int(weight.size(1), who, "number of channels"), to_int(weight.size(2), who, "number of channels"));
    expects(view.in_channels >= 1 && view.out_channels >= 1, who, ": ", view.in_channels, " -> ",
            view.out_channels, " channels; both must be at least 1");
    if (weight.size(0) > 1) { view.offset_step = weight.stride(0); }
    if (weight.size(1) > 1) { view.in_step = weight.stride(1); }
    if (weight.size(2) > 1) { view.out_step = weight.stride(2); }
    return view;
  }
};

}  // namespace tessera_torch
