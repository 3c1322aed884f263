// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/oracle.hpp"

#include <tessera/kmap/build.hpp>

#include <vector>

using namespace tessera;

namespace {

/// The cells of a box of which at most one digit is off the middle, in the box's order.
template <int Dim>
std::vector<IntArray<Dim>> cross_of(IntArray<Dim> const& size)
{
  std::vector<IntArray<Dim>> result;
  for (auto const& digits : test::kernel_digits(size)) {
    int off = 0;
    for (int i = 0; i < Dim; ++i) { off += digits[i] != size[i] / 2 ? 1 : 0; }
    if (off <= 1) { result.push_back(digits); }
  }
  return result;
}

/// `in = stride * out + offset`, or `stride * in = out + offset` where inputs are coarser. [out, offsets]
template <int Dim>
std::vector<std::int32_t> map_by_offsets(test::Coordinates<Dim> const& in, test::Coordinates<Dim> const& out,
                                         std::vector<IntArray<Dim>> const& offsets,
                                         IntArray<Dim> const& stride, bool upwards = false)
{
  std::vector<std::int32_t> map;
  for (auto const& o : out) {
    for (auto const& offset : offsets) {
      std::int32_t found = -1;
      for (std::size_t i = 0; i < in.size(); ++i) {
        bool paired = in[i].batch == o.batch;
        for (int a = 0; a < Dim; ++a) {
          int const from = in[i].position[a];
          int const to = o.position[a];
          paired =
              paired && (upwards ? stride[a] * from == to + offset[a] : from == stride[a] * to + offset[a]);
        }
        if (paired) { found = static_cast<std::int32_t>(i); }
      }
      map.push_back(found);
    }
  }
  return map;
}

/// Every output that reads some input.
template <int Dim>
test::Coordinates<Dim> outputs_of(test::Coordinates<Dim> const& in, std::vector<IntArray<Dim>> const& offsets,
                                  IntArray<Dim> const& stride)
{
  test::Coordinates<Dim> out;
  for (auto const& row : in) {
    for (auto const& offset : offsets) {
      auto o = row;
      bool on_lattice = true;
      for (int i = 0; i < Dim; ++i) {
        int const scaled = row.position[i] - offset[i];
        on_lattice = on_lattice && scaled % stride[i] == 0;
        o.position[i] = scaled / stride[i];
      }
      if (on_lattice) { out.push_back(o); }
    }
  }
  return test::sorted_unique(out);
}

template <int Dim>
test::Coordinates<Dim> children_of(test::Coordinates<Dim> const& in,
                                   std::vector<IntArray<Dim>> const& offsets, IntArray<Dim> const& stride)
{
  test::Coordinates<Dim> out;
  for (auto const& row : in) {
    for (auto const& offset : offsets) {
      auto child = row;
      for (int i = 0; i < Dim; ++i) { child.position[i] = stride[i] * row.position[i] - offset[i]; }
      out.push_back(child);
    }
  }
  return test::sorted_unique(out);
}

/// Every kind of map of a geometry whose offsets, centred and with their dilation, are `offsets`. Its padding
/// must be that of the anchor.
template <int Dim, class Space>
void check_kinds(ConvolutionGeometry<Dim> g, std::vector<IntArray<Dim>> const& offsets, unsigned seed)
{
  CAPTURE(Dim);
  CAPTURE(seed);
  Execution<Space> const exec{};
  auto const in =
      test::random_coordinates<Dim>(60, 3, IntArray<Dim>(-4), IntArray<Dim>(Dim < 3 ? 9 : 3), seed);
  CoordinateSetOptions<Dim> options;
  options.tensor_stride = 6;
  auto const set = make_coordinate_set(in, options, exec);
  auto const check = [&](MappedCoordinates<Dim, Space> const& mapped, test::Coordinates<Dim> const& out,
                         std::vector<std::int32_t> const& map) {
    CHECK(download(mapped.coordinates->data(), mapped.coordinates->num_rows(), exec) == out);
    CHECK(mapped.map->volume() == static_cast<int>(offsets.size()));
    CHECK(download(mapped.map->out_in(exec), mapped.map->num_out() * mapped.map->volume(), exec) == map);
  };
  IntArray<Dim> const one(1);
  auto const stride = g.stride;
  g.stride = 1;
  auto const submanifold = kernel_map(*set, ConvolutionKind::submanifold, g, compat::none, exec);
  check(submanifold, in, map_by_offsets(in, in, offsets, one));
  if (submanifold.map->is_symmetric()) {
    for (int k = 0; k < submanifold.map->volume(); ++k) {
      auto const partner = offsets[static_cast<std::size_t>(submanifold.map->mirrored_offset(k))];
      for (int i = 0; i < Dim; ++i) { CHECK(partner[i] == -offsets[static_cast<std::size_t>(k)][i]); }
    }
  }

  g.stride = stride;
  auto const out = outputs_of(in, offsets, stride);
  auto const strided = kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec);
  check(strided, out, map_by_offsets(in, out, offsets, stride));
  auto const back = kernel_map(*strided.coordinates, ConvolutionKind::transposed, g, compat::none, exec);
  CHECK(back.coordinates == set);
  auto const inverse = kernel_map(*strided.coordinates, ConvolutionKind::inverse, g, compat::none, exec);
  CHECK(inverse.map == back.map);
  auto box = g;
  box.shape = {};
  if (g.shape.is_cross()) {  // another layer of this size is another map
    CHECK(kernel_map(*set, ConvolutionKind::strided, box, compat::none, exec).map != strided.map);
    CHECK(kernel_map(*strided.coordinates, ConvolutionKind::transposed, g, compat::none, exec).map ==
          back.map);
  }
  auto const coarse = test::minkowski_outputs_by_definition(in, stride);
  check(kernel_map<Hashmap, MinkowskiDownsample>(*set, ConvolutionKind::strided, g, compat::none, exec),
        coarse, map_by_offsets(in, coarse, offsets, stride));

  g.stride = 2;
  IntArray<Dim> const two(2);
  auto const children = children_of(in, offsets, two);
  check(kernel_map(*set, ConvolutionKind::generative, g, compat::none, exec), children,
        map_by_offsets(in, children, offsets, two, true));
  // an expanding one goes the other way: q = stride in + offset
  auto negative = offsets;
  for (auto& offset : negative) {
    for (int i = 0; i < Dim; ++i) { offset[i] = -offset[i]; }
  }
  auto const expanded = children_of(in, negative, two);
  check(kernel_map(*set, ConvolutionKind::expanding, g, compat::none, exec), expanded,
        map_by_offsets(in, expanded, negative, two, true));
}

template <int Dim, class Space>
void check_cross(IntArray<Dim> const& size, IntArray<Dim> const& dilation, IntArray<Dim> const& stride,
                 unsigned seed)
{
  ConvolutionGeometry<Dim> g;
  g.kernel_size = size;
  g.dilation = dilation;
  g.stride = stride;
  g.shape = KernelShape<Dim>::cross();
  auto offsets = cross_of(size);
  CHECK(g.volume() == static_cast<int>(offsets.size()));
  for (std::size_t k = 0; k < offsets.size(); ++k) {
    CHECK(g.shape.digits(static_cast<int>(k), size) == offsets[k]);
    for (int i = 0; i < Dim; ++i) { offsets[k][i] = (offsets[k][i] - size[i] / 2) * dilation[i]; }
  }
  for (int i = 0; i < Dim; ++i) { g.padding[i] = size[i] / 2 * dilation[i]; }  // centred, strided too
  check_kinds<Dim, Space>(g, offsets, seed);
}

template <int Dim, class Space>
void check_list(std::vector<IntArray<Dim>> offsets, IntArray<Dim> const& dilation,
                IntArray<Dim> const& stride, unsigned seed)
{
  ConvolutionGeometry<Dim> g;
  g.kernel_size = 1;
  g.dilation = dilation;
  g.stride = stride;
  g.shape = KernelShape<Dim>::offsets(offsets);
  for (auto& offset : offsets) {
    for (int i = 0; i < Dim; ++i) { offset[i] *= dilation[i]; }
  }
  check_kinds<Dim, Space>(g, offsets, seed);
}

}  // namespace

TEST_CASE_TEMPLATE("kernel shapes: a cross has the cells of the box that lie on an axis, in the box's order",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  check_cross<1, Space>({5}, {2}, {2}, 1);
  check_cross<2, Space>({3, 5}, {1, 2}, {2, 3}, 2);
  check_cross<3, Space>({3, 1, 5}, {2, 1, 1}, {2, 1, 3}, 3);
  check_cross<3, Space>({3, 3, 3}, {1, 1, 1}, {2, 2, 2}, 4);
  check_cross<3, Space>({15, 13, 11}, {1, 1, 1}, {2, 2, 2}, 5);  // more than 32 offsets
  check_cross<4, Space>({3, 3, 5, 3}, {1, 1, 1, 2}, {2, 1, 2, 2}, 6);
}

TEST_CASE_TEMPLATE(
    "kernel shapes: a list has its offsets in its order, with and without a centre or a mirror", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  check_list<1, Space>({{0}, {3}, {-3}}, {1}, {2}, 1);
  check_list<2, Space>({{1, 0}, {2, -1}, {-4, 3}}, {2, 1}, {2, 2}, 2);
  check_list<3, Space>({{0, 0, 0}, {1, 2, 3}, {-1, -2, -3}, {5, 0, 0}, {-5, 0, 0}}, {1, 1, 1}, {2, 2, 2}, 3);
  check_list<3, Space>({{0, 0, 7}}, {1, 1, 1}, {1, 2, 1}, 4);
  check_list<4, Space>({{0, 1, 0, -1}, {0, 0, 0, 0}, {2, 2, 2, 2}}, {1, 2, 1, 1}, {2, 2, 2, 2}, 5);
  std::vector<IntArray<3>> many;
  for (int n = 0; n < 40; ++n) { many.push_back({n % 3 - 1, n / 3 % 4 - 2, n / 12 - 1}); }
  check_list<3, Space>(many, {1, 1, 1}, {2, 2, 2}, 6);
}

TEST_CASE_TEMPLATE(
    "kernel shapes: layers of one size and stride but other shapes are each undone by their own", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const in = test::random_coordinates<3>(60, 2, IntArray<3>(0), IntArray<3>(5), 8);
  CoordinateSetOptions<3> options;
  auto const set = make_coordinate_set(in, options, exec);
  ConvolutionGeometry<3> box;
  box.stride = 2;
  box.padding = 1;
  auto cross = box;
  cross.shape = KernelShape<3>::cross();
  auto const down = [&](auto const& g) {
    return kernel_map<HashmapOnTheFly, MinkowskiDownsample>(*set, ConvolutionKind::strided, g, compat::none,
                                                            exec);
  };
  auto const by_box = down(box);
  auto const by_cross = down(cross);
  REQUIRE(by_box.coordinates == by_cross.coordinates);
  for (auto const kind :
       std::vector<ConvolutionKind>{ConvolutionKind::transposed, ConvolutionKind::inverse}) {
    auto const up = [&](auto const& g) {
      return kernel_map(*by_box.coordinates, kind, g, compat::none, exec).map;
    };
    CHECK(up(box)->volume() == 27);
    CHECK(up(cross)->volume() == 7);
  }
}

TEST_CASE_TEMPLATE("kernel shapes: one listed offset is no product of each row with a matrix, unless it is 0",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Coordinates<2> const in{{0, {0, 0}}, {0, {0, 1}}, {0, {4, 4}}};
  auto const set = make_coordinate_set(in, CoordinateSetOptions<2>{}, exec);
  auto const strided = [&](IntArray<2> const& offset) {
    ConvolutionGeometry<2> g;
    g.kernel_size = 1;
    g.shape = KernelShape<2>::offsets({offset});
    return kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec);
  };
  CHECK(strided({0, 0}).coordinates == set);
  auto const moved = strided({0, 1});
  CHECK(download(moved.coordinates->data(), moved.coordinates->num_rows(), exec) ==
        test::Coordinates<2>{{0, {0, -1}}, {0, {0, 0}}, {0, {4, 3}}});
}

TEST_CASE_TEMPLATE("kernel shapes: in a grid listed offsets keep ceil(extent / stride) cells", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  ConvolutionGeometry<1> g;
  g.kernel_size = 1;
  g.stride = 2;
  g.shape = KernelShape<1>::offsets({{-1}, {0}, {1}});
  CoordinateSetOptions<1> options;
  options.spatial_range = SpatialRange<1>{1, {5}};
  test::Coordinates<1> const rows{{0, {0}}, {0, {3}}, {0, {4}}};
  auto const set = make_coordinate_set(rows, options, exec);
  auto const mapped = kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec);
  CHECK(mapped.coordinates->spatial_range() == SpatialRange<1>{1, {3}});
  CHECK(download(mapped.coordinates->data(), mapped.coordinates->num_rows(), exec) ==
        test::Coordinates<1>{{0, {0}}, {0, {1}}, {0, {2}}});
}

TEST_CASE("kernel shapes: what cannot be meant is refused")
{
  using Shape = KernelShape<2>;
  CHECK_THROWS_WITH_AS(static_cast<void>(Shape::offsets({})), "KernelShape: a list of 0 offsets; 1 to 128",
                       invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Shape::offsets({{1, 2}, {0, 0}, {1, 2}})), invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Shape::offsets({{1 << 15, 0}})), invalid_argument);
  CHECK_NOTHROW(static_cast<void>(Shape::offsets({{-INT16_MAX, INT16_MAX}})));
  std::vector<IntArray<2>> many;
  for (int n = 0; n < 129; ++n) { many.push_back({n, 0}); }
  CHECK_THROWS_AS(static_cast<void>(Shape::offsets(many)), invalid_argument);
  many.pop_back();
  CHECK(Shape::offsets(many).volume(1) == 128);

  ConvolutionGeometry<2> g;
  auto const check = [&] { detail::check_geometry(g, "test"); };
  g.shape = Shape::cross();
  CHECK_NOTHROW(check());
  g.kernel_size = {3, 2};
  CHECK_THROWS_AS(check(), invalid_argument);
  g.shape = Shape::offsets({{0, 1}});
  CHECK_THROWS_AS(check(), invalid_argument);  // it has no size
  g.kernel_size = 1;
  CHECK_NOTHROW(check());
  g.padding = {0, 1};
  CHECK_THROWS_AS(check(), invalid_argument);
  g.padding = 0;
  g.dilation = 1 << 29;
  CHECK_THROWS_AS(check(), invalid_argument);

  CHECK(Shape::box() == Shape{});
  CHECK(Shape::box() != Shape::cross());
  CHECK(Shape::offsets({{0, 1}}) == Shape::offsets({{0, 1}}));
  CHECK(Shape::offsets({{0, 1}}) != Shape::offsets({{1, 0}}));
  CHECK(Shape::offsets({{0, 1}}) != Shape::offsets({{0, 1}, {0, 2}}));
}
