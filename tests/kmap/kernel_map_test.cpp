// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/oracle.hpp"
#include "kernel_map_cases.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/kmap/pair_list.hpp>

using namespace tessera;
using namespace kernel_map_cases;

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

TEST_CASE_TEMPLATE(
    "kernel map: a coordinate manager lives as long as any of its tensors, and goes with the last", Space,
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

TEST_CASE_TEMPLATE("kernel map: what is invalid is refused before anything runs, and the set stays usable",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, {4, 4, 4}};
  auto const set = make_coordinate_set(std::vector<Coordinate<3>>{{0, {1, 1, 1}}}, options, exec);
  auto const map = [&](ConvolutionKind kind, IntArray<3> size, IntArray<3> stride, IntArray<3> padding,
                       IntArray<3> dilation) {
    return kernel_map(*set, kind, ConvolutionGeometry<3>{size, stride, padding, dilation}, compat::none,
                      exec);
  };
  auto const strided = ConvolutionKind::strided;
  CHECK_THROWS_WITH_AS(map(strided, IntArray<3>{3, 0, 3}, 2, 0, 1),
                       "convolution: kernel size [3, 0, 3] must be at least 1 on every axis",
                       invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 3, IntArray<3>{1, 1, 0}, 0, 1),
                       "convolution: stride [1, 1, 0] must be at least 1 on every axis", invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 3, 2, 0, IntArray<3>{0, 1, 1}),
                       "convolution: dilation [0, 1, 1] must be at least 1 on every axis", invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 3, 2, IntArray<3>{0, -1, 0}, 1),
                       "convolution: padding [0, -1, 0] must not be negative", invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 2000, 2, 0, 1), doctest::Contains("more than 1048576 offsets"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 2, 2, INT_MAX, 1), doctest::Contains("reach too far"), invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 3, 2, 0, 1 << 30), doctest::Contains("reach too far"), invalid_argument);
  CHECK_THROWS_WITH_AS(map(strided, 7, 2, 0, 1), doctest::Contains("leave no output in a grid of [4, 4, 4]"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS(map(ConvolutionKind::submanifold, 3, 2, 0, 1),
                       doctest::Contains("stride [2, 2, 2] must be 1"), invalid_argument);
  CHECK_THROWS_WITH_AS(
      map(ConvolutionKind::transposed, 2, 2, 0, 1),
      doctest::Contains("no set of tensor stride [1, 1, 1] / [2, 2, 2] leads to this tensor"),
      invalid_argument);
  CHECK_THROWS_WITH_AS(map(ConvolutionKind::generative, 2, 2, 0, 1), doctest::Contains("does not divide"),
                       invalid_argument);
  CHECK(map(strided, 2, 2, 0, 1).map->num_out() == 1);
}

TEST_CASE_TEMPLATE("kernel map: coordinates at the limits of 32 bits neither wrap nor crash", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  int const far = 1 << 30;
  std::vector<Coordinate<1>> const in{{0, {-far}}, {0, {-far + 1}}, {0, {far}}, {0, {far - 1}}};
  auto const set = make_coordinate_set(in, {}, exec);
  ConvolutionGeometry<1> g;
  CHECK(download(kernel_map(*set, ConvolutionKind::submanifold, g, compat::none, exec).map->out_in(exec), 12,
                 exec) == std::vector<std::int32_t>{-1, 0, 1, 0, 1, -1, 3, 2, -1, -1, 3, 2});
  g.stride = 2;
  g.kernel_size = 2;
  auto const down = kernel_map(*set, ConvolutionKind::strided, g, compat::none, exec);
  CHECK(download(down.coordinates->data(), down.map->num_out(), exec) ==
        std::vector<Coordinate<1>>{{0, {-far / 2}}, {0, {far / 2 - 1}}, {0, {far / 2}}});
  CoordinateSetOptions<1> options;
  options.tensor_stride = 4;
  g.stride = 4;
  auto const coarse = make_coordinate_set(in, options, exec);
  CHECK_THROWS_WITH_AS((void)kernel_map(*coarse, ConvolutionKind::generative, g, compat::none, exec),
                       doctest::Contains("do not fit 32 bits"), invalid_argument);
}

TEST_CASE_TEMPLATE("kernel map: strides that only wrap to a set's stride lead to no set", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<2> options;
  options.tensor_stride = 1 << 16;
  auto const input = make_coordinate_set(std::vector<Coordinate<2>>{{0, {1, 1}}, {0, {5, 2}}}, options, exec);
  ConvolutionGeometry<2> same;
  same.padding = 1;
  auto const derived = kernel_map(*input, ConvolutionKind::strided, same, compat::none, exec).coordinates;
  ConvolutionGeometry<2> wraps = same;
  wraps.stride = (1 << 16) + 1;  // times 2^16 is 2^16 modulo 2^32
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(
                        kernel_map(*derived, ConvolutionKind::transposed, wraps, compat::none, exec));
                  }),
                  "no set of tensor stride [65536, 65536] / [65537, 65537] leads to this tensor"));
  // outputs so far out that what they would read does not fit
  options.tensor_stride = 1;
  auto const far = input->derive({upload(std::vector<Coordinate<2>>{{0, {1 << 30, 0}}}, exec)},
                                 CoordinateBox<2>{1, {1 << 30, 0}, {1 << 30, 0}},
                                 CoordinateSetOptions<2>{1 << 17, {}}, exec);
  ConvolutionGeometry<2> doubles = same;
  doubles.stride = 2;
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(
                        kernel_map(*far, ConvolutionKind::transposed, doubles, compat::none, exec));
                  }),
                  "read coordinates that do not fit 32 bits"));
}
