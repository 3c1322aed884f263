// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Points that have fixed room for their voxels: operations and networks give the rows in use the bits that they
// give where voxels are counted, and what does not fit is noted.

#include "../support/device.hpp"

#include <tessera/models/spvcnn.hpp>
#include <tessera/models/spvnas.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/ops/point_voxel.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace tessera;

namespace {

constexpr int num_points = 700;
constexpr int padding = 150;  // rows that are not in use
constexpr int channels = 4;

/// Points of one or two batch entries, some of them equal, some not finite; padding behind them if asked for.
struct Cloud {
  std::vector<float> positions;  // [points, 4]
  std::vector<float> features;   // [points, channels]

  Cloud(unsigned seed, int num_batches, bool padded)
  {
    std::mt19937 random{seed};
    std::uniform_real_distribution<float> place{-6, 6};
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    for (int i = 0; i < num_points; ++i) {
      positions.push_back(static_cast<float>(static_cast<int>(random() % 2) % num_batches));
      for (int axis = 0; axis < 3; ++axis) {
        auto const value = place(random);
        positions.push_back(random() % 90 == 0 ? nan : axis == 2 ? 0.25F * value : value);
      }
      for (int c = 0; c < channels; ++c) { features.push_back(place(random)); }
    }
    if (!padded) { return; }
    positions.resize(4 * (num_points + padding), nan);
    features.resize(channels * (num_points + padding), nan);
  }
};

template <class Space>
PointTensor<3, float, Space> upload_cloud(Cloud const& cloud, int num_batches,
                                          std::optional<VoxelRoom<3>> const& room,
                                          Execution<Space> const& exec)
{
  typename PointSet<3, Space>::Count count;
  if (room) {
    auto const used = std::min<std::size_t>(cloud.positions.size() / 4, num_points);
    count = std::make_shared<Buffer<std::int32_t, Space> const>(
        upload(std::vector<std::int32_t>{static_cast<std::int32_t>(used)}, exec));
  }
  auto set = std::make_shared<PointSet<3, Space>>(upload_matrix(cloud.positions, 4, exec), num_batches, room,
                                                  std::move(count));
  return {std::move(set), upload_matrix(cloud.features, channels, exec)};
}

VoxelRoom<3> room_for(std::int64_t max_voxels, int num_batches, std::int64_t max_derived = 900)
{
  VoxelRoom<3> room;
  room.max_voxels = max_voxels;
  room.box.batches = num_batches;
  room.box.lower = -40;
  room.box.upper = 39;
  room.set.fixed_capacity = FixedCapacity{};
  room.set.fixed_capacity->max_rows = max_derived;
  return room;
}

/// Whether `padded` begins with the bits of `exact`.
bool begins_with(std::vector<float> const& padded, std::vector<float> const& exact)
{
  return padded.size() >= exact.size() &&
         std::memcmp(padded.data(), exact.data(), exact.size() * sizeof(float)) == 0;
}

/// What work on points complains of, at once or when the host asks.
template <class Work>
std::string complaint(PointTensor<3, float, Host> const& z, Execution<Host> const& exec, Work const& work)
{
  try {
    work();
    z.points()->voxels_in_room().front()->check(exec);
  } catch (invalid_argument const& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE_TEMPLATE(
    "points in room: voxels, and what points and voxels exchange, have the bits of counted ones", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (unsigned seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    int const batches = 1 + static_cast<int>(seed % 2);
    float const size = seed < 3 ? 0.5F : 0.3F;
    auto const exact =
        initial_voxelize(upload_cloud<Space>({seed, batches, false}, batches, {}, exec), 1, size, exec);
    auto const z = upload_cloud<Space>({seed, batches, true}, batches, room_for(800, batches), exec);
    auto const made = initial_voxelize(z, 1, size, exec);
    CHECK(made.voxels.coordinates()->has_device_count());
    CHECK(made.voxels.capacity() == 800);
    CHECK(made.points.points()->voxel_room() == std::nullopt);
    REQUIRE(z.points()->voxels_in_room().size() == 1);
    CHECK(z.points()->voxels_in_room()[0] == made.voxels.coordinates());
    CHECK(made.voxels.coordinates_on_host(exec) == exact.voxels.coordinates_on_host(exec));
    auto const features = download(made.voxels.features().data, made.voxels.features().size(), exec);
    auto const expected = exact.voxels.features_on_host(exec);
    CHECK(begins_with(features, expected));
    CHECK(std::all_of(features.begin() + static_cast<std::ptrdiff_t>(expected.size()), features.end(),
                      [](float value) { return value == 0; }));
    for (auto const interpolation : {Interpolation::multilinear, Interpolation::nearest}) {
      auto const at_points = voxel_to_point(made.voxels, made.points, exec, interpolation);
      auto const at_exact_points = voxel_to_point(exact.voxels, exact.points, exec, interpolation);
      auto const found = at_points.features_on_host(exec);
      CHECK(begins_with(found, at_exact_points.features_on_host(exec)));
      CHECK(std::all_of(found.begin() + channels * num_points, found.end(), [](float v) { return v == 0; }));
      auto const back = point_to_voxel(at_points, made.voxels, exec);
      CHECK(begins_with(download(back.features().data, back.features().size(), exec),
                        point_to_voxel(at_exact_points, exact.voxels, exec).features_on_host(exec)));
    }
    made.voxels.coordinates()->check(exec);
  }
}

TEST_CASE_TEMPLATE("points in room: SPVCNN and what fuse() makes of it give the bits of counted voxels",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (auto const compat : {Compatibility::none, Compatibility::torchsparse}) {
    CAPTURE(static_cast<int>(compat));
    ConvConfig config;
    config.compat = compat;
    models::SPVCNN<3, float, Space> net{
        SPVCNNOptions(channels, 5).width(0.25).voxel_size(1, 0.4F).config(config).seed(3), exec};
    auto const exact = upload_cloud<Space>({7, 1, false}, 1, {}, exec);
    auto const expected = net.forward(exact, exec).features_on_host(exec);
    auto const z = upload_cloud<Space>({7, 1, true}, 1, room_for(900, 1), exec);
    CHECK(begins_with(net.forward(z, exec).features_on_host(exec), expected));
    auto const fused_here = nn::fuse(net, exact, exec).forward(exact, exec).features_on_host(exec);
    auto const again = upload_cloud<Space>({7, 1, true}, 1, room_for(900, 1), exec);
    CHECK(begins_with(nn::fuse(net, z, exec).forward(again, exec).features_on_host(exec), fused_here));
    again.points()->voxels_in_room().front()->check(exec);
  }
}

TEST_CASE("points in room: voxels that do not fit, here or at a coarser level, are noted, and others stay")
{
  Execution<Host> const exec{};
  Cloud const cloud{11, 1, true};
  auto const exact = initial_voxelize(upload_cloud<Host>(cloud, 1, {}, exec), 1, 0.5F, exec);
  auto const rows = exact.voxels.coordinates_on_host(exec);
  REQUIRE(rows.size() > 300);

  auto const z = upload_cloud<Host>(cloud, 1, room_for(300, 1), exec);
  auto const few = complaint(z, exec, [&] {
    auto const made = initial_voxelize(z, 1, 0.5F, exec);
    CHECK(made.voxels.coordinates()->row_count().size() == 300);
    auto const kept = download(made.voxels.coordinates()->data(), 300, exec);
    CHECK(std::equal(kept.begin(), kept.end(), rows.begin()));
  });
  CHECK(few == "coordinates: more rows than the capacity given");

  auto const exactly =
      upload_cloud<Host>(cloud, 1, room_for(static_cast<std::int64_t>(rows.size()), 1), exec);
  CHECK(
      complaint(exactly, exec, [&] { static_cast<void>(initial_voxelize(exactly, 1, 0.5F, exec)); }).empty());

  models::SPVCNN<3, float, Host> net{SPVCNNOptions(channels, 5).width(0.25).voxel_size(1, 0.5F), exec};
  auto const forward = [&](std::int64_t max_derived) {
    auto const points = upload_cloud<Host>(cloud, 1, room_for(800, 1, max_derived), exec);
    return complaint(points, exec, [&] { static_cast<void>(net.forward(points, exec)); });
  };
  CHECK(forward(800).empty());
  CHECK(forward(40) == "coordinates: more rows than the capacity given");
}

TEST_CASE("points in room: voxels outside of its box are noted, and no points are legal")
{
  Execution<Host> const exec{};
  Cloud const cloud{13, 1, true};
  auto room = room_for(900, 1);
  room.box.upper = 3;  // voxels of half a metre: to 2 m
  auto const z = upload_cloud<Host>(cloud, 1, room, exec);
  auto const made = initial_voxelize(z, 1, 0.5F, exec);
  auto const num_rows = made.voxels.coordinates()->row_count().size();
  CHECK(num_rows > 0);
  for (auto const& row : download(made.voxels.coordinates()->data(), num_rows, exec)) {
    CHECK(max_element(row.position) <= 3);
  }
  CHECK_THROWS_AS(z.points()->voxels_in_room()[0]->check(exec), invalid_argument);

  Cloud none{1, 1, false};
  none.positions.clear();
  none.features.clear();
  models::SPVCNN<3, float, Host> net{SPVCNNOptions(channels, 5).width(0.25), exec};
  auto const nobody = upload_cloud<Host>(none, 1, room_for(10, 1), exec);
  CHECK(net.forward(nobody, exec).num_points() == 0);
  CHECK(nobody.points()->voxels_in_room()[0]->num_rows() == 0);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(initial_voxelize(upload_cloud<Host>(cloud, 1, room_for(0, 1), exec), 1, 1, exec)),
      "sparse_quantize: room for 0 voxels", invalid_argument);
}

TEST_CASE_TEMPLATE("points in room: rows that are not in use join no voxel, also by TorchSparse's rule",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  ConvConfig config;
  config.compat = Compatibility::torchsparse;
  models::SPVCNN<3, float, Space> net{SPVCNNOptions(channels, 5).width(0.25).config(config), exec};
  std::vector<Coordinate<3>> rows;
  for (int x = 0; x < 12; ++x) {
    for (int y = 0; y < 12; ++y) { rows.push_back({0, {x, y, x * y % 5}}); }
  }
  auto const num_rows = static_cast<std::int32_t>(rows.size());
  std::mt19937 random{5};
  std::vector<float> features;
  for (std::size_t i = 0; i < channels * rows.size(); ++i) {
    features.push_back(static_cast<float>(random() % 1000) / 500 - 1);
  }
  SparseTensor<3, float, Space> const exact{make_coordinate_set<3>(rows, {}, exec),
                                            upload_matrix(features, channels, exec)};

  CoordinateSetOptions<3> options;
  options.fixed_capacity = FixedCapacity{};
  options.fixed_capacity->max_rows = 300;
  rows.resize(rows.size() + 40, Coordinate<3>{0, {99, 99, 99}});
  features.resize(channels * rows.size(), 7);
  auto const memory = upload(rows, exec);
  auto const count = upload(std::vector<std::int32_t>{num_rows}, exec);
  auto const set =
      make_coordinate_set<3>(reinterpret_cast<std::int32_t const*>(memory.data()),
                             RowCount{static_cast<std::int64_t>(rows.size()), count.data()}, options, exec);
  SparseTensor<3, float, Space> const counted{set, upload_matrix(features, channels, exec)};
  CHECK(begins_with(net.forward(counted, exec).features_on_host(exec),
                    net.forward(exact, exec).features_on_host(exec)));

  // Without any voxel there is none to join.
  auto const z = upload_cloud<Space>({3, 1, true}, 1, {}, exec);
  auto const nothing = upload(std::vector<std::int32_t>{0}, exec);
  auto const empty = make_coordinate_set<3>(reinterpret_cast<std::int32_t const*>(memory.data()),
                                            RowCount{5, nothing.data()}, options, exec);
  auto const means = point_to_voxel(z, empty, exec, Compatibility::torchsparse);
  for (auto const value : download(means.features().data, means.features().size(), exec)) {
    CHECK(value == 0);
  }
}
