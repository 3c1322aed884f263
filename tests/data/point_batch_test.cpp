// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/data/point_batch.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

PointCloud cloud_of(std::vector<float> positions, std::int32_t label)
{
  PointCloud cloud;
  cloud.positions = std::move(positions);
  cloud.labels.assign(cloud.positions.size() / 3, label);
  return cloud;
}

}  // namespace

TEST_CASE_TEMPLATE("point batch: clouds follow one another, empty ones too, and become batch entries", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const first = cloud_of({0, 0, 0, 5, 5, 5}, 1);
  auto const second = cloud_of({0, 0, 0}, 2);  // a voxel of another entry than the first one's
  auto const batch = upload_batch({first, PointCloud{}, second}, exec);
  CHECK(batch.num_clouds == 3);
  CHECK(download(batch.offsets, exec) == std::vector<std::int32_t>{0, 2, 2, 3});
  auto const points = download_points(batch.points, exec);
  CHECK(points.positions == std::vector<float>{0, 0, 0, 5, 5, 5, 0, 0, 0});
  CHECK(points.labels == std::vector<std::int32_t>{1, 1, 2});

  QuantizeOptions<3> const options{1.0F};
  auto const voxels = sparse_quantize(batch.view(), options, exec);
  CHECK(voxels.num_voxels() == 3);
  CHECK(voxels.coordinates->num_batches() == 3);
  auto const nothing = upload_batch({PointCloud{}, PointCloud{}}, exec);
  CHECK(nothing.points.size() == 0);
  CHECK(download(nothing.offsets, exec) == std::vector<std::int32_t>{0, 0, 0});
}

TEST_CASE("point batch: what does not go together is refused")
{
  Execution<Host> const exec{1};
  auto const error_of = [&](std::vector<PointCloud> const& clouds) {
    return test::error_of([&] { static_cast<void>(upload_batch(clouds, exec)); });
  };
  auto const first = cloud_of({0, 0, 0}, 1);
  auto wider = first;
  wider.channels = 1;
  wider.features = {1};
  auto unlabelled = first;
  unlabelled.labels.clear();
  CHECK(error_of({}) == "upload_batch: a batch of no clouds");
  CHECK(error_of({first, wider}) == "upload_batch: cloud 1 has 1 channels, those before have 0");
  CHECK(error_of({first, unlabelled}) == "upload_batch: cloud 1 has no labels, unlike those before");
  CHECK(error_of({unlabelled, first}) == "upload_batch: cloud 1 has labels, unlike those before");
}
