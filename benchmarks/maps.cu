// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Kernel maps from coordinates that lie on the device: copy of the rows, table, outputs, neighbours, order.

#include "support/session.cuh"
#include "support/tile_maps.cuh"

#include <tessera/tessera.cuh>

namespace ts = tessera;

namespace {

struct Map {
  char const* name;
  ts::ConvolutionKind kind;
  ts::ConvolutionGeometry<3> geometry;
};

/// Where the host may learn how many outputs there are, and where it knows room enough for them.
enum class Counting { waits, capacity_known };

void measure(bench::Session& session, bench::Voxels const& voxels, Map const& map, bool sort,
             Counting counting)
{
  bool const waits = counting == Counting::waits;
  bench::Result result;
  result.name = std::string{"map "} + map.name;
  result.workload = voxels.name;
  result.variant = std::string{sort ? "sorted" : "unsorted"} + (waits ? "" : ", capacity known");
  result.rows = voxels.size();
  if (!session.wants(result)) { return; }

  auto const& exec = session.exec();
  auto const rows = ts::upload(voxels.rows, exec);
  ts::CoordinateSetOptions<3> options{1, ts::SpatialRange<3>{1, voxels.grid}};
  if (!waits) {
    ts::FixedCapacity capacity;
    capacity.max_rows = voxels.size();
    options.fixed_capacity = capacity;
  }
  session.measure(result, [&](ts::Execution<ts::Device> const& where) {
    auto const set = ts::make_coordinate_set<3>(reinterpret_cast<std::int32_t const*>(rows.data()),
                                                voxels.size(), options, where);
    static_cast<void>(bench::complete_map(*set, map.kind, map.geometry, sort, where));
  });
}

void measure_all(bench::Session& session)
{
  Map const maps[] = {
      {"submanifold 3x3x3", ts::ConvolutionKind::submanifold, bench::geometry_of(3, 1, 0)},
      {"strided k2 s2", ts::ConvolutionKind::strided, bench::geometry_of(2, 2, 0)},
      {"strided k3 s2 p1", ts::ConvolutionKind::strided, bench::geometry_of(3, 2, 1)},
  };
  for (auto const& voxels : {bench::semkitti(session.folder()), bench::ten_sweeps(session.folder())}) {
    for (auto const& map : maps) {
      for (bool const sort : {false, true}) {
        measure(session, voxels, map, sort, Counting::waits);
        if (map.kind == ts::ConvolutionKind::strided) {
          measure(session, voxels, map, sort, Counting::capacity_known);
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv)
{
  return bench::run_benchmark("bench_maps",
                              "Times kernel maps: submanifold and strided ones, of a scan and of ten sweeps.",
                              {}, argc, argv, measure_all);
}
