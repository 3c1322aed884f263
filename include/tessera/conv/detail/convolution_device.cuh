// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/backend.hpp>
#include <tessera/conv/detail/block_gemm/problem.cuh>
#include <tessera/conv/detail/gather_scatter/offset_sums.cuh>
#include <tessera/conv/detail/tile_choice.cuh>
#include <tessera/conv/detail/warp_gemm/run.cuh>
#include <tessera/conv/detail/warpgroup_gemm/run.cuh>
#include <tessera/conv/specialize.hpp>
#include <tessera/core/scan.cuh>
#include <tessera/core/sort.cuh>
#include <tessera/kmap/detail/cut_tiles.cuh>
#include <tessera/kmap/pair_list.hpp>
#include <tessera/kmap/tile_map.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The dataflows on the device; conv/policies.hpp says what they do.
template <>
struct ConvolutionBackend<Device> {
  /// Stream: enqueues one kernel, or two for each split, and one more with splits; the tile map's the first
  /// time. Does not wait.
  template <class TilePolicy, class Scalar>
  static void implicit_gemm(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map, bool sort,
                            int splits, Execution<Device> const& exec)
  {
    check_arguments(arguments, "convolution");
    expects(splits >= 1, "convolution: ", splits, " splits; there must be at least 1");
    if (map.num_out() == 0) { return; }
    if constexpr (std::is_same_v<TilePolicy, AutoTile>) {
      using List = typename SpecializedKernels<Scalar>::list;
      if constexpr (!std::is_same_v<List, KernelList<>>) {
        if (takes_specialized_kernels(arguments) &&
            run_specialized_kernels(List{}, arguments, map, compute_capability(exec), exec)) {
          return;
        }
      }
    }
    // Splits that own no offset would add zeros.
    auto const used_splits = ceil_div(map.volume(), ceil_div(map.volume(), splits));
    auto const size = map.num_out() * arguments.out_channels;
    Buffer<accumulator_t<Scalar>, Device> sums;
    auto const make_sums = [&](int parts) {
      sums = Buffer<accumulator_t<Scalar>, Device>{parts * size, exec};
      return sums.data();
    };
    bool done = false;
    if constexpr (std::is_same_v<TilePolicy, AutoTile> && has_packed_kernels<Scalar>) {
      if (tries_warpgroup_gemm(arguments, map.volume())) {
        done = run_warpgroup_gemm(arguments, map, sort, used_splits, exec, make_sums);
      }
      if constexpr (sizeof(Scalar) == 2) {
        if (!done && tries_warp_gemm(arguments)) {
          done = run_warp_gemm(arguments, map, sort, used_splits, exec, make_sums);
        }
      }
    }
    expects(done || arguments.more.data == nullptr,
            "convolution: no kernel reads these input channels from two matrices; see takes_pair()");
    if (!done) { run_tiles<TilePolicy>(arguments, map, sort, used_splits, exec, make_sums); }
    if (sums.data() != nullptr) {
      for_each(size,
               FinishSums<Scalar>{sums.data(), arguments.bias, arguments.output, arguments.epilogue, size,
                                  used_splits, arguments.out_channels},
               exec);
    }
  }

  /// Whether implicit_gemm() with AutoTile reads the input channels from two matrices.
  template <class Scalar>
  [[nodiscard]] static bool takes_pair(ConvolutionArguments<Scalar> const& arguments, int volume,
                                       Execution<Device> const& exec)
  {
    if constexpr (has_packed_kernels<Scalar>) {
      return std::is_same_v<typename SpecializedKernels<Scalar>::list, KernelList<>> &&
             tries_warpgroup_gemm(arguments, volume) &&
             with_warpgroup_gemm(arguments, volume, exec, [](auto, std::size_t) { return true; });
    } else {
      return false;
    }
  }

  /// How implicit_gemm() with AutoTile carries out the arguments, on a map of at least one output.
  template <class Scalar>
  [[nodiscard]] static CarriedOut carried_out(ConvolutionArguments<Scalar> const& arguments,
                                              KernelMap<Device> const& map, int splits,
                                              Execution<Device> const& exec)
  {
    auto const volume = ceil_div(map.volume(), splits);
    std::optional<CarriedOut> how;
    if constexpr (has_packed_kernels<Scalar>) {
      if (tries_warpgroup_gemm(arguments, map.volume())) {
        how = warpgroup_carries_out(arguments, map, volume, exec);
      }
      if constexpr (sizeof(Scalar) == 2) {
        if (!how && tries_warp_gemm(arguments)) { how = warp_carries_out(arguments, map, volume, exec); }
      }
    }
    if (!how) {
      with_tile<AutoTile>(arguments, map.num_out(), exec, [&](auto tile, auto const&) {
        how = CarriedOut{TileChoice::block, decltype(tile)::rows};
      });
    }
    using List = typename SpecializedKernels<Scalar>::list;
    if constexpr (!std::is_same_v<List, KernelList<>>) {
      if (takes_specialized_kernels(arguments) &&
          has_specialized_kernel(List{}, arguments, compute_capability(exec))) {
        return {TileChoice::automatic, 0};
      }
    }
    return *how;
  }

  /// The weight as implicit_gemm() with AutoTile and without splits reads it, where it has an order of its
  /// own. Stream: enqueues a kernel, does not wait.
  template <class Scalar>
  [[nodiscard]] static PackedWeight<Scalar, Device> pack(ConvolutionArguments<Scalar> const& arguments,
                                                         int volume, Execution<Device> const& exec)
  {
    PackedWeight<Scalar, Device> packed;
    if constexpr (has_packed_kernels<Scalar>) {
      bool done = tries_warpgroup_gemm(arguments, volume) &&
                  with_warpgroup_gemm(arguments, volume, exec, [&](auto shape, std::size_t limit) {
                    auto const layout =
                        configure_warpgroup<decltype(shape)>(volume, arguments.in_channels,
                                                             arguments.out_channels, arguments.tiles, limit)
                            .layout;
                    packed.values = Buffer<Scalar, Device>{layout.size(), exec};
                    packed.layout = layout.key();
                    pack_warpgroup_weight(arguments.weight, packed.values.data(), layout, exec);
                    return true;
                  });
      if constexpr (sizeof(Scalar) == 2) {
        done = done || !takes_warp_operands(arguments, 0) || !tries_warp_gemm(arguments) ||
               with_warp_shape<Scalar>(
                   warp_gemm_task(arguments, volume, 0, exec), [&](auto shape, WarpGemmConfig const& config) {
                     if (!has_warp_gemm<decltype(shape)>(exec)) { return false; }
                     auto const& layout = config.layout;
                     packed.values = Buffer<Scalar, Device>{layout.size(), exec};
                     packed.layout = layout.key();
                     for_each(layout.size() / 8,
                              PackWeight<Scalar>{arguments.weight, packed.values.data(), layout}, exec);
                     return true;
                   });
      }
      static_cast<void>(done);
    }
    return packed;
  }

  /// Stream: enqueues three kernels an offset, a fill and a kernel; waits once a map, for its pair list.
  template <class Scalar>
  static void gather_scatter(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                             Execution<Device> const& exec)
  {
    using Sum = accumulator_t<Scalar>;
    check_arguments(arguments, "convolution");
    if (map.num_out() == 0) { return; }
    auto const pairs = pair_list(map, exec);
    std::int64_t most = 0;
    for (int k = 0; k < map.volume(); ++k) { most = std::max(most, pairs->num_pairs(k)); }
    Buffer<Scalar, Device> gathered{most * arguments.in_channels, exec};
    Buffer<Sum, Device> products{most * arguments.out_channels, exec};
    with_tile<AutoTile>(arguments, most, exec, [&](auto tile, auto launch_problem) {
      sum_by_offset(arguments, map, *pairs, exec, [&](int k, std::int64_t num_pairs, Sum* sums) {
        auto const begin = pairs->host_begin[static_cast<std::size_t>(k)];
        auto problem = make_problem(arguments, num_pairs);
        gather(problem, pairs->in.data() + begin, gathered.data(), exec);
        problem.features = gathered.data();
        problem.aligned_features = arguments.in_channels * sizeof(Scalar) % 16 == 0;
        problem.weight += std::int64_t{k} * arguments.in_channels * arguments.out_channels;
        problem.sums = products.data();
        problem.num_places = num_pairs;
        problem.num_tiles = (num_pairs + decltype(tile)::rows - 1) / decltype(tile)::rows;
        launch_problem(problem, exec);
        for_each(num_pairs * arguments.out_channels,
                 ScatterAdd<Sum>{products.data(), pairs->out.data() + begin, sums, arguments.out_channels},
                 exec);
      });
    });
  }

  /// Each launch goes on with the sums of the one before, so the result has the bits of ImplicitGemm<_, 1>
  /// with a Tile. Stream: enqueues one kernel an offset, a fill and a kernel; waits once a map, for its pair
  /// list.
  template <class Scalar>
  static void fetch_on_demand(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                              Execution<Device> const& exec)
  {
    using Sum = accumulator_t<Scalar>;
    check_arguments(arguments, "convolution");
    if (map.num_out() == 0) { return; }
    auto const pairs = pair_list(map, exec);
    with_tile<AutoTile>(arguments, map.num_out(), exec, [&](auto tile, auto launch_problem) {
      sum_by_offset(arguments, map, *pairs, exec, [&](int k, std::int64_t num_pairs, Sum* sums) {
        auto const begin = pairs->host_begin[static_cast<std::size_t>(k)];
        auto problem = make_problem(arguments, map.num_out());
        problem.map = pairs->in.data() + begin;
        problem.order = pairs->out.data() + begin;
        problem.weight += std::int64_t{k} * arguments.in_channels * arguments.out_channels;
        problem.sums = sums;
        problem.continue_sums = true;
        problem.num_places = num_pairs;
        problem.num_tiles = (num_pairs + decltype(tile)::rows - 1) / decltype(tile)::rows;
        launch_problem(problem, exec);
      });
    });
  }

 private:
  /// Whether SpecializedKernels are asked first: they know no epilogue but the bias.
  template <class Scalar>
  [[nodiscard]] static bool takes_specialized_kernels(ConvolutionArguments<Scalar> const& arguments)
  {
    return arguments.tiles == TileChoice::automatic && arguments.epilogue.residual.data == nullptr &&
           arguments.epilogue.activation == Activation::none;
  }
  /// As 90 for 9.0.
  [[nodiscard]] static int compute_capability(Execution<Device> const& exec)
  {
    return 10 * device_attribute(cudaDevAttrComputeCapabilityMajor, exec) +
           device_attribute(cudaDevAttrComputeCapabilityMinor, exec);
  }

  /// The implicit GEMM in tiles; sums of several splits go where `make_sums` says.
  template <class TilePolicy, class Scalar, class MakeSums>
  static void run_tiles(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map, bool sort,
                        int splits, Execution<Device> const& exec, MakeSums const& make_sums)
  {
    with_tile<TilePolicy>(arguments, map.num_out(), exec, [&](auto tile, auto launch_problem) {
      auto const tiles = tile_map(map, sort, splits, decltype(tile)::rows, exec);
      auto problem = make_problem(arguments, map.num_out());
      problem.map = tiles->map.data();
      problem.order = tiles->order.data();
      problem.masks = tiles->masks.data();
      problem.num_places = map.num_out();
      problem.num_tiles = tiles->num_tiles;
      problem.splits = splits;
      problem.split_length = tiles->split_length;
      problem.words = tiles->words;
      if (splits > 1) { problem.sums = make_sums(splits); }
      launch_problem(problem, exec);
    });
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
