// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/oracle.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/kmap/pair_list.hpp>

using namespace tessera;

namespace {

/// A geometry with numbers that differ from axis to axis, so that a mixed-up axis shows.
template <int Dim>
ConvolutionGeometry<Dim> random_geometry(std::mt19937& random, bool strided)
{
  auto const draw = [&](int lowest, int highest) {
    return std::uniform_int_distribution<int>{lowest, highest}(random);
  };
  ConvolutionGeometry<Dim> g;
  for (int i = 0; i < Dim; ++i) {
    g.kernel_size[i] = draw(1, Dim <= 2 ? 5 : Dim == 3 ? 4 : 3);
    g.dilation[i] = draw(1, 3);
    g.stride[i] = strided ? draw(1, 3) : 1;
    g.padding[i] = draw(0, 3);
  }
  if (strided && all_equal(g.stride, 1)) { g.stride[Dim - 1] = 2; }
  return g;
}

template <int Dim, class Space>
void check_map(KernelMap<Space>& map, std::vector<std::int32_t> const& expected,
               test::Coordinates<Dim> const& in, Execution<Space> const& exec)
{
  REQUIRE(map.num_out() * map.volume() == static_cast<std::int64_t>(expected.size()));
  CHECK(map.num_in() == static_cast<std::int64_t>(in.size()));
  CHECK(download(map.out_in(exec), map.num_out() * map.volume(), exec) == expected);

  auto const transposed = transpose(map, exec);
  CHECK(transposed == transpose(map, exec));  // made once
  CHECK(download(transposed->out_in(exec), transposed->num_out() * map.volume(), exec) ==
        test::transposed_map_by_definition(expected, in.size(), static_cast<std::size_t>(map.volume())));

  auto const pairs = pair_list(map, exec);
  auto const begins = pairs->begin_on_host(exec);
  auto const in_rows = download(pairs->in, exec);
  auto const out_rows = download(pairs->out, exec);
  std::size_t p = 0;
  for (int k = 0; k < map.volume(); ++k) {
    CHECK(begins[static_cast<std::size_t>(k)] == static_cast<std::int64_t>(p));
    for (std::int64_t o = 0; o < map.num_out(); ++o) {
      auto const row = expected[static_cast<std::size_t>(o * map.volume() + k)];
      if (row < 0) { continue; }
      REQUIRE(p < in_rows.size());
      CHECK(in_rows[p] == row);
      CHECK(out_rows[p] == o);
      ++p;
    }
  }
  CHECK(pairs->num_pairs(exec) == static_cast<std::int64_t>(p));
  CHECK(download(pairs->begin, exec) == begins);
}

/// One random cloud and geometry through every kind of map under both kernel-map policies.
template <int Dim, class Space>
void check_all_kinds(unsigned seed)
{
  CAPTURE(Dim);
  CAPTURE(seed);
  Execution<Space> const exec{};
  std::mt19937 random{seed};
  bool const with_range = seed % 2 == 1;
  IntArray<Dim> lower;
  IntArray<Dim> upper;
  for (int i = 0; i < Dim; ++i) {
    lower[i] = with_range ? 0 : -static_cast<int>(random() % 6);
    upper[i] = lower[i] + 4 + static_cast<int>(random() % 6);
  }
  auto const in = test::random_coordinates<Dim>(70, 3, lower, upper, seed);
  CoordinateSetOptions<Dim> options;
  if (with_range) {
    SpatialRange<Dim> range;
    range.batches = 3;
    for (int i = 0; i < Dim; ++i) { range.extent[i] = upper[i] + 1; }
    options.spatial_range = range;
  }
  auto const set = make_coordinate_set(in, options, exec);
  auto const rows_of = [&](CoordinateSetPointer<Dim, Space> const& s) {
    return download(s->data(), s->num_rows(), exec);
  };

  {
    auto const g = random_geometry<Dim>(random, false);
    CAPTURE(detail::list(g.kernel_size));
    CAPTURE(detail::list(g.dilation));
    KernelRegion<Dim> region{g.kernel_size, 1, g.dilation, 0};
    for (int i = 0; i < Dim; ++i) {
      region.anchor[i] = g.kernel_size[i] % 2 == 1 ? g.kernel_size[i] / 2 * g.dilation[i] : 0;
    }
    auto const centred = kernel_map(*set, ConvolutionKind::submanifold, g, compat::none, exec);
    CHECK(centred.coordinates == set);
    check_map<Dim>(*centred.map, test::kernel_map_by_definition(in, in, region), in, exec);
    for (int i = 0; i < Dim; ++i) { region.anchor[i] = (g.kernel_size[i] - 1) / 2 * g.dilation[i]; }
    auto const minkowski = kernel_map<Hashmap>(*set, ConvolutionKind::submanifold, g, compat::none, exec);
    check_map<Dim>(*minkowski.map, test::kernel_map_by_definition(in, in, region), in, exec);
  }
  {
    auto g = random_geometry<Dim>(random, true);
    if (with_range) {
      for (int i = 0; i < Dim; ++i) {  // so that some output fits
        while ((g.kernel_size[i] - 1) * g.dilation[i] + 1 > options.spatial_range->extent[i]) {
          --g.kernel_size[i];
        }
      }
    }
    CAPTURE(detail::list(g.kernel_size));
    CAPTURE(detail::list(g.stride));
    CAPTURE(detail::list(g.padding));
    CAPTURE(detail::list(g.dilation));
    KernelRegion<Dim> const region{g.kernel_size, g.stride, g.dilation, g.padding};
    auto const down = kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec);
    auto const out = test::spconv_outputs_by_definition(in, region, options.spatial_range);
    CHECK(rows_of(down.coordinates) == out);
    check_map<Dim>(*down.map, test::kernel_map_by_definition(in, out, region), in, exec);
    for (int i = 0; i < Dim; ++i) { CHECK(down.coordinates->tensor_stride()[i] == g.stride[i]); }

    auto const up = kernel_map(*down.coordinates, ConvolutionKind::transposed, g, compat::none, exec);
    CHECK(up.coordinates == set);
    CHECK(up.map == transpose(*down.map, exec));

    auto const floored =
        kernel_map<Hashmap, MinkowskiDownsample>(*set, ConvolutionKind::strided, g, compat::none, exec);
    KernelRegion<Dim> centred = region;
    for (int i = 0; i < Dim; ++i) { centred.anchor[i] = (g.kernel_size[i] - 1) / 2 * g.dilation[i]; }
    auto const coarse = test::minkowski_outputs_by_definition(in, g.stride, options.spatial_range);
    CHECK(rows_of(floored.coordinates) == coarse);
    check_map<Dim>(*floored.map, test::kernel_map_by_definition(in, coarse, centred), in, exec);

    // a transposed layer whose own strided one never ran: the map is built on the way back
    ConvolutionGeometry<Dim> other = g;
    other.kernel_size = g.kernel_size[0] == 2 ? 3 : 2;
    auto const back =
        kernel_map(*floored.coordinates, ConvolutionKind::transposed, other, compat::none, exec);
    CHECK(back.coordinates == set);
    KernelRegion<Dim> const other_region{other.kernel_size, other.stride, other.dilation, other.padding};
    CHECK(download(back.map->out_in(exec), back.map->num_out() * back.map->volume(), exec) ==
          test::transposed_map_by_definition(test::kernel_map_by_definition(in, coarse, other_region),
                                             in.size(), static_cast<std::size_t>(other.volume())));
  }
  {
    auto g = random_geometry<Dim>(random, true);
    CAPTURE(detail::list(g.kernel_size));
    CAPTURE(detail::list(g.stride));
    CAPTURE(detail::list(g.dilation));
    CoordinateSetOptions<Dim> coarse_options;
    coarse_options.tensor_stride = g.stride;
    coarse_options.spatial_range = options.spatial_range;
    auto const coarse = make_coordinate_set(in, coarse_options, exec);
    auto const grown = kernel_map(*coarse, ConvolutionKind::generative, g, compat::none, exec);
    auto const out = test::generative_outputs_by_definition(in, g, options.spatial_range);
    CHECK(rows_of(grown.coordinates) == out);
    CHECK(all_equal(grown.coordinates->tensor_stride(), 1));
    check_map<Dim>(*grown.map, test::generative_map_by_definition(in, out, g), in, exec);
  }
  set->check(exec);
}

}  // namespace

TEST_CASE_TEMPLATE(
    "kernel map: agrees with the definition in 1 to 4 dimensions, for sizes 1-5, strides and dilations "
    "1-3 mixed over the axes, with and without a range",
    Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (unsigned seed = 1; seed <= 12; ++seed) {
    check_all_kinds<1, Space>(seed);
    check_all_kinds<2, Space>(seed);
    check_all_kinds<3, Space>(seed);
    check_all_kinds<4, Space>(seed);
  }
}

TEST_CASE_TEMPLATE("kernel map: without a range no voxel is lost on the way down", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (unsigned seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    auto const in = test::random_coordinates<3>(100, 2, IntArray<3>{-5, -4, -3}, IntArray<3>{6, 7, 4}, seed);
    for (int size : {2, 3, 4}) {
      for (int padding : {0, 1}) {
        CAPTURE(size);
        CAPTURE(padding);
        ConvolutionGeometry<3> g;
        g.kernel_size = size;
        g.stride = 2;
        g.padding = padding;
        auto const set = make_coordinate_set(in, {}, exec);
        auto const down = kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec);
        std::vector<int> reached(in.size(), 0);
        for (auto const row : download(down.map->out_in(exec), down.map->num_out() * g.volume(), exec)) {
          if (row >= 0) { ++reached[static_cast<std::size_t>(row)]; }
        }
        CHECK(std::count(reached.begin(), reached.end(), 0) == 0);
      }
    }
  }
}

TEST_CASE_TEMPLATE("kernel map: shuffled inputs give the same outputs and the same pairs", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const in = test::random_coordinates<3>(3000, 2, IntArray<3>(0), IntArray<3>(20), 5);
  std::vector<std::int32_t> order(in.size());
  for (std::size_t i = 0; i < order.size(); ++i) { order[i] = static_cast<std::int32_t>(i); }
  std::mt19937 random{9};
  std::shuffle(order.begin(), order.end(), random);
  test::Coordinates<3> shuffled;
  for (auto const row : order) { shuffled.push_back(in[static_cast<std::size_t>(row)]); }
  ConvolutionGeometry<3> g;
  g.stride = 2;
  g.padding = 1;
  auto const a =
      kernel_map(*make_coordinate_set(in, {}, exec), ConvolutionKind::strided, g, compat::none, exec);
  auto const b =
      kernel_map(*make_coordinate_set(shuffled, {}, exec), ConvolutionKind::strided, g, compat::none, exec);
  REQUIRE(a.map->num_out() == b.map->num_out());
  CHECK(download(a.coordinates->data(), a.map->num_out(), exec) ==
        download(b.coordinates->data(), b.map->num_out(), exec));
  auto const first = download(a.map->out_in(exec), a.map->num_out() * 27, exec);
  auto second = download(b.map->out_in(exec), b.map->num_out() * 27, exec);
  for (auto& row : second) { row = row < 0 ? -1 : order[static_cast<std::size_t>(row)]; }
  CHECK(first == second);
}

TEST_CASE_TEMPLATE("kernel map: equal layers share one map, layers that differ in anything do not", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const in = test::random_coordinates<3>(50, 1, IntArray<3>(0), IntArray<3>(6), 1);
  auto const set = make_coordinate_set(in, {}, exec);
  ConvolutionGeometry<3> const g;
  auto const first = kernel_map(*set, ConvolutionKind::submanifold, g, compat::none, exec).map;
  CHECK(kernel_map(*set, ConvolutionKind::submanifold, g, compat::none, exec).map == first);
  auto dilated = g;
  dilated.dilation = 2;
  CHECK(kernel_map(*set, ConvolutionKind::submanifold, dilated, compat::none, exec).map != first);

  auto down = g;
  down.stride = 2;
  auto const unpadded = kernel_map(*set, ConvolutionKind::strided, down, compat::none, exec);
  CHECK(kernel_map(*set, ConvolutionKind::strided, down, compat::none, exec).coordinates ==
        unpadded.coordinates);
  auto padded = down;
  padded.padding = 1;
  CHECK(kernel_map(*set, ConvolutionKind::strided, padded, compat::none, exec).coordinates !=
        unpadded.coordinates);
  CHECK(kernel_map(*set, ConvolutionKind::strided, down, compat::torchsparse, exec).coordinates !=
        unpadded.coordinates);

  // a residual branch of another kernel size ends on the same voxels under the Minkowski rule
  auto pointwise = down;
  pointwise.kernel_size = 1;
  CHECK(kernel_map<Hashmap, MinkowskiDownsample>(*set, ConvolutionKind::strided, down, compat::none, exec)
            .coordinates == kernel_map<Hashmap, MinkowskiDownsample>(*set, ConvolutionKind::strided,
                                                                     pointwise, compat::none, exec)
                                .coordinates);
}

TEST_CASE_TEMPLATE("kernel map: a frame lives as long as any of its tensors, and goes with the last", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::weak_ptr<CoordinateSet<3, Space>> watched;
  {
    CoordinateSetPointer<3, Space> coarse;
    ConvolutionGeometry<3> g;
    g.kernel_size = 2;
    g.stride = 2;
    {
      auto const set = make_coordinate_set(
          test::random_coordinates<3>(50, 1, IntArray<3>(0), IntArray<3>(6), 1), {}, exec);
      watched = set;
      coarse = kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec).coordinates;
    }
    CHECK_FALSE(watched.expired());
    CHECK(kernel_map(*coarse, ConvolutionKind::transposed, g, compat::none, exec).coordinates ==
          watched.lock());
  }
  CHECK(watched.expired());
}

TEST_CASE_TEMPLATE(
    "kernel map: no voxels, one voxel and a batch entry without voxels give maps of that many rows", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  ConvolutionGeometry<3> down;
  down.kernel_size = 2;
  down.stride = 2;
  using Rows = std::vector<Coordinate<3>>;
  struct Case {
    Rows rows;
    std::int64_t coarse;
  };
  for (auto const& [rows, coarse] :
       {Case{Rows{}, 0}, Case{Rows{{0, {3, 3, 3}}}, 1}, Case{Rows{{0, {0, 0, 0}}, {2, {0, 0, 0}}}, 2}}) {
    auto const set = make_coordinate_set(rows, {}, exec);
    auto const same = kernel_map(*set, ConvolutionKind::submanifold, {}, compat::none, exec);
    CHECK(same.map->num_out() == static_cast<std::int64_t>(rows.size()));
    auto const halved = kernel_map(*set, ConvolutionKind::strided, down, compat::none, exec);
    CHECK(halved.map->num_out() == coarse);
    CHECK(halved.coordinates->num_batches() == set->num_batches());
    CHECK(kernel_map(*halved.coordinates, ConvolutionKind::transposed, down, compat::none, exec)
              .map->num_out() == static_cast<std::int64_t>(rows.size()));
    CHECK(pair_list(*halved.map, exec)->num_pairs(exec) == static_cast<std::int64_t>(rows.size()));
    // a kernel of one offset and stride 2 keeps even voxels only; here that may be none
    auto sparse = down;
    sparse.kernel_size = 1;
    auto const even = kernel_map(*set, ConvolutionKind::strided, sparse, compat::none, exec);
    CHECK(even.map->num_out() == (rows.size() == 2 ? 2 : 0));
  }
}

TEST_CASE_TEMPLATE("kernel map: a kernel of 7 x 7 x 7 and one of 11 x 1 x 3 work like any other", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const in = test::random_coordinates<3>(60, 2, IntArray<3>(-4), IntArray<3>(4), 2);
  auto const set = make_coordinate_set(in, {}, exec);
  for (auto const& size : {IntArray<3>(7), IntArray<3>{11, 1, 3}}) {
    ConvolutionGeometry<3> g;
    g.kernel_size = size;
    KernelRegion<3> region{size, 1, 1, 0};
    for (int i = 0; i < 3; ++i) { region.anchor[i] = size[i] / 2; }
    check_map<3>(*kernel_map(*set, ConvolutionKind::submanifold, g, compat::none, exec).map,
                 test::kernel_map_by_definition(in, in, region), in, exec);
  }
}
