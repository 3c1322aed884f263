// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/conv/convolution_backward.hpp>
#include <tessera/ops/detail/grouped_products.hpp>
#include <tessera/ops/detail/product_gradients.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// What a grouped convolution is besides its tensor, weight and bias.
template <int Dim>
struct GroupedConvolutionOptions {
  int groups = 1;
  int out_channels = 0;
  ConvolutionKind kind = ConvolutionKind::submanifold;
  ConvolutionGeometry<Dim> geometry;
  ConvConfig config;  ///< of which kernel map, downsample rule and compat count
};

namespace detail {

[[nodiscard]] inline ChannelGroups channel_groups(std::int64_t in_channels, std::int64_t out_channels,
                                                  int groups, char const* who)
{
  expects(groups >= 1 && in_channels >= 1 && out_channels >= 1 && in_channels % groups == 0 &&
              out_channels % groups == 0,
          who, ": ", groups, " groups do not divide ", in_channels, " -> ", out_channels, " channels");
  return {groups, static_cast<int>(in_channels) / groups, static_cast<int>(out_channels) / groups};
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> grouped_convolution_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, Scalar const* weight, Scalar const* bias,
    GroupedConvolutionOptions<Dim> const& o, Execution<Space> const& exec)
{
  expect_coordinates(x, "grouped_convolution");
  auto const channels = channel_groups(x.channels(), o.out_channels, o.groups, "grouped_convolution");
  auto const mapped = kernel_map(o.config, *x.coordinates(), o.kind, o.geometry, exec);
  return {mapped.coordinates,
          grouped_products<false, Scalar>(x.features(), weight, bias, channels, *mapped.map, exec)};
}

}  // namespace detail

/// The gradient of a grouped convolution's input:
/// `dx[i, j of group g] = sum over k, the rows o with map.out_in(o, k) = i, and channels c of g of dy[o, c] weight[k, j, c]`.
///
/// | name        | shape                                        | memory | holds                    |
/// |-------------|----------------------------------------------|--------|--------------------------|
/// | grad_output | [map.num_out(), out_channels]                | Space  | dy                       |
/// | weight      | [volume, in_channels / groups, out_channels] | Space  | of the convolution       |
/// | map         |                                              | Space  | of the convolution       |
/// | returns     | [map.num_in(), in_channels]                  | Space  | dx                       |
///
/// @throws invalid_argument  other rows than outputs, groups that do not divide the channels
/// Cost: transpose() of the map the first time, one read of every pair.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run and for every order of rows.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> grouped_convolution_backward_data(
    MatrixView<Scalar const> const& grad_output, Scalar const* weight, int in_channels, int groups,
    KernelMap<Space>& map, Execution<Space> const& exec)
{
  constexpr char const* who = "grouped_convolution_backward_data";
  detail::expects(grad_output.rows == map.num_out(), who, ": ", grad_output.rows, " rows of a gradient for ",
                  map.num_out(), " output rows");
  auto const channels = detail::channel_groups(in_channels, grad_output.columns, groups, who);
  return detail::grouped_products<true, Scalar>(grad_output, weight, nullptr, channels, *transpose(map, exec),
                                                exec);
}

/// The gradient of a grouped convolution's weight:
/// `dweight[k, j, c] = sum over the output rows o with i = map.out_in(o, k) >= 0 of x[i, j of c's group] * dy[o, c]`.
///
/// | name        | shape                                        | memory | holds                    |
/// |-------------|----------------------------------------------|--------|--------------------------|
/// | x           | [map.num_in(), in_channels]                  | Space  | the convolution's input  |
/// | grad_output | [map.num_out(), out_channels]                | Space  | dy                       |
/// | grad_weight | [volume, in_channels / groups, out_channels] | Space  | written, or added to     |
///
/// @throws invalid_argument  another number of rows, groups that do not divide the channels
/// Cost: one read of every pair; up to 64 MB of memory.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: the same bits on every run, and whatever the capacity of the sets; another order of rows
/// differs by rounding.
template <class Scalar, class Space>
void grouped_convolution_backward_weight(MatrixView<Scalar const> const& x,
                                         MatrixView<Scalar const> const& grad_output, int groups,
                                         KernelMap<Space>& map, accumulator_t<Scalar>* grad_weight,
                                         GradientMode mode, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  constexpr char const* who = "grouped_convolution_backward_weight";
  detail::expects(x.rows == map.num_in() && grad_output.rows == map.num_out(), who, ": ", x.rows,
                  " rows of features and ", grad_output.rows, " of gradients for a map from ", map.num_in(),
                  " to ", map.num_out(), " rows");
  auto const channels = detail::channel_groups(x.columns, grad_output.columns, groups, who);
  auto const size = std::int64_t{map.volume()} * channels.in * channels.out_channels();
  auto const* const out_in = map.out_in(exec);
  Buffer<Sum, Space> sums{size, exec};
  detail::sum_by_slabs(
      map.num_out(), size, sums.data(), exec, [&](std::int64_t first, std::int64_t count, Sum* parts) {
        for_each(count * size,
                 detail::GroupedWeightSlabs<Scalar>{x.data, grad_output.data, out_in, parts, channels,
                                                    map.volume(), map.num_out(), first},
                 exec);
      });
  for_each(size, detail::StoreGradient<Sum, Sum>{sums.data(), grad_weight, mode == GradientMode::accumulate},
           exec);
}

namespace ops {

/// `y = grouped_convolution(x)`.
template <int Dim, class Scalar, class Space>
struct GroupedConvolutionRecord final
    : FunctionRecord<GroupedConvolutionRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using GroupedConvolutionRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "grouped_convolution"; }
  [[nodiscard]] std::vector<VariableId> parameters() const override { return {weight.id, bias.id}; }
  [[nodiscard]] Tensor compute(Tensor const& x, Execution<Space> const& exec) const
  {
    return detail::grouped_convolution_unrecorded(x, weight.data(), bias.data(), options, exec);
  }
  [[nodiscard]] OperationWork work(Execution<Space> const& exec) const override
  {
    auto work = GroupedConvolutionRecord::FunctionRecord::work(exec);
    auto const* const x = this->input().value();
    if (x == nullptr) { return work; }
    auto const map = map_of(*x, exec);
    detail::note_product<Scalar>(work, detail::count_pairs(*map, exec), map->volume(),
                                 x->channels() / options.groups, options.out_channels);
    return work;
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    using Sum = accumulator_t<Scalar>;
    auto const& x = *this->input().value();
    auto const grad = gradients.template of<Scalar>(this->output().id());
    auto const map = map_of(x, exec);
    auto const size = std::int64_t{map->volume()} * (x.channels() / options.groups) * options.out_channels;
    if (auto* const to = gradients.template parameter<Sum>(weight.id, size, exec)) {
      grouped_convolution_backward_weight<Scalar>(x.features(), grad, options.groups, *map, to,
                                                  GradientMode::accumulate, exec);
    }
    if (auto* const to = gradients.template parameter<Sum>(bias.id, options.out_channels, exec)) {
      convolution_backward_bias<Scalar>(grad, *map, to, GradientMode::accumulate, exec);
    }
    if (!gradients.wants(this->input().id())) { return; }
    gradients.add(this->input().id(),
                  grouped_convolution_backward_data<Scalar>(grad, weight.data(), x.channels(), options.groups,
                                                            *map, exec),
                  exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_back(); }
  void expect_unchanged() const override
  {
    GroupedConvolutionRecord::FunctionRecord::expect_unchanged();
    detail::expect_unwritten(weight, name());
  }
  template <class Visit>
  void visit_parameters(Visit const& visit) const
  {
    visit(weight);
    visit(bias);
  }

  ParameterRef<Scalar> weight;  // [volume, in_channels / groups, out_channels]
  ParameterRef<Scalar> bias;    // [out_channels], or none
  GroupedConvolutionOptions<Dim> options;

 private:
  [[nodiscard]] std::shared_ptr<KernelMap<Space>> map_of(Tensor const& x, Execution<Space> const& exec) const
  {
    return detail::kernel_map(options.config, *x.coordinates(), options.kind, options.geometry, exec).map;
  }
};

}  // namespace ops

/// Convolution whose channels are in groups that do not mix; depthwise where a group has one channel:
/// `y[o, c] = bias[c] + sum over pairs (in, o) of offset k, and channels j of c's group, of x[in, j] weight[k, j, c]`.
///
/// | name    | shape                                        | memory | holds                                      |
/// |---------|----------------------------------------------|--------|--------------------------------------------|
/// | x       | [rows, in_channels]                          | Space  |                                            |
/// | weight  | [volume, in_channels / groups, out_channels] | Space  | offsets in the order of the kernel's shape |
/// | bias    | [out_channels] or null                       | Space  |                                            |
/// | returns | [num_out, out_channels]                      | Space  | on the outputs that kernel_map() describes |
///
/// Group g reads the channels `g in / groups` on and writes `g out / groups` on. Products are exact in every
/// MathMode, summed in accumulator_t<Scalar> and rounded once.
/// @throws invalid_argument  groups that do not divide the channels, and what kernel_map() throws
/// Cost: kernel_map() the first time; num_pairs * in_channels * out_channels / groups multiply-adds, by plain
/// arithmetic.
/// Stream: enqueues on `exec`; waits only where kernel_map() does.
/// Determinism: the same bits on every run and for every order of the input rows.
/// Source: PyTorch's Conv with `groups`; MinkowskiChannelwiseConvolution.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> grouped_convolution(
    SparseTensor<Dim, Scalar, Space> const& x, detail::ParameterArgument<Scalar> const& weight,
    detail::ParameterArgument<Scalar> const& bias, GroupedConvolutionOptions<Dim> const& options,
    Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec,
      [&](auto const& inside) {
        return detail::grouped_convolution_unrecorded<Dim, Scalar, Space>(x, weight.data(), bias.data(),
                                                                          options, inside);
      },
      [&](Tensor const& y) {
        auto record = std::make_shared<ops::GroupedConvolutionRecord<Dim, Scalar, Space>>(
            ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{x});
        record->weight = weight;
        record->bias = bias;
        record->options = options;
        return record;
      });
}

}  // namespace v0
}  // namespace tessera
