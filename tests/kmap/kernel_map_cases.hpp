// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/oracle.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/kmap/pair_list.hpp>
#ifdef __CUDACC__
#include <tessera/kmap/detail/list_pairs.cuh>
#endif

namespace kernel_map_cases {

using namespace tessera;

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
  auto const num_pairs = pairs->num_pairs(exec);  // on the device there is room for more
  auto const in_rows = download(pairs->in.data(), num_pairs, exec);
  auto const out_rows = download(pairs->out.data(), num_pairs, exec);
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
  CHECK(num_pairs == static_cast<std::int64_t>(p));
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

}  // namespace kernel_map_cases
