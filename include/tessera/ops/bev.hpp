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

/// Element i of the features to its place in the map.
template <class Out, class Scalar>
struct CopyToBev {
  CoordinateView<3> coordinates;
  Scalar const* features;  // [capacity, channels]
  std::int64_t channels;
  SpatialRange<3> range;
  int axis;
  BevChannels order;
  DenseShape<2> shape;
  Out* map;
  std::uint32_t* errors;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    auto const row = i / channels;
    if (row >= coordinates.size()) { return; }
    auto const channel = i - row * channels;
    auto const c = coordinates[row];
    Coordinate<2> cell;
    cell.batch = c.batch;
    cell.position[0] = c.position[axis == 0 ? 1 : 0];
    cell.position[1] = c.position[axis == 2 ? 1 : 2];
    auto const height = c.position[axis];
    auto const heights = range.extent[axis];
    if (!shape.contains(cell) || height < 0 || height >= heights) {
      atomic_or(errors, std::uint32_t{DataError::out_of_range});
      return;
    }
    auto const to =
        order == BevChannels::channel_major ? channel * heights + height : height * channels + channel;
    map[shape.element(shape.cell(cell), to)] =
        static_cast<Out>(static_cast<accumulator_t<Scalar>>(features[i]));
  }
};

template <class Element, class Scalar, class Space>
[[nodiscard]] DenseTensor<2, Element, Space> bev_unrecorded(SparseTensor<3, Scalar, Space> const& x,
                                                            BevOptions const& options,
                                                            Execution<Space> const& exec)
{
  expects(options.axis() >= 0 && options.axis() <= 2, "bev: axis ", options.axis(),
          "; the axes are 0, 1 and 2");
  expect_coordinates(x, "bev");
  auto& set = *x.coordinates();
  expects(options.range() || set.spatial_range(),
          "bev: the tensor has no spatial range, so one must be given");
  auto const range = options.range() ? *options.range() : *set.spatial_range();
  static_cast<void>(count_cells(range, x.channels(), "bev"));
  check_inside(set, range, "bev", exec);
  int const axis = options.axis();
  auto const channels = std::int64_t{range.extent[axis]} * x.channels();
  expects(channels <= INT_MAX, "bev: ", range.extent[axis], " heights of ", x.channels(),
          " channels are too many");
  SpatialRange<2> const plane{range.batches,
                              {range.extent[axis == 0 ? 1 : 0], range.extent[axis == 2 ? 1 : 2]}};
  DenseTensor<2, Element, Space> map{plane, static_cast<int>(channels), options.layout(), exec};
  map.set_zero(exec);
  for_each(x.features().size(),
           CopyToBev<Element, Scalar>{set.view(), x.features().data, x.channels(), range, axis,
                                      options.channels(), map.indexing(), map.data(), access(set).errors()},
           exec);
  if constexpr (std::is_same_v<Space, Host>) { set.check(exec); }
  return map;
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

}  // namespace v0
}  // namespace tessera
