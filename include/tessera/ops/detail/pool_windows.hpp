// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/kmap/rules/rules.hpp>
#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/detail/row_pairs.hpp>
#include <tessera/ops/detail/row_terms.hpp>
#include <tessera/ops/pool_options.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

// Rules of pools: `takes_one` where an output is one of its inputs, `is_mean` of a sum over their number.

/// The largest; NaN if there is one.
template <class Scalar>
struct LargestInWindow {
  using Sum = accumulator_t<Scalar>;

  static constexpr char const* name = "max_pool";
  static constexpr char const* backward_name = "max_pool_backward";
  static constexpr bool takes_one = true;

  Sum begin;  // minus infinity, or spconv's 0

  [[nodiscard]] static LargestInWindow make(bool from_zero)
  {
    return {from_zero ? Sum{0} : LargestOfRows<Scalar>::identity()};
  }

  [[nodiscard]] TESSERA_HOST_DEVICE Sum term(Sum value, std::int32_t) const { return value; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum combine(Sum a, Sum b)
  {
    return LargestOfRows<Scalar>::combine(a, b);
  }
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum finish(Sum value, int) { return value; }
};

/// The sum over the number of inputs.
template <class Scalar>
struct MeanOfWindow {
  using Sum = accumulator_t<Scalar>;

  static constexpr char const* name = "average_pool";
  static constexpr char const* backward_name = "average_pool_backward";
  static constexpr bool takes_one = false;
  static constexpr bool is_mean = true;

  Sum begin;  // 0

  [[nodiscard]] static MeanOfWindow make(bool) { return {Sum{0}}; }

  [[nodiscard]] TESSERA_HOST_DEVICE Sum term(Sum value, std::int32_t) const { return value; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum combine(Sum a, Sum b) { return a + b; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum finish(Sum value, int count)
  {
    return value / static_cast<Sum>(count);
  }
};

/// The sum.
template <class Scalar>
struct SumOfWindow {
  using Sum = accumulator_t<Scalar>;
  static constexpr char const* name = "sum_pool";
  static constexpr char const* backward_name = "sum_pool_backward";
  static constexpr bool takes_one = false;
  static constexpr bool is_mean = false;

  Sum begin;  // 0

  [[nodiscard]] static SumOfWindow make(bool) { return {Sum{0}}; }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum term(Sum value, std::int32_t) const { return value; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum combine(Sum a, Sum b) { return a + b; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum finish(Sum value, int) { return value; }
};

/// to[o, c] = what `rule` makes of from[s, c] over the pairs (o, s), offsets ascending; 0 where there are
/// none. Item number n is pack n of the output, `Size` channels.
template <class Scalar, class Rule, int Size>
struct PoolWindows {
  using Sum = accumulator_t<Scalar>;

  Scalar const* from;       // [sources, packs * Size]
  std::int32_t const* map;  // [rows, volume]
  Scalar* to;               // [rows, packs * Size]
  int volume;
  std::int64_t packs;
  Rule rule;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / packs;
    auto const pack = n - row * packs;
    Sum values[Size];
    for (int j = 0; j < Size; ++j) { values[j] = rule.begin; }
    int const count = for_each_pair_of(map, volume, row, [&](int, std::int32_t source) {
      auto const read = load_pack<Size>(from + (source * packs + pack) * Size);
      for (int j = 0; j < Size; ++j) {
        values[j] = Rule::combine(values[j], rule.term(static_cast<Sum>(read.values[j]), source));
      }
    });
    Pack<Scalar, Size> result;
    for (int j = 0; j < Size; ++j) {
      result.values[j] = static_cast<Scalar>(count > 0 ? rule.finish(values[j], count) : Sum{0});
    }
    store_pack(to + n * Size, result);
  }
};

/// PoolWindows over all rows of a map.
template <class Scalar, class Rule, class Space>
[[nodiscard]] Matrix<Scalar, Space> pool_windows(MatrixView<Scalar const> const& from, KernelMap<Space>& map,
                                                 Rule const& rule, Execution<Space> const& exec)
{
  Matrix<Scalar, Space> result{map.num_out(), from.columns, exec};
  with_pack_size<Scalar>(moves_in_packs(from.data, from.columns), [&](auto size) {
    constexpr int columns = decltype(size)::value;
    for_each(result.size() / columns,
             PoolWindows<Scalar, Rule, columns>{from.data, map.out_in(exec), result.data(), map.volume(),
                                                from.columns / columns, rule},
             exec);
  });
  return result;
}

/// The geometry that `options` mean on `set`.
template <int Dim, class Space>
[[nodiscard]] ConvolutionGeometry<Dim> pool_geometry(PoolOptions<Dim> const& options,
                                                     CoordinateSet<Dim, Space> const& set, char const* who)
{
  ConvolutionGeometry<Dim> g{options.kernel_size, options.stride(), options.padding(), options.dilation()};
  g.shape = options.shape();
  for (int i = 0; i < Dim; ++i) {
    if (g.kernel_size[i] != -1) { continue; }
    expects(set.spatial_range().has_value(), who, ": a kernel of -1 on axis ", i,
            " is the whole axis, which a tensor without a spatial range does not have");
    g.kernel_size[i] = g.stride[i] = set.spatial_range()->extent[i];
    g.padding[i] = 0;
    g.dilation[i] = 1;
  }
  check_geometry(g, who);
  return g;
}

/// The configuration that `options` mean on this thread.
template <int Dim>
[[nodiscard]] ConvConfig pool_config(PoolOptions<Dim> const& options)
{
  auto config = options.config() ? *options.config() : thread_conv_config();
  if (options.compat()) { config.compat = *options.compat(); }
  return config;
}

/// Outputs of a pool and the map from the rows of `x` to them.
template <int Dim, class Scalar, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> pool_map(SparseTensor<Dim, Scalar, Space> const& x,
                                                     PoolOptions<Dim> const& options, char const* who,
                                                     Execution<Space> const& exec)
{
  auto config = pool_config(options);
  auto const geometry = pool_geometry(options, *x.coordinates(), who);
  // That a kernel of one voxel ignores its padding is so in spconv's convolutions, not in its pools.
  bool const ignores_padding =
      rules::visit(config.compat, [](auto rules) { return rules.multiplies_one_voxel_kernels; });
  if (ignores_padding && geometry.volume() == 1) { config.compat = Compatibility::none; }
  return kernel_map(config, *x.coordinates(), ConvolutionKind::strided, geometry, exec);
}

template <class Rule, int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> pool_unrecorded(SparseTensor<Dim, Scalar, Space> const& x,
                                                               PoolOptions<Dim> const& options,
                                                               Execution<Space> const& exec)
{
  expect_coordinates(x, Rule::name);
  auto const mapped = pool_map(x, options, Rule::name, exec);
  auto const rule =
      Rule::make(rules::visit(pool_config(options).compat, [](auto rules) { return rules.pools_from_zero; }));
  return {mapped.coordinates, pool_windows<Scalar>(x.features(), *mapped.map, rule, exec)};
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
