// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/kmap/rules/rules.hpp>
#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/detail/reduce.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {

namespace nn {

/// Options of pooling over a kernel: `PoolOptions<3>(3).stride(2).padding(1)`.
template <int Dim>
struct PoolOptions {
  /// The stride is the kernel's size until told otherwise. A size of -1 is the whole axis, which collapses to
  /// one cell: it takes the extent from the tensor's spatial range, and padding, stride and dilation of that
  /// axis have no effect.
  explicit PoolOptions(IntArray<Dim> size) : kernel_size{size} {}

  PoolOptions& stride(IntArray<Dim> value) { return stride_ = value, *this; }
  [[nodiscard]] IntArray<Dim> stride() const { return stride_.value_or(kernel_size); }
  PoolOptions& padding(IntArray<Dim> value) { return padding_ = value, *this; }
  [[nodiscard]] IntArray<Dim> const& padding() const noexcept { return padding_; }
  PoolOptions& dilation(IntArray<Dim> value) { return dilation_ = value, *this; }
  [[nodiscard]] IntArray<Dim> const& dilation() const noexcept { return dilation_; }
  /// Which offsets the window has; the size of listed ones is 1, their stride 1 until told otherwise.
  PoolOptions& shape(KernelShape<Dim> const& value)
  {
    if (value.is_list()) { kernel_size = 1; }
    return shape_ = value, *this;
  }
  [[nodiscard]] KernelShape<Dim> const& shape() const noexcept { return shape_; }
  /// Whose rules hold; without it those of the configuration.
  PoolOptions& compat(std::optional<Compatibility> value) { return compat_ = value, *this; }
  [[nodiscard]] std::optional<Compatibility> const& compat() const noexcept { return compat_; }
  /// Where kernels sit and which outputs there are; without it the configuration of the calling thread.
  PoolOptions& config(std::optional<ConvConfig> const& value) { return config_ = value, *this; }
  [[nodiscard]] std::optional<ConvConfig> const& config() const noexcept { return config_; }

  IntArray<Dim> kernel_size;

 private:
  std::optional<IntArray<Dim>> stride_;
  IntArray<Dim> padding_ = IntArray<Dim>(0);
  IntArray<Dim> dilation_ = IntArray<Dim>(1);
  KernelShape<Dim> shape_;
  std::optional<Compatibility> compat_;
  std::optional<ConvConfig> config_;
};

}  // namespace nn

namespace detail {

/// The largest; NaN if there is one.
template <class Scalar>
struct LargestInWindow {
  using Sum = accumulator_t<Scalar>;

  static constexpr char const* name = "max_pool";

  Sum begin;  // minus infinity, or spconv's 0

  [[nodiscard]] static LargestInWindow make(bool from_zero)
  {
    return {from_zero ? Sum{0} : LargestOfRows<Scalar>::identity};
  }

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

  Sum begin;  // 0

  [[nodiscard]] static MeanOfWindow make(bool) { return {Sum{0}}; }

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

  Sum begin;  // 0

  [[nodiscard]] static SumOfWindow make(bool) { return {Sum{0}}; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum combine(Sum a, Sum b) { return a + b; }
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum finish(Sum value, int) { return value; }
};

/// pooled[o, c] = what `rule` makes of the inputs of o, offsets ascending; 0 where there are none. Item
/// number n is pack n of the output, `Size` channels.
template <class Scalar, class Rule, int Size>
struct PoolWindows {
  using Sum = accumulator_t<Scalar>;

  Scalar const* features;      // [num_in, packs * Size]
  std::int32_t const* out_in;  // [num_out, volume]
  Scalar* pooled;              // [num_out, packs * Size]
  int volume;
  std::int64_t packs;
  Rule rule;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / packs;
    auto const pack = n - row * packs;
    Sum values[Size];
    for (int j = 0; j < Size; ++j) { values[j] = rule.begin; }
    int count = 0;
    for (int k = 0; k < volume; ++k) {
      auto const in = out_in[row * volume + k];
      if (in < 0) { continue; }
      ++count;
      auto const read = load_pack<Size>(features + (in * packs + pack) * Size);
      for (int j = 0; j < Size; ++j) {
        values[j] = Rule::combine(values[j], static_cast<Sum>(read.values[j]));
      }
    }
    Pack<Scalar, Size> result;
    for (int j = 0; j < Size; ++j) {
      result.values[j] = static_cast<Scalar>(count > 0 ? Rule::finish(values[j], count) : Sum{0});
    }
    store_pack(pooled + n * Size, result);
  }
};

/// The geometry that `options` mean on `set`.
template <int Dim, class Space>
[[nodiscard]] ConvolutionGeometry<Dim> pool_geometry(nn::PoolOptions<Dim> const& options,
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
[[nodiscard]] ConvConfig pool_config(nn::PoolOptions<Dim> const& options)
{
  auto config = options.config() ? *options.config() : thread_conv_config();
  if (options.compat()) { config.compat = *options.compat(); }
  return config;
}

/// Outputs of a pool and the map from the rows of `x` to them.
template <int Dim, class Scalar, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> pool_map(SparseTensor<Dim, Scalar, Space> const& x,
                                                     nn::PoolOptions<Dim> const& options, char const* who,
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
                                                               nn::PoolOptions<Dim> const& options,
                                                               Execution<Space> const& exec)
{
  expect_coordinates(x, Rule::name);
  auto const mapped = pool_map(x, options, Rule::name, exec);
  auto& map = *mapped.map;
  Matrix<Scalar, Space> pooled{map.num_out(), x.channels(), exec};
  auto const rule =
      Rule::make(rules::visit(pool_config(options).compat, [](auto rules) { return rules.pools_from_zero; }));
  with_pack_size<Scalar>(x.channels() % pack_size<Scalar> == 0, [&](auto size) {
    constexpr int columns = decltype(size)::value;
    using Body = PoolWindows<Scalar, Rule, columns>;
    for_each(
        pooled.size() / columns,
        Body{x.features().data, map.out_in(exec), pooled.data(), map.volume(), x.channels() / columns, rule},
        exec);
  });
  return {mapped.coordinates, std::move(pooled)};
}

}  // namespace detail

namespace ops {

/// Pooling over a kernel: detail::LargestInWindow or detail::MeanOfWindow.
template <class Rule, int Dim, class Scalar, class Space>
struct PoolRecord final : FunctionRecord<PoolRecord<Rule, Dim, Scalar, Space>, Space,
                                         SparseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  PoolRecord(Tensor const& y, Tensor const& x, nn::PoolOptions<Dim> const& with)
      : PoolRecord::FunctionRecord{Recorded<Tensor>{y}, Recorded<Tensor>{x}}, options{with}
  {
    options.config(detail::pool_config(with));
  }

  [[nodiscard]] char const* name() const noexcept override { return Rule::name; }
  [[nodiscard]] Tensor compute(Tensor const& x, Execution<Space> const& exec) const
  {
    return detail::pool_unrecorded<Rule>(x, options, exec);
  }
  [[nodiscard]] OperationWork work(Execution<Space> const& exec) const override
  {
    auto work = PoolRecord::FunctionRecord::work(exec);
    auto const* const x = this->input().value();
    if (x == nullptr) { return work; }
    auto const map = detail::pool_map(*x, options, Rule::name, exec).map;
    work.pairs = detail::count_pairs(*map, exec);
    work.gathered_bytes = static_cast<double>(work.pairs) * x->channels() * sizeof(Scalar);
    return work;
  }

  nn::PoolOptions<Dim> options;  // with the configuration of the thread that recorded
};

}  // namespace ops

namespace detail {

template <class Rule, int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                    nn::PoolOptions<Dim> const& options,
                                                    Execution<Space> const& exec)
{
  return run_recorded(
      exec, [&](auto const& inside) { return pool_unrecorded<Rule>(x, options, inside); },
      [&](auto const& y) {
        return std::make_shared<ops::PoolRecord<Rule, Dim, Scalar, Space>>(y, x, options);
      });
}

}  // namespace detail

/// The largest value of each channel over the voxels in each output's window, NaN where there is one: absent
/// voxels do not take part.
///
/// `y[o, c] = max over existing x[stride * o - padding + d * dilation, c]`; the outputs are those of a
/// strided convolution, new rows in lexicographic order. compat::spconv starts from 0, so that no result is
/// negative.
/// @throws invalid_argument  what kernel_map() says; a kernel of -1 on a tensor without a spatial range
/// Cost: kernel_map() the first time; one read of every pair. Stream: enqueues one kernel; waits only where
/// kernel_map() does. Determinism: the same bits on every run and for every order of the input rows.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> max_pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                        nn::PoolOptions<Dim> const& options,
                                                        Execution<Space> const& exec)
{
  return detail::pool<detail::LargestInWindow<Scalar>>(x, options, exec);
}

/// The mean of each channel over the existing voxels in each output's window; sums in float (double for
/// double). Outputs, errors, cost, stream, determinism: as max_pool().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> average_pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                            nn::PoolOptions<Dim> const& options,
                                                            Execution<Space> const& exec)
{
  return detail::pool<detail::MeanOfWindow<Scalar>>(x, options, exec);
}

/// The sum of each channel over the existing voxels in each output's window, in float (double for double). Outputs,
/// errors, cost, stream, determinism: as max_pool().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> sum_pool(SparseTensor<Dim, Scalar, Space> const& x,
                                                        nn::PoolOptions<Dim> const& options,
                                                        Execution<Space> const& exec)
{
  return detail::pool<detail::SumOfWindow<Scalar>>(x, options, exec);
}

}  // namespace v0
}  // namespace tessera
