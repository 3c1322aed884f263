// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/child_order.hpp>
#include <tessera/coords/coordinate_set.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/kmap/build.hpp>
#include <tessera/ops/detail/select_rows.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

// Parents of 2^Dim pieces of channels, and children that have one of them each. Piece `parent * 2^Dim + number`
// is that of child `number` of a parent.

// --- which children there are ------------------------------------------------------------------------------

/// Bit `number` of each row; 8 to a byte.
struct HasChildBit {
  std::uint8_t const* mask;  // [rows, bytes]
  int bytes;

  [[nodiscard]] TESSERA_HOST_DEVICE bool operator()(std::int64_t row, int number) const
  {
    return (mask[row * bytes + number / 8] >> (number % 8) & 1) != 0;
  }
};

/// NaN is no child.
template <class Scalar>
struct HasChildLogit {
  Scalar const* logits;  // [rows, children]
  int children;
  accumulator_t<Scalar> threshold;

  [[nodiscard]] TESSERA_HOST_DEVICE bool operator()(std::int64_t row, int number) const
  {
    auto const logit = static_cast<accumulator_t<Scalar>>(logits[row * children + number]);
    return logit > threshold && !is_nan(logit);
  }
};

// --- making them -------------------------------------------------------------------------------------------

/// place[i] = children of row i; one further 0 closes the array.
template <int Dim, class HasChild>
struct CountChildren {
  CoordinateView<Dim> parents;
  HasChild has_child;
  std::int32_t* place;  // [capacity + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    std::int32_t count = 0;
    if (i < parents.size()) {
      for (int k = 0; k < num_children<Dim>; ++k) { count += has_child(i, k) ? 1 : 0; }
    }
    place[i] = count;
  }
};

/// Writes the children of each row, numbers ascending, as far as there is room.
template <int Dim, class HasChild>
struct WriteChildren {
  CoordinateView<Dim> parents;
  HasChild has_child;
  ChildOrder order;
  std::int32_t const* place;  // [capacity + 1]
  Coordinate<Dim>* children;  // [room]
  std::int32_t* piece;        // [room]
  std::int64_t room;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (place[i + 1] == place[i]) { return; }
    auto const parent = parents[i];
    std::int64_t at = place[i];
    for (int k = 0; k < num_children<Dim> && at < room; ++k) {
      if (!has_child(i, k)) { continue; }
      auto const bits = child_bits<Dim>(k, order);
      Coordinate<Dim> child{parent.batch, {}};
      for (int axis = 0; axis < Dim; ++axis) {
        child.position[axis] = 2 * parent.position[axis] + bits[axis];
      }
      children[at] = child;
      piece[at] = static_cast<std::int32_t>(i * num_children<Dim> + k);
      ++at;
    }
  }
};

/// How many children there are, and whether there is room for them.
struct FinishChildCount {
  std::int32_t const* total;  // [1]
  std::int32_t* count;        // [1]
  std::uint32_t* errors;      // [1]
  std::int64_t room;

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const
  {
    bool const fits = *total <= room;
    *count = fits ? *total : static_cast<std::int32_t>(room);
    if (!fits) { atomic_or(errors, std::uint32_t{DataError::capacity}); }
  }
};

/// Stride, range and box of the children of a set.
template <int Dim, class Space>
[[nodiscard]] std::pair<CoordinateSetOptions<Dim>, CoordinateBox<Dim>> frame_of_children(
    CoordinateSet<Dim, Space> const& parents)
{
  CoordinateSetOptions<Dim> options;
  options.spatial_range = parents.spatial_range();
  options.fixed_capacity = parents.fixed_capacity();
  options.only_entry = parents.only_entry();
  CoordinateBox<Dim> box = parents.box();
  constexpr int most = 1 << 29;
  for (int i = 0; i < Dim; ++i) {
    int const stride = parents.tensor_stride()[i];
    options.tensor_stride[i] =
        stride % 2 == 0 ? stride / 2 : 1;  // finer than the finest: that is the finest now
    expects(parents.box().empty() || (box.lower[i] >= -most && box.upper[i] < most),
            "channels_to_space: children of ", box.lower[i], " to ", box.upper[i], " on axis ", i,
            " exceed 2^30, beyond which offsets would overflow");
    if (parents.box().empty()) { continue; }
    box.lower[i] = 2 * box.lower[i];
    box.upper[i] = 2 * box.upper[i] + 1;
    if (options.spatial_range) { options.spatial_range->extent[i] *= 2; }
  }
  return {options, box};
}

/// The pieces that the rows of a set have of one's parents, [capacity] or -1; kept by the set of the children.
template <class Space>
using PiecesOfChildren = Buffer<std::int32_t, Space>;

template <class Space>
struct PiecesKey {
  using Value = PiecesOfChildren<Space>;
  void const* parents;
  ChildOrder order;
  friend bool operator==(PiecesKey const& a, PiecesKey const& b)
  {
    return a.parents == b.parents && a.order == b.order;
  }
};

/// The children that `has_child(row, number)` says, as a further set of the coordinate manager: those of row 0
/// first, of one row by their numbers.
/// Stream: waits once for their number, unless the set has a fixed capacity.
template <int Dim, class Space, class HasChild>
[[nodiscard]] CoordinateSetPointer<Dim, Space> subdivide(CoordinateSet<Dim, Space>& parents,
                                                         HasChild const& has_child, ChildOrder order,
                                                         Execution<Space> const& exec)
{
  auto const capacity = parents.capacity();
  auto const pieces = capacity * num_children<Dim>;
  expects(pieces <= INT_MAX, "channels_to_space: up to ", pieces, " children are more than row indices hold");
  auto const [options, box] = frame_of_children(parents);
  Buffer<std::int32_t, Space> place{capacity + 1, exec};
  for_each(capacity + 1, CountChildren<Dim, HasChild>{parents.view(), has_child, place.data()}, exec);
  Scan<Space>::exclusive(place.data(), place.data(), capacity + 1, exec);
  auto const* const total = place.data() + capacity;
  auto const& fixed = parents.fixed_capacity();
  bool const is_fixed = parents.has_device_count() || fixed.has_value();
  auto room = pieces;
  if (fixed) { room = std::min(room, fixed->at(max_element(options.tensor_stride))); }
  if (!is_fixed) { room = download(total, 1, exec)[0]; }
  typename CoordinateSet<Dim, Space>::Rows rows{{room, exec}};
  if (is_fixed) {
    rows.count = Buffer<std::int32_t, Space>{1, exec};
    for_each(1, FinishChildCount{total, rows.count.data(), access(parents).errors(), room}, exec);
  }
  auto own = std::make_shared<PiecesOfChildren<Space>>(room, exec);
  fill_bytes(*own, 0xff, exec);
  for_each(capacity,
           WriteChildren<Dim, HasChild>{parents.view(), has_child, order, place.data(), rows.rows.data(),
                                        own->data(), room},
           exec);
  auto children = parents.derive(std::move(rows), box, options, exec);
  std::lock_guard lock{access(*children).mutex()};
  access(*children).cache().get_or_make(PiecesKey<Space>{&parents, order}, [&] { return own; });
  return children;
}

// --- finding them ------------------------------------------------------------------------------------------

/// The parents of a set: `floor(position / 2)`, each once, and where their children are.
template <int Dim, class Space>
[[nodiscard]] MappedCoordinates<Dim, Space> parents_of(CoordinateSet<Dim, Space>& children,
                                                       Execution<Space> const& exec)
{
  ConvolutionGeometry<Dim> g;
  g.kernel_size = 2;
  g.stride = 2;
  return tessera::kernel_map<HashmapOnTheFly, MinkowskiDownsample>(children, ConvolutionKind::strided, g,
                                                                   Compatibility::none, exec);
}

/// child[piece] = the row that has the piece, or -1, of a map of kernel 2 and stride 2.
template <int Dim>
struct ReadChildren {
  std::int32_t const* out_in;  // [parents, 2^Dim], last axis fastest
  ChildOrder order;
  std::int32_t* child;  // [parents * 2^Dim]

  TESSERA_HOST_DEVICE void operator()(std::int64_t piece) const
  {
    auto const parent = piece / num_children<Dim>;
    auto const number = static_cast<int>(piece - parent * num_children<Dim>);
    child[piece] = out_in[parent * num_children<Dim> + reordered_child<Dim>(number, order)];
  }
};

/// to[from[i]] = i; from one direction to the other.
struct InvertPieces {
  std::int32_t const* from;  // values of which none but -1 is there twice
  std::int32_t* to;          // filled with -1

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (from[i] >= 0) { to[from[i]] = static_cast<std::int32_t>(i); }
  }
};

template <class Space>
[[nodiscard]] Buffer<std::int32_t, Space> inverted(Buffer<std::int32_t, Space> const& from, std::int64_t size,
                                                   Execution<Space> const& exec)
{
  Buffer<std::int32_t, Space> to{size, exec};
  fill_bytes(to, 0xff, exec);
  for_each(from.size(), InvertPieces{from.data(), to.data()}, exec);
  return to;
}

/// The rows of the children of each piece of the rows of `map`'s outputs, or -1.
template <int Dim, class Space>
[[nodiscard]] Buffer<std::int32_t, Space> children_of(KernelMap<Space>& map, ChildOrder order,
                                                      Execution<Space> const& exec)
{
  Buffer<std::int32_t, Space> child{map.num_out() * num_children<Dim>, exec};
  for_each(child.size(), ReadChildren<Dim>{map.out_in(exec), order, child.data()}, exec);
  return child;
}

/// Which piece of `parents` each row of `children` has, remembered from when they were made, or looked up.
/// @pre  both sets are of one coordinate manager
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<PiecesOfChildren<Space>> pieces_of(CoordinateSet<Dim, Space>& children,
                                                                 CoordinateSet<Dim, Space>& parents,
                                                                 ChildOrder order,
                                                                 Execution<Space> const& exec)
{
  std::lock_guard lock{access(children).mutex()};
  access(children).take_map_streams(exec);
  return access(children).cache().get_or_make(PiecesKey<Space>{&parents, order}, [&] {
    expects(parents.capacity() * num_children<Dim> <= INT_MAX, "channels_to_space: ", parents.capacity(),
            " voxels have more children than row indices hold");
    KernelRegion<Dim> region;
    region.size = 2;
    region.stride = 2;
    auto const map = cached_map(children, parents, region, false, exec);
    return std::make_shared<PiecesOfChildren<Space>>(
        inverted(children_of<Dim>(*map, order, exec), children.capacity(), exec));
  });
}

/// Whether two sets are of one coordinate manager, so that each lives as long as the other.
template <int Dim, class Space>
[[nodiscard]] bool is_same_manager(CoordinateSetPointer<Dim, Space> const& a,
                                   CoordinateSetPointer<Dim, Space> const& b)
{
  return !a.owner_before(b) && !b.owner_before(a);
}

/// to [*, channels] in pieces: piece n is row source[n] of `from` [*, channels], or 0.
template <class Scalar, class Space>
void gather_pieces(Scalar const* from, Buffer<std::int32_t, Space> const& source, std::int64_t channels,
                   Scalar* to, Execution<Space> const& exec)
{
  with_pack_size<Scalar>(moves_in_packs(from, channels), [&](auto size) {
    constexpr int columns = decltype(size)::value;
    auto const packs = channels / columns;
    for_each(source.size() * packs, GatherPacks<Scalar, columns>{from, source.data(), to, packs}, exec);
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
