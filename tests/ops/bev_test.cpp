// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/ops/bev.hpp>

#include <random>
#include <set>
#include <tuple>

using namespace tessera;

namespace {

constexpr int batches = 2;

struct Voxels {
  IntArray<3> extent{4, 5, 6};
  std::vector<Coordinate<3>> rows;
  std::vector<float> features;
  int channels = 3;
};

Voxels random_voxels(unsigned seed)
{
  std::mt19937 random{seed};
  Voxels voxels;
  std::set<std::tuple<int, int, int, int>> seen;
  for (int i = 0; i < 70; ++i) {
    auto const below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    Coordinate<3> const c{below(batches), {below(4), below(5), below(6)}};
    if (!seen.insert({c.batch, c.position[0], c.position[1], c.position[2]}).second) { continue; }
    voxels.rows.push_back(c);
    for (int k = 0; k < voxels.channels; ++k) {
      voxels.features.push_back(static_cast<float>(below(999)) + 1);
    }
  }
  return voxels;
}

template <class Space>
SparseTensor<3, float, Space> tensor_of(Voxels const& voxels, Execution<Space> const& exec)
{
  CoordinateSetOptions<3> const options{1, SpatialRange<3>{batches, voxels.extent}};
  return {make_coordinate_set(voxels.rows, options, exec),
          upload_matrix(voxels.features, voxels.channels, exec)};
}

}  // namespace

TEST_CASE_TEMPLATE("bev: every axis, layout and order of channels is as defined", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const voxels = random_voxels(1);
  auto const x = tensor_of(voxels, exec);
  for (int const axis : {0, 1, 2}) {
    for (auto const layout : {DenseLayout::channels_first, DenseLayout::channels_last}) {
      for (auto const order : {BevChannels::channel_major, BevChannels::height_major}) {
        CAPTURE(axis);
        int const row_axis = axis == 0 ? 1 : 0;
        int const column_axis = axis == 2 ? 1 : 2;
        auto const heights = static_cast<std::size_t>(voxels.extent[axis]);
        auto const num_rows = static_cast<std::size_t>(voxels.extent[row_axis]);
        auto const num_columns = static_cast<std::size_t>(voxels.extent[column_axis]);
        auto const channels = static_cast<std::size_t>(voxels.channels);
        std::vector<float> expected(batches * heights * channels * num_rows * num_columns);
        for (std::size_t i = 0; i < voxels.rows.size(); ++i) {
          auto const& p = voxels.rows[i].position;
          auto const b = static_cast<std::size_t>(voxels.rows[i].batch);
          auto const d = static_cast<std::size_t>(p[axis]);
          auto const h = static_cast<std::size_t>(p[row_axis]);
          auto const w = static_cast<std::size_t>(p[column_axis]);
          for (std::size_t c = 0; c < channels; ++c) {
            auto const channel = order == BevChannels::channel_major ? c * heights + d : d * channels + c;
            auto const at = layout == DenseLayout::channels_first
                                ? ((b * heights * channels + channel) * num_rows + h) * num_columns + w
                                : ((b * num_rows + h) * num_columns + w) * heights * channels + channel;
            expected[at] = voxels.features[i * channels + c];
          }
        }
        auto const map = bev(x, BevOptions().axis(axis).layout(layout).channels(order), exec);
        CHECK(map.channels() == voxels.extent[axis] * voxels.channels);
        CHECK(map.range().extent == IntArray<2>{voxels.extent[row_axis], voxels.extent[column_axis]});
        CHECK(download(map.data(), map.size(), exec) == expected);
      }
    }
  }
}

TEST_CASE_TEMPLATE("bev: a map of another type and of a larger grid; no voxels make a map of zeros", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const voxels = random_voxels(2);
  auto const x = tensor_of(voxels, exec);
  auto const map = bev(x, BevOptions(), exec);
  auto const wide = bev<double>(x, BevOptions().range({batches, {4, 5, 8}}), exec);
  auto const small_values = download(map.data(), map.size(), exec);
  auto const wide_values = download(wide.data(), wide.size(), exec);
  REQUIRE(wide_values.size() == small_values.size() / 6 * 8);
  bool same = true;
  for (std::size_t i = 0; i < wide_values.size(); ++i) {
    auto const inside = i % 8 < 6;
    same = same && wide_values[i] == (inside ? small_values[i / 8 * 6 + i % 8] : 0.0F);
  }
  CHECK(same);
  auto const empty = bev(tensor_of(Voxels{}, exec), BevOptions(), exec);
  CHECK(download(empty.data(), empty.size(), exec) == std::vector<float>(batches * 12 * 30));
}

TEST_CASE("bev: what is invalid is refused")
{
  Execution<Host> const exec{};
  auto const voxels = random_voxels(3);
  auto const x = tensor_of(voxels, exec);
  auto const error = [&](SparseTensor<3, float, Host> const& tensor, BevOptions const& options) {
    return test::error_of([&] { static_cast<void>(bev(tensor, options, exec)); });
  };
  CHECK(error(x, BevOptions().axis(3)) == "bev: axis 3; the axes are 0, 1 and 2");
  CHECK(error({}, BevOptions()) == "bev: the tensor has no coordinates");
  CHECK(test::has(error(x, BevOptions().range({batches, {4, 5, 2}})), "not all inside the range"));
  SparseTensor<3, float, Host> const unbounded{make_coordinate_set<3>(voxels.rows, {}, exec),
                                               upload_matrix(voxels.features, voxels.channels, exec)};
  CHECK(error(unbounded, BevOptions()) == "bev: the tensor has no spatial range, so one must be given");
  CHECK(error(unbounded, BevOptions().range({batches, voxels.extent})).empty());
}
