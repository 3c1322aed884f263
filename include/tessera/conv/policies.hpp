// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/backend.hpp>
#include <tessera/conv/operation.hpp>
#include <tessera/kmap/policies.hpp>

#include <type_traits>

namespace tessera {
inline namespace v0 {

/// Tile of the implicit-GEMM dataflow on the device: a block computes `Rows` output rows by `Channels` output
/// channels, `Depth` input channels at a time with `Stages` steps in flight.
///
/// A policy is an empty type of compile-time constants; any empty type with the same members may stand in for
/// it.
template <int Rows, int Channels, int Depth, int Stages>
struct Tile {
  static_assert(Rows == 32 || Rows == 64 || Rows == 128, "Tile: Rows must be 32, 64 or 128");
  static_assert(Channels >= 16 && Channels % 16 == 0 && Channels <= 256,
                "Tile: Channels must be a multiple of 16 from 16 to 256");
  static_assert(Depth >= 16 && Depth % 16 == 0 && Depth <= 128,
                "Tile: Depth must be a multiple of 16 from 16 to 128");
  static_assert(Stages >= 2 && Stages <= 8, "Tile: Stages must be 2 to 8");

  static constexpr int rows = Rows;
  static constexpr int channels = Channels;
  static constexpr int depth = Depth;
  static constexpr int stages = Stages;
};

/// The tile that conv/tuning.hpp names for the scalar and the channels.
struct AutoTile {};

/// Whether T can be the tile of an ImplicitGemm: AutoTile, or an empty type with Tile's members.
template <class T, class = void>
struct is_tile_policy : std::is_same<T, AutoTile> {};
template <class T>
struct is_tile_policy<
    T, std::void_t<decltype(T::rows), decltype(T::channels), decltype(T::depth), decltype(T::stages)>>
    : std::is_empty<T> {};

// --- dataflows: how a convolution is computed --------------------------------------------------------------
//
// forward() computes a convolution. backward_data(), with the same arguments, computes the gradient of its
// input as a convolution of the output's gradient: `features` is that gradient, `output` the input's, the map
// leads from output rows to input rows, and the weight is a view whose matrices are transposed and whose
// offsets may be mirrored (ConvArguments::weight_steps). backward_weight() writes the sums of the weight's
// gradient. A dataflow that knows forward() alone is never given a gradient: GatherScatter runs what it lacks.
//
// What else a dataflow can it says in constants, false where it has none: `has_epilogue`, whether forward()
// applies ConvArguments::epilogue; `reads_two_inputs`, whether it reads ConvArguments::second_features where
// its KernelPlan does.

namespace detail {
/// The gradients of a dataflow whose own `forward` computes data gradients too.
template <class Dataflow>
struct GradientsByForward {
  template <class Scalar, class Space>
  static void backward_data(ConvolutionArguments<Scalar> const& arguments, KernelMap<Space>& map,
                            Execution<Space> const& exec)
  {
    Dataflow::forward(arguments, map, exec);
  }
  template <class Scalar, class Space>
  static void backward_weight(WeightGradientArguments<Scalar> const& arguments, KernelMap<Space>& map,
                              Execution<Space> const& exec)
  {
    ConvolutionBackend<Space>::weight_gradient(arguments, map, exec);
  }
};
}  // namespace detail

/// One GEMM whose operand rows are fetched through the map (Tang et al., TorchSparse++, MICRO 2023).
///
/// @tparam Sort    tiles hold rows with similar neighbours, so that fewer absent ones are multiplied
/// @tparam Splits  the offsets are cut into so many parts, each sorted by itself and summed in order
/// Determinism: every output is one sum over offsets, then channels, ascending; with Splits > 1 one sum
/// per split, then those in order. AutoTile may add a chunk's products, and the halves of a long kernel's
/// offsets, in another fixed order. The same bits on every run and for every order of the input rows.
template <bool Sort, int Splits = 1, class TilePolicy = AutoTile>
struct ImplicitGemm : detail::GradientsByForward<ImplicitGemm<Sort, Splits, TilePolicy>> {
  static_assert(Splits >= 1, "ImplicitGemm: Splits must be at least 1");
  static_assert(
      is_tile_policy<TilePolicy>::value,
      "ImplicitGemm: TilePolicy must be AutoTile or an empty type with rows, channels, depth and stages");
  static constexpr char const* name = "implicit_gemm";
  static constexpr bool has_epilogue = true;
  static constexpr bool reads_two_inputs = Splits == 1 && std::is_same_v<TilePolicy, AutoTile>;

  template <class Scalar, class Space>
  static void forward(ConvolutionArguments<Scalar> const& arguments, KernelMap<Space>& map,
                      Execution<Space> const& exec)
  {
    detail::ConvolutionBackend<Space>::template implicit_gemm<TilePolicy>(
        arguments, map, Sort && map.volume() > 1, Splits, exec);
  }
};

/// For each offset: gather its rows, multiply, scatter-add; offsets ascending.
struct GatherScatter : detail::GradientsByForward<GatherScatter> {
  static constexpr char const* name = "gather_scatter";
  static constexpr bool has_epilogue = true;

  template <class Scalar, class Space>
  static void forward(ConvolutionArguments<Scalar> const& arguments, KernelMap<Space>& map,
                      Execution<Space> const& exec)
  {
    detail::ConvolutionBackend<Space>::gather_scatter(arguments, map, exec);
  }
};

/// For each offset: multiply rows as they are fetched and add to their outputs; offsets ascending, nothing is
/// stored in between.
struct FetchOnDemand : detail::GradientsByForward<FetchOnDemand> {
  static constexpr char const* name = "fetch_on_demand";
  static constexpr bool has_epilogue = true;

  template <class Scalar, class Space>
  static void forward(ConvolutionArguments<Scalar> const& arguments, KernelMap<Space>& map,
                      Execution<Space> const& exec)
  {
    detail::ConvolutionBackend<Space>::fetch_on_demand(arguments, map, exec);
  }
};

namespace detail {
template <int Mode>
struct ConvModeOf {
  static_assert(Mode >= 0 && Mode <= 2,
                "ConvMode: Mode must be 0 (unsorted), 1 (sorted) or 2 (sorted, three splits)");
};
template <>
struct ConvModeOf<0> {
  using type = ImplicitGemm<false, 1>;
};
template <>
struct ConvModeOf<1> {
  using type = ImplicitGemm<true, 1>;
};
template <>
struct ConvModeOf<2> {
  using type = ImplicitGemm<true, 3>;
};
}  // namespace detail

/// TorchSparse's conv modes: 0 unsorted, 1 sorted by neighbour mask (default), 2 sorted in three splits.
template <int Mode>
using ConvMode = typename detail::ConvModeOf<Mode>::type;

/// Whether P can be the dataflow of a ConvPolicy: an empty type with `name` and
/// `forward(ConvolutionArguments<Scalar> const&, KernelMap<Space>&, Execution<Space> const&)`.
template <class P, class Scalar = float, class Space = Host, class = void>
struct is_dataflow_policy : std::false_type {};
template <class P, class Scalar, class Space>
struct is_dataflow_policy<P, Scalar, Space,
                          std::void_t<decltype(P::name), decltype(&P::template forward<Scalar, Space>)>>
    : std::is_empty<P> {};

/// Whether the dataflow P has an operation.
template <class P, Operation Op, class Scalar = float, class Space = Host, class = void>
struct has_operation : std::false_type {};
template <class P, class Scalar, class Space>
struct has_operation<P, Operation::forward, Scalar, Space, void> : is_dataflow_policy<P, Scalar, Space> {};
template <class P, class Scalar, class Space>
struct has_operation<P, Operation::backward_data, Scalar, Space,
                     std::void_t<decltype(&P::template backward_data<Scalar, Space>)>> : std::true_type {};
template <class P, class Scalar, class Space>
struct has_operation<P, Operation::backward_weight, Scalar, Space,
                     std::void_t<decltype(&P::template backward_weight<Scalar, Space>)>> : std::true_type {};

/// Whether forward() of the dataflow P applies the epilogue of its arguments: `P::has_epilogue`.
template <class P, class = void>
struct has_epilogue : std::false_type {};
template <class P>
struct has_epilogue<P, std::void_t<decltype(P::has_epilogue)>> : std::bool_constant<P::has_epilogue> {};

/// Whether forward() of the dataflow P may read two inputs side by side: `P::reads_two_inputs`.
template <class P, class = void>
struct reads_two_inputs : std::false_type {};  // NOLINT(readability-identifier-naming)
template <class P>
struct reads_two_inputs<P, std::void_t<decltype(P::reads_two_inputs)>>
    : std::bool_constant<P::reads_two_inputs> {};

namespace detail {

/// Dataflow where it has the operation, else GatherScatter.
template <class Dataflow, Operation Op, class Scalar, class Space>
using dataflow_for =
    std::conditional_t<has_operation<Dataflow, Op, Scalar, Space>::value, Dataflow, GatherScatter>;

/// Runs the convolution or data gradient of the arguments.
template <class Dataflow, class Scalar, class Space>
void run_operation(ConvolutionArguments<Scalar> const& arguments, KernelMap<Space>& map,
                   Execution<Space> const& exec)
{
  if (arguments.operation == Operation::forward) { return Dataflow::forward(arguments, map, exec); }
  dataflow_for<Dataflow, Operation::backward_data, Scalar, Space>::backward_data(arguments, map, exec);
}
template <class Dataflow, class Scalar, class Space>
void run_weight_gradient(WeightGradientArguments<Scalar> const& arguments, KernelMap<Space>& map,
                         Execution<Space> const& exec)
{
  dataflow_for<Dataflow, Operation::backward_weight, Scalar, Space>::backward_weight(arguments, map, exec);
}

/// How the operation of the arguments is run: KernelPlan::falls_back says whether `Dataflow` lacks it.
template <class Dataflow, class Scalar, class Space>
[[nodiscard]] KernelPlan plan_operation(ConvolutionArguments<Scalar> const& arguments,
                                        KernelMap<Space> const& map, Execution<Space> const& exec)
{
  auto const has = [&](auto operation) {
    return arguments.operation == operation &&
           has_operation<Dataflow, decltype(operation)::value, Scalar, Space>::value;
  };
  bool const has_it = has(std::integral_constant<Operation, Operation::forward>{}) ||
                      has(std::integral_constant<Operation, Operation::backward_data>{}) ||
                      has(std::integral_constant<Operation, Operation::backward_weight>{});
  return ConvolutionBackend<Space>::plan(arguments, summary_of(map), 1, exec, has_it);
}

}  // namespace detail

/// The three choices of a convolution, made at compile time: how it is computed, where its kernel sits and
/// which outputs it has.
template <class Mode = ConvMode<1>, class Kmap = HashmapOnTheFly, class Downsample = SpconvDownsample>
struct ConvPolicy {
  static_assert(
      is_dataflow_policy<Mode>::value,
      "ConvPolicy: Mode must be ConvMode<0|1|2>, ImplicitGemm, GatherScatter, FetchOnDemand or an empty type "
      "with `name` and `forward(arguments, map, exec)`");
  static_assert(is_kmap_policy<Kmap>::value,
                "ConvPolicy: Kmap must be HashmapOnTheFly, Hashmap or an empty type with `name` and "
                "`anchor(geometry, kind, compat)`");
  static_assert(
      is_downsample_policy<Downsample>::value,
      "ConvPolicy: Downsample must be SpconvDownsample, MinkowskiDownsample or an empty type with `name`, "
      "`num_candidates`, `candidate` and `output_extent`");
  using dataflow = Mode;
  using kmap = Kmap;
  using downsample = Downsample;
};

/// Whether P can be the policy of a convolution: a ConvPolicy, or a type with `dataflow`, `kmap` and
/// `downsample`.
template <class P, class = void>
struct is_conv_policy : std::false_type {};
template <class P>
struct is_conv_policy<P, std::void_t<typename P::dataflow, typename P::kmap, typename P::downsample>>
    : std::conjunction<is_dataflow_policy<typename P::dataflow>, is_kmap_policy<typename P::kmap>,
                       is_downsample_policy<typename P::downsample>> {};

/// Chosen at run time: by the layer's ConvConfig where it has one, else by the calling thread's
/// (conv/config.hpp).
struct RuntimePolicy {};

}  // namespace v0
}  // namespace tessera
