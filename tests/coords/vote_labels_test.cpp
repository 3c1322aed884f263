// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "quantize_cases.hpp"

#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/coords/vote_labels.hpp>

#include <climits>
#include <map>
#include <optional>
#include <random>

using namespace tessera;
using namespace quantize_cases;

TEST_CASE_TEMPLATE("vote labels: every voxel has the label of most of its points, ties the smallest", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (unsigned seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    // from many voxels of one point to one voxel of all, labels negative too, and few so that many tie
    std::size_t const count = seed == 1 ? 0 : 3000;
    auto const cloud = random_cloud<2>(seed, count, seed % 2 == 0 ? 20.0F : 2.0F, 2, true);
    std::mt19937 random{seed};
    std::vector<std::int32_t> labels;
    std::int32_t const choice[] = {-7, 0, 3, INT_MAX, INT_MIN, 255};
    for (std::size_t i = 0; i < count; ++i) { labels.push_back(choice[random() % (seed < 5 ? 3 : 6)]); }
    auto const positions = upload_matrix(cloud.positions, 2, exec);
    auto const batch = upload(cloud.batch, exec);
    PointsView<float> view{positions.view()};
    view.batch = batch.data();
    view.num_batches = cloud.num_batches;
    auto const voxels = sparse_quantize(view, QuantizeOptions<2>(seed == 8 ? 1000.0F : 0.5F), exec);
    auto const inverse = download(voxels.inverse, exec);
    auto const there = upload(labels, exec);
    for (auto const ignored : {std::optional<std::int32_t>{}, std::optional<std::int32_t>{0},
                               std::optional<std::int32_t>{-7}, std::optional<std::int32_t>{77}}) {
      std::vector<std::map<std::int32_t, int>> counts(static_cast<std::size_t>(voxels.num_voxels()));
      for (std::size_t i = 0; i < count; ++i) {
        if (inverse[i] >= 0 && labels[i] != ignored) {
          ++counts[static_cast<std::size_t>(inverse[i])][labels[i]];
        }
      }
      std::vector<std::int32_t> expected;
      for (auto const& of_voxel : counts) {
        auto best = std::pair{ignored.value_or(0), 0};
        for (auto const& [label, votes] : of_voxel) {  // ascending labels
          if (votes > best.second) { best = {label, votes}; }
        }
        expected.push_back(best.first);
      }
      CHECK(download(vote_labels(voxels, there.data(), ignored, exec), exec) == expected);
      auto const room = static_cast<std::size_t>(voxels.num_voxels()) + 3;
      expected.resize(room, ignored.value_or(0));
      VoxelRoom<2> const fixed{static_cast<std::int64_t>(room), {3, {-400, -400}, {400, 400}}, {}};
      auto const planned = sparse_quantize(view, QuantizeOptions<2>(seed == 8 ? 1000.0F : 0.5F), fixed, exec);
      CHECK(download(vote_labels(planned, there.data(), ignored, exec), exec) == expected);
    }
  }
  CHECK(test::error_of([&] {
          auto const point = upload_matrix(std::vector<float>{1, 1}, 2, exec);
          auto const one = sparse_quantize(PointsView<float>{point.view()}, QuantizeOptions<2>(1.0F), exec);
          static_cast<void>(vote_labels(one, nullptr, std::nullopt, exec));
        }) == "vote_labels: no labels for 1 points");
}
