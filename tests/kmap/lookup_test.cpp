// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Finding again what is there already costs no memory: layers do it in every call.

#include "../support/allocations.hpp"
#include "../support/device.hpp"
#include "../support/memory.hpp"
#include "../support/oracle.hpp"

#include <tessera/kmap/build.hpp>
#include <tessera/kmap/pair_list.hpp>
#include <tessera/kmap/tile_map.hpp>
#ifdef __CUDACC__
#include <tessera/kmap/detail/cut_tiles.cuh>
#include <tessera/kmap/detail/list_pairs.cuh>
#endif

#include <vector>

using namespace tessera;

namespace {

struct Layer {
  ConvolutionKind kind;
  ConvolutionGeometry<3> geometry;
};

std::vector<Layer> layers_of_every_kind()
{
  ConvolutionGeometry<3> same;
  ConvolutionGeometry<3> down;
  down.stride = 2;
  down.padding = 1;
  auto tiling = down;
  tiling.kernel_size = 2;
  auto one_voxel = same;
  one_voxel.kernel_size = 1;
  return {{ConvolutionKind::submanifold, same},    {ConvolutionKind::strided, down},
          {ConvolutionKind::strided, tiling},      {ConvolutionKind::strided, one_voxel},
          {ConvolutionKind::transposed, same},     {ConvolutionKind::generative, down},
          {ConvolutionKind::inverse, one_voxel},   {ConvolutionKind::expanding, down},
          {ConvolutionKind::expanding, one_voxel}, {ConvolutionKind::submanifold, one_voxel}};
}

template <class Kmap, class Downsample, class Space>
void check_lookups(Compatibility compat, bool with_range, bool with_fixed_capacity)
{
  CAPTURE(static_cast<int>(compat));
  CAPTURE(with_range);
  CAPTURE(with_fixed_capacity);
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  CoordinateSetOptions<3> options;
  options.tensor_stride = 2;
  if (with_range) { options.spatial_range = SpatialRange<3>{2, {12, 12, 12}}; }
  if (with_fixed_capacity) { options.fixed_capacity = FixedCapacity{1 << 16, {{4, 1 << 12}}}; }
  auto const set = make_coordinate_set(
      test::random_coordinates<3>(200, 2, IntArray<3>(0), IntArray<3>(11), 3), options, exec);
  for (auto const& layer : layers_of_every_kind()) {
    if (layer.kind == ConvolutionKind::generative && compat == Compatibility::torchsparse && !with_range) {
      continue;
    }
    CAPTURE(static_cast<int>(layer.kind));
    CAPTURE(detail::list(layer.geometry.kernel_size));
    auto const ask = [&] {
      auto mapped = kernel_map<Kmap, Downsample>(*set, layer.kind, layer.geometry, compat, exec);
      static_cast<void>(tile_map(*mapped.map, true, 1, 16, exec));
      static_cast<void>(pair_list(*mapped.map, exec));
      static_cast<void>(gradient_map(*mapped.map, exec));
      static_cast<void>(transpose(*mapped.map, exec));
      return mapped;
    };
    auto const first = ask();
    auto const allocations = memory.allocations();
    test::AllocationWatch const watch;
    auto const again = ask();
    CHECK(watch.allocations() == 0);
    CHECK(memory.allocations() == allocations);
    CHECK(again.map == first.map);
    CHECK(again.coordinates == first.coordinates);
  }
}

template <class Space>
void check_all_lookups()
{
  for (auto const compat : {compat::none, compat::torchsparse, compat::spconv, compat::spconv1}) {
    for (bool const with_range : {false, true}) {
      for (bool const with_fixed_capacity : {false, true}) {
        check_lookups<HashmapOnTheFly, SpconvDownsample, Space>(compat, with_range, with_fixed_capacity);
        check_lookups<Hashmap, MinkowskiDownsample, Space>(compat, with_range, with_fixed_capacity);
      }
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE(
    "look-ups: a map, its tiles, lists and gradient that are there ask for no memory of any kind", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  check_all_lookups<Space>();
}
