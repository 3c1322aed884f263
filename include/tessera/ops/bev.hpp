// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/dense.hpp>

#include <climits>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// How the channels of a bird's-eye view are made of C channels on D heights.
enum class BevChannels : std::uint8_t {
  channel_major,  ///< `c * D + d`: `dense().view(N, C * D, H, W)` of spconv's encoders
  height_major,   ///< `d * C + c`: TorchSparse's ToBEVHeightCompression
};

/// How bev() lays out: `BevOptions().axis(2)` for coordinates (b, x, y, z).
struct BevOptions {
  /// The axis that is looked along, counted without the batch: 0 of (b, z, y, x), 2 of (b, x, y, z). The
  /// other two are rows and columns, in their order: y and x of the former, x and y of the latter.
  BevOptions& axis(int value) { return axis_ = value, *this; }
  [[nodiscard]] int axis() const noexcept { return axis_; }
  /// channels_first (default) is NCHW, channels_last NHWC.
  BevOptions& layout(DenseLayout value) { return layout_ = value, *this; }
  [[nodiscard]] DenseLayout layout() const noexcept { return layout_; }
  BevOptions& channels(BevChannels value) { return channels_ = value, *this; }
  [[nodiscard]] BevChannels channels() const noexcept { return channels_; }
  /// The range_; without it that of the tensor.
  BevOptions& range(SpatialRange<3> const& value) { return range_ = value, *this; }
  [[nodiscard]] std::optional<SpatialRange<3>> const& range() const noexcept { return range_; }

 private:
  int axis_ = 0;
  DenseLayout layout_ = DenseLayout::channels_first;
  BevChannels channels_ = BevChannels::channel_major;
  std::optional<SpatialRange<3>> range_;
};

namespace detail {

/// Where the voxels of a grid are in its map.
struct BevPlaces {
  SpatialRange<3> range;
  int axis;
  BevChannels order;
  DenseShape<2> shape;

  /// The element of channel `channel` of a voxel; -1 outside the grid.
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t element(Coordinate<3> const& c, std::int64_t channel,
                                                         std::int64_t channels) const
  {
    Coordinate<2> cell;
    cell.batch = c.batch;
    cell.position[0] = c.position[axis == 0 ? 1 : 0];
    cell.position[1] = c.position[axis == 2 ? 1 : 2];
    auto const height = c.position[axis];
    auto const heights = range.extent[axis];
    if (!shape.contains(cell) || height < 0 || height >= heights) { return -1; }
    auto const to =
        order == BevChannels::channel_major ? channel * heights + height : height * channels + channel;
    return shape.element(shape.cell(cell), to);
  }
};

/// Element i of the features to its place in the map, or from it, when rows that are not in use get zeros.
template <class Element, class Scalar, bool ToMap>
struct CopyBev {
  CoordinateView<3> coordinates;
  std::conditional_t<ToMap, Scalar const, Scalar>* features;  // [capacity, channels]
  std::int64_t channels;
  BevPlaces places;
  std::conditional_t<ToMap, Element, Element const>* map;
  std::uint32_t* errors;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const row = i / channels;
    bool const used = row < coordinates.size();
    auto const at = used ? places.element(coordinates[row], i - row * channels, channels) : -1;
    if (used && at < 0) { atomic_or(errors, std::uint32_t{DataError::out_of_range}); }
    if constexpr (ToMap) {
      if (at >= 0) { map[at] = static_cast<Element>(static_cast<accumulator_t<Scalar>>(features[i])); }
    } else {
      features[i] =
          at >= 0 ? static_cast<Scalar>(static_cast<accumulator_t<Element>>(map[at])) : Scalar(0.0F);
    }
  }
};

template <class Scalar, class Space>
[[nodiscard]] BevPlaces bev_places(SparseTensor<3, Scalar, Space> const& x, std::int64_t channels,
                                   BevOptions const& options, char const* who)
{
  expects(options.axis() >= 0 && options.axis() <= 2, who, ": axis ", options.axis(),
          "; the axes are 0, 1 and 2");
  expect_coordinates(x, who);
  auto const& set = *x.coordinates();
  expects(options.range() || set.spatial_range(), who,
          ": the tensor has no spatial range, so one must be given");
  auto const range = options.range() ? *options.range() : *set.spatial_range();
  static_cast<void>(count_cells(range, channels, who));
  int const axis = options.axis();
  auto const of_map = range.extent[axis] * channels;
  expects(of_map <= INT_MAX, who, ": ", range.extent[axis], " heights of ", channels,
          " channels are too many");
  SpatialRange<2> const plane{range.batches,
                              {range.extent[axis == 0 ? 1 : 0], range.extent[axis == 2 ? 1 : 2]}};
  return {range, axis, options.channels(), {plane, of_map, options.layout()}};
}

template <class Element, class Scalar, class Space>
[[nodiscard]] DenseTensor<2, Element, Space> bev_unrecorded(SparseTensor<3, Scalar, Space> const& x,
                                                            BevOptions const& options,
                                                            Execution<Space> const& exec)
{
  auto const places = bev_places(x, x.channels(), options, "bev");
  auto& set = *x.coordinates();
  check_inside(set, places.range, "bev", exec);
  DenseTensor<2, Element, Space> map{places.shape.range, static_cast<int>(places.shape.channels),
                                     options.layout(), exec};
  map.set_zero(exec);
  for_each(x.features().size(),
           CopyBev<Element, Scalar, true>{set.view(), x.features().data, x.channels(), places, map.data(),
                                          access(set).errors()},
           exec);
  if constexpr (std::is_same_v<Space, Host>) { set.check(exec); }
  return map;
}

/// @param grad  [1, size] of the map, from which the channels of `x` follow
template <class Element, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> bev_gradient(MatrixView<Element const> const& grad,
                                                 SparseTensor<3, Scalar, Space> const& x,
                                                 BevOptions const& options, Execution<Space> const& exec)
{
  auto const cells = count_cells(bev_places(x, 0, options, "bev_backward").range, 1, "bev_backward");
  auto const channels = grad.size() / cells;
  expects(grad.size() == cells * channels, "bev_backward: a gradient of ", grad.size(), " elements for ",
          cells, " cells");
  auto& set = *x.coordinates();
  Matrix<Scalar, Space> dx{set.capacity(), channels, exec};
  for_each(dx.size(),
           CopyBev<Element, Scalar, false>{set.view(), dx.data(), channels,
                                           bev_places(x, channels, options, "bev_backward"), grad.data,
                                           access(set).errors()},
           exec);
  return dx;
}

}  // namespace detail

namespace ops {

/// `y = bev<Element>(x)`.
template <class Element, class Scalar, class Space>
struct BevRecord final : FunctionRecord<BevRecord<Element, Scalar, Space>, Space,
                                        DenseTensor<2, Element, Space>, SparseTensor<3, Scalar, Space>> {
  using BevRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "bev"; }
  [[nodiscard]] DenseTensor<2, Element, Space> compute(SparseTensor<3, Scalar, Space> const& x,
                                                       Execution<Space> const& exec) const
  {
    return detail::bev_unrecorded<Element>(x, options, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Element>(this->output().id());
    gradients.add(x.id(), detail::bev_gradient(grad, *x.value(), options, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    this->input().give_features_back();
    this->output().give_back();
  }

  BevOptions options;
};

}  // namespace ops

/// The dense map seen from above: `map[b, c * D + d, row, column] = features[(b, d, row, column), c]`, zero
/// where there is no voxel, D being the extent of the height axis.
///
/// | name    | shape                                    | memory | holds                          |
/// |---------|------------------------------------------|--------|--------------------------------|
/// | x       | [num_rows, C] on a 3D grid               | Space  | any values                     |
/// | returns | [batches, C * D, H, W] or [.., H, W, C * D] | Space | `Out`, rounded once from Scalar |
///
/// @tparam Out  type of the map, e.g. `bev<__half>(x, options, exec)`; that of the features by default
/// @throws invalid_argument  neither the tensor nor the options have a range; a voxel lies outside it; an
/// axis
///                           that is not 0, 1 or 2
/// Cost: a fill of the map and one pass over the features.
/// Stream: enqueues a fill and a kernel; waits only where the range asked for is smaller than the tensor's
/// bounds.
/// Determinism: same input, same bits.
/// Source: the end of mmdetection3d's SparseEncoder (axis 0) and of BEVFusion's (axis 2).
template <class Out = void, class Scalar, class Space>
[[nodiscard]] auto bev(SparseTensor<3, Scalar, Space> const& x, BevOptions const& options,
                       Execution<Space> const& exec)
{
  using Element = std::conditional_t<std::is_void_v<Out>, Scalar, Out>;
  using Record = ops::BevRecord<Element, Scalar, Space>;
  return detail::run_recorded(
      exec, [&](auto const& inside) { return detail::bev_unrecorded<Element>(x, options, inside); },
      [&](auto const& y) {
        auto record = std::make_shared<Record>(ops::Recorded<DenseTensor<2, Element, Space>>{y},
                                               ops::Recorded<SparseTensor<3, Scalar, Space>>{x});
        record->options = options;
        return record;
      });
}

/// The gradient of bev() with these options for `x`: what is at the place of each voxel's channels in that of
/// the map; 0 in rows that are not in use.
/// @param grad  [1, size] in `Space`: the map's gradient in the order of its layout
/// @throws invalid_argument  a gradient of another size, and what bev() throws
/// Cost: one pass over the features.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <class Element, class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> bev_backward(MatrixView<Element const> const& grad,
                                                 SparseTensor<3, Scalar, Space> const& x,
                                                 BevOptions const& options, Execution<Space> const& exec)
{
  return detail::bev_gradient(grad, x, options, exec);
}

}  // namespace v0
}  // namespace tessera
