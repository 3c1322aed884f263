// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/subdivide.hpp>
#include <tessera/ops/record.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <memory>
#include <optional>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How children are chosen and numbered.
struct ChildChoice {
  ChildOrder order = ChildOrder::last_axis_fastest;
  std::optional<double> above;  // of logits: those above it; none: the voxels of the tensor given
};

/// Throws unless the channels of `x` are those of 2^Dim pieces.
template <int Dim, class Scalar, class Space>
void expect_pieces(SparseTensor<Dim, Scalar, Space> const& x)
{
  expect_coordinates(x, "channels_to_space");
  expects(x.channels() % num_children<Dim> == 0, "channels_to_space: ", x.channels(),
          " channels do not make the ", num_children<Dim>, " children of a voxel");
}

/// The pieces of `x` on the voxels of `children`, which have `pieces` of them.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> on_children(SparseTensor<Dim, Scalar, Space> const& x,
                                                           CoordinateSetPointer<Dim, Space> children,
                                                           ChildOrder order, Execution<Space> const& exec)
{
  auto const channels = x.channels() / num_children<Dim>;
  Matrix<Scalar, Space> y{children->capacity(), channels, exec};
  auto const pieces = pieces_of(*children, *x.coordinates(), order, exec);
  gather_pieces(x.features().data, *pieces, channels, y.data(), exec);
  return {std::move(children), std::move(y)};
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> channels_to_space_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, Matrix<std::uint8_t, Space> const& mask,
    ChildChoice const& choice, Execution<Space> const& exec)
{
  constexpr int bytes = ceil_div(num_children<Dim>, 8);
  expect_pieces(x);
  expects(mask.rows() == x.capacity() && mask.columns() == bytes, "channels_to_space: a mask [", mask.rows(),
          ", ", mask.columns(), "] for ", x.capacity(), " rows; it must be [rows, ", bytes, "]");
  auto children = subdivide(*x.coordinates(), HasChildBit{mask.data(), bytes}, choice.order, exec);
  return on_children(x, std::move(children), choice.order, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> channels_to_space_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, SparseTensor<Dim, Scalar, Space> const& by,
    ChildChoice const& choice, Execution<Space> const& exec)
{
  expect_pieces(x);
  if (!choice.above) {
    expect_coordinates(by, "channels_to_space");
    expects(
        is_same_manager<Dim, Space>(x.coordinates(), by.coordinates()),
        "channels_to_space: the voxels to go back to were not made from, nor led to, those of the tensor");
    return on_children(x, by.coordinates(), choice.order, exec);
  }
  expect_same_voxels(x, by, "channels_to_space", "a tensor of logits on the same voxels");
  expects(by.channels() == num_children<Dim>, "channels_to_space: logits of ", by.channels(),
          " channels for the ", num_children<Dim>, " children of a voxel");
  HasChildLogit<Scalar> const has_child{by.features().data, num_children<Dim>,
                                        static_cast<accumulator_t<Scalar>>(*choice.above)};
  return on_children(x, subdivide(*x.coordinates(), has_child, choice.order, exec), choice.order, exec);
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> space_to_channels_unrecorded(
    SparseTensor<Dim, Scalar, Space> const& x, ChildOrder order, Execution<Space> const& exec)
{
  expect_coordinates(x, "space_to_channels");
  auto const mapped = parents_of(*x.coordinates(), exec);
  Matrix<Scalar, Space> y{mapped.map->num_out(), std::int64_t{x.channels()} * num_children<Dim>, exec};
  gather_pieces(x.features().data, children_of<Dim>(*mapped.map, order, exec), x.channels(), y.data(), exec);
  return {mapped.coordinates, std::move(y)};
}

/// The gradient of space_to_channels(), of a tensor that may have no features.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> space_to_channels_gradient(MatrixView<Scalar const> const& grad,
                                                               SparseTensor<Dim, Scalar, Space> const& x,
                                                               ChildOrder order, Execution<Space> const& exec)
{
  expect_coordinates(x, "space_to_channels_backward");
  auto const mapped = parents_of(*x.coordinates(), exec);
  expects(grad.rows == mapped.map->num_out() && grad.columns % num_children<Dim> == 0,
          "space_to_channels_backward: a gradient of ", grad.rows, " x ", grad.columns, " for ",
          mapped.map->num_out(), " rows of ", num_children<Dim>, " children");
  auto const channels = grad.columns / num_children<Dim>;
  auto const pieces = pieces_of(*x.coordinates(), *mapped.coordinates, order, exec);
  Matrix<Scalar, Space> result{x.capacity(), channels, exec};
  gather_pieces(grad.data, *pieces, channels, result.data(), exec);
  return result;
}

}  // namespace detail

/// The gradient of channels_to_space() in all its forms for `x`:
/// `dx[i, k C + c] = grad[child number k of i, c]` for c < C, 0 where there is none.
/// @param grad  [rows of y, C] in `Space`
/// @param y     what channels_to_space() returned; its features are not read
/// @throws invalid_argument  other rows than those of `y`
/// Cost: one pass over the result.
/// Stream: enqueues on `exec`, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> channels_to_space_backward(MatrixView<Scalar const> const& grad,
                                                               SparseTensor<Dim, Scalar, Space> const& y,
                                                               SparseTensor<Dim, Scalar, Space> const& x,
                                                               ChildOrder order, Execution<Space> const& exec)
{
  detail::expect_coordinates(y, "channels_to_space_backward");
  detail::expect_coordinates(x, "channels_to_space_backward");
  detail::expects(grad.rows == y.capacity(), "channels_to_space_backward: ", grad.rows,
                  " rows of a gradient for ", y.capacity(), " rows");
  constexpr int children = detail::num_children<Dim>;
  auto const pieces = detail::pieces_of(*y.coordinates(), *x.coordinates(), order, exec);
  auto const child = detail::inverted(*pieces, x.capacity() * children, exec);
  Matrix<Scalar, Space> result{x.capacity(), grad.columns * children, exec};
  detail::gather_pieces(grad.data, child, grad.columns, result.data(), exec);
  return result;
}

/// The gradient of space_to_channels() for `x`: `dx[i, c] = grad[o, k C + c]` for row i, child number k of voxel o.
/// @param grad  [parents, 2^Dim C] in `Space`
/// @throws invalid_argument  other rows than those parents
/// Cost, stream, determinism: as channels_to_space_like().
template <int Dim, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> space_to_channels_backward(MatrixView<Scalar const> const& grad,
                                                               SparseTensor<Dim, Scalar, Space> const& x,
                                                               ChildOrder order, Execution<Space> const& exec)
{
  return detail::space_to_channels_gradient(grad, x, order, exec);
}

namespace ops {

/// The pieces of voxels' channels, on their children. `By` is the mask, or the tensor that has the logits or
/// stands on the children.
template <int Dim, class Scalar, class Space, class By>
struct ChannelsToSpaceRecord final
    : FunctionRecord<ChannelsToSpaceRecord<Dim, Scalar, Space, By>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, By> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using ChannelsToSpaceRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "channels_to_space"; }
  [[nodiscard]] Tensor compute(Tensor const& x, By const& by, Execution<Space> const& exec) const
  {
    return detail::channels_to_space_unrecorded(x, by, choice, exec);
  }
  /// Of logits there is none: they decide, and do not enter the result.
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(x.id(),
                  channels_to_space_backward(grad, *this->output().value(), *x.value(), choice.order, exec),
                  exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->template input<1>().give_back();
    this->output().give_features_back();
  }

  detail::ChildChoice choice;
};

/// The features of voxels side by side on their parents.
template <int Dim, class Scalar, class Space>
struct SpaceToChannelsRecord final
    : FunctionRecord<SpaceToChannelsRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using SpaceToChannelsRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "space_to_channels"; }
  [[nodiscard]] Tensor compute(Tensor const& x, Execution<Space> const& exec) const
  {
    return detail::space_to_channels_unrecorded(x, order, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    auto const grad = gradients.template of<Scalar>(this->output().id());
    gradients.add(x.id(), detail::space_to_channels_gradient(grad, *x.value(), order, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->output().give_back();
  }

  ChildOrder order = ChildOrder::last_axis_fastest;
};

}  // namespace ops

namespace detail {

template <int Dim, class Scalar, class Space, class By>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> channels_to_space(SparseTensor<Dim, Scalar, Space> const& x,
                                                                 By const& by, ChildChoice const& choice,
                                                                 Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return run_recorded(
      exec, [&](auto const& inside) { return channels_to_space_unrecorded(x, by, choice, inside); },
      [&](Tensor const& y) {
        auto record = std::make_shared<ops::ChannelsToSpaceRecord<Dim, Scalar, Space, By>>(
            ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{x}, ops::Recorded<By>{by});
        record->choice = choice;
        return record;
      });
}

}  // namespace detail

/// Splits each voxel into those of its 2^Dim children that a mask names, and its channels among them: child
/// number k of voxel i, at `2 position + bits of k`, gets `x[i, k C + c]` for c < C, C being channels / 2^Dim.
///
/// | name    | shape                     | memory | holds                                                   |
/// |---------|---------------------------|--------|---------------------------------------------------------|
/// | x       | [rows, 2^Dim C]           | Space  |                                                         |
/// | mask    | [rows, ceil(2^Dim / 8)]   | Space  | bit k % 8 of byte k / 8: whether there is child k       |
/// | order   |                           | host   | how children are numbered, in mask and channels         |
/// | returns | [children, C]             | Space  | those of voxel 0 first, of one voxel by their numbers   |
///
/// The result has half the tensor stride (1 of an odd one), and twice the spatial range if there is one. A
/// second tensor on the same voxels goes to the same children by channels_to_space_like().
/// @throws invalid_argument  channels that 2^Dim does not divide, a mask of another shape, children beyond 2^30
/// Cost: a scan and two passes over the voxels, one over the children's features.
/// Stream: enqueues on `exec`; waits once for the number of children, which in sets of fixed capacity stays in
/// the space; there is then room for FixedCapacity::at() the new stride, and more are an error of the
/// coordinates.
/// Determinism: same input, same bits.
/// Source: SparseChannel2Spatial of TRELLIS.2, under ChildOrder::first_axis_fastest.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> channels_to_space(SparseTensor<Dim, Scalar, Space> const& x,
                                                                 Matrix<std::uint8_t, Space> const& mask,
                                                                 ChildOrder order,
                                                                 Execution<Space> const& exec)
{
  return detail::channels_to_space(x, mask, {order, std::nullopt}, exec);
}

/// The same where a child is there if its logit is above the threshold; NaN is not. A network predicts them,
/// and they have no gradient from here.
/// @param logits  [rows, 2^Dim] on the voxels of `x`
/// @throws invalid_argument  also: logits on other voxels or of other channels
/// Cost, stream, determinism: as channels_to_space().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> channels_to_space_above(
    SparseTensor<Dim, Scalar, Space> const& x, SparseTensor<Dim, Scalar, Space> const& logits,
    double threshold, ChildOrder order, Execution<Space> const& exec)
{
  return detail::channels_to_space(x, logits, {order, threshold}, exec);
}

/// The same with the voxels of `like` for children: those that another tensor on the voxels of `x` was split
/// into, or that space_to_channels() made the voxels of `x` from. A voxel whose parent is not there gets
/// zeros.
/// @param like  its features are not read
/// @throws invalid_argument  also: voxels that have nothing to do with those of `x`
/// Cost, stream, determinism: as channels_to_space(), but it never waits; a table of `like` where children were
/// not made here.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> channels_to_space_like(
    SparseTensor<Dim, Scalar, Space> const& x, SparseTensor<Dim, Scalar, Space> const& like, ChildOrder order,
    Execution<Space> const& exec)
{
  return detail::channels_to_space(x, like, {order, std::nullopt}, exec);
}

/// Puts the features of each voxel's children side by side: `y[o, k C + c]` is channel c of `x` at child number
/// k of voxel o, 0 where that is not there. The voxels are `floor(position / 2)` of those of `x`, each once, in
/// lexicographic order, at twice the tensor stride.
///
/// | name    | shape              | memory | holds                          |
/// |---------|--------------------|--------|--------------------------------|
/// | x       | [rows, C]          | Space  |                                |
/// | order   |                    | host   | how children are numbered      |
/// | returns | [parents, 2^Dim C] | Space  |                                |
///
/// @throws invalid_argument  what kernel_map() throws
/// Cost: kernel_map() of kernel 2 and stride 2 the first time, one pass over the result.
/// Stream: as kernel_map().
/// Determinism: same input, same bits.
/// Source: SparseSpatial2Channel of TRELLIS.2, under ChildOrder::first_axis_fastest.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> space_to_channels(SparseTensor<Dim, Scalar, Space> const& x,
                                                                 ChildOrder order,
                                                                 Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::space_to_channels_unrecorded(x, order, inside); },
      [&](Tensor const& y) {
        auto record = std::make_shared<ops::SpaceToChannelsRecord<Dim, Scalar, Space>>(
            ops::Recorded<Tensor>{y}, ops::Recorded<Tensor>{x});
        record->order = order;
        return record;
      });
}

}  // namespace v0
}  // namespace tessera
