// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A training step in fixed memory is the step by hand, on both spaces.

#include "train_cases.hpp"

#include <doctest/doctest.h>

using namespace tessera;
using namespace train_cases;

namespace {

#ifdef __CUDACC__
#define TRAIN_PLAN_CASES Of<float, Host>, Of<float, Device>, Of<__half, Device>, Of<__nv_bfloat16, Device>
#else
#define TRAIN_PLAN_CASES Of<float, Host>
#endif

/// A scalar in a space.
template <class T, class S>
struct Of {
  using Scalar = T;
  using Space = S;
};

}  // namespace

TEST_CASE_TEMPLATE(
    "TrainPlan: 100 runs are 100 steps by hand, overflows, dropout and blocks that are computed again "
    "included",
    Case, TRAIN_PLAN_CASES)
{
  using Scalar = typename Case::Scalar;
  using Space = typename Case::Space;
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<Scalar, Space> by_hand{exec};
  Training<Scalar, Space> planned{exec};
  auto const plan = planned.plan();
  CHECK(same_bits(planned.everything(), by_hand.everything()));  // making the plan changes nothing
  planned.optimizer.check(exec);
  CHECK(planned.optimizer.state(exec).was_skipped == 0);
  auto const all = batches<Scalar, Space>(exec);
  for (std::size_t i = 0; i < 100; ++i) {
    CAPTURE(i);
    auto const& batch = all[i % all.size()];
    auto const loss = by_hand.step(batch);
    plan->run(batch.x, batch.labels, exec);
    CHECK(static_cast<double>(plan->loss(exec)) == loss);
    if (i % 10 == 0 || i > 90) { REQUIRE(same_bits(planned.everything(), by_hand.everything())); }
  }
  plan->check();
  auto const state = planned.optimizer.state(exec);
  CHECK(state.calls == 100);
  CHECK(state.skipped > 1);
  CHECK(state.step > 50);
  CHECK(plan->status().runs == 100);
  CHECK(plan->bytes() > 0);
  MESSAGE("a step takes ", plan->bytes(), " bytes in ", plan->num_nodes(), " nodes");
}

TEST_CASE_TEMPLATE("TrainPlan: two plans give the same bits, with other limits and another memory too", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> first{exec};
  Training<float, Space> second{exec};
  auto const a = first.plan();
  auto const b = second.plan(limits().max_voxels(700));
  static_cast<void>(second.plan());  // one of the same model that ends meanwhile
  auto const all = batches<float, Space>(exec);
  for (std::size_t i = 0; i < 12; ++i) {
    a->run(all[i % all.size()].x, all[i % all.size()].labels, exec);
    b->run(all[i % all.size()].x, all[i % all.size()].labels, exec);
  }
  a->check();
  b->check();
  CHECK(same_bits(first.everything(), second.everything()));
}

TEST_CASE_TEMPLATE("TrainPlan: a batch of clouds becomes voxels with the labels of most points", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> by_hand{exec};
  Training<float, Space> planned{exec};
  auto const plan = planned.plan();
  auto const options = QuantizeOptions<3>(0.5F).grid({16, 16, 8});
  for (unsigned seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    std::uniform_real_distribution<float> uniform{0, 2.5F};
    std::vector<float> positions;
    std::vector<float> features;
    std::vector<std::int32_t> labels;
    for (int i = 0; i < 300; ++i) {
      for (int c = 0; c < 3; ++c) { positions.push_back(uniform(random)); }
      for (int c = 0; c < in_channels; ++c) { features.push_back(uniform(random)); }
      labels.push_back(i % 7 == 0 ? 255 : static_cast<std::int32_t>(random() % classes));
    }
    auto const there = upload_matrix(positions, 3, exec);
    auto const values = upload_matrix(features, in_channels, exec);
    auto const marks = upload(labels, exec);
    auto const offsets = upload(std::vector<std::int32_t>{0, 140, 300}, exec);
    PointsView<float> points{there.view(), values.view()};
    points.offsets = offsets.data();
    points.num_batches = 2;
    auto voxels = sparse_quantize(points, options, exec);
    Batch<float, Space> batch{Scan{}, exec};
    batch.labels = vote_labels(voxels, marks.data(), 255, exec);
    batch.x = {voxels.coordinates, std::move(voxels.features)};
    auto const loss = by_hand.step(batch);
    plan->run(points, marks.data(), options, 255, exec);
    plan->check();
    CHECK(static_cast<double>(plan->loss(exec)) == loss);
    CHECK(same_bits(planned.everything(), by_hand.everything()));
  }
  // more voxels than there is room for
  std::vector<float> many;
  for (int i = 0; i < 400; ++i) {
    many.insert(many.end(), {static_cast<float>(i % 16) / 2, static_cast<float>(i / 16 % 16) / 2,
                             static_cast<float>(i / 256) / 2});
  }
  auto const there = upload_matrix(many, 3, exec);
  auto const values = upload_matrix(std::vector<float>(1200, 1.0F), in_channels, exec);
  auto const marks = upload(std::vector<std::int32_t>(400, 1), exec);
  PointsView<float> points{there.view(), values.view()};
  points.num_batches = 2;
  auto const before = planned.everything();
  plan->run(points, marks.data(), options, 255, exec);
  CHECK_THROWS_WITH_AS(plan->check(), doctest::Contains("more rows than the capacity"), invalid_argument);
  CHECK(same_bits(planned.everything(), before));
}

TEST_CASE_TEMPLATE("TrainPlan: a block that is computed again updates its statistics once and drops the same",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> again{exec, true};
  Training<float, Space> kept{exec, false};
  auto const a = again.plan();
  auto const b = kept.plan();
  auto const all = batches<float, Space>(exec);
  for (std::size_t i = 0; i < 8; ++i) {
    a->run(all[i % all.size()].x, all[i % all.size()].labels, exec);
    b->run(all[i % all.size()].x, all[i % all.size()].labels, exec);
  }
  a->check();
  CHECK(same_bits(again.everything(), kept.everything()));
}

TEST_CASE_TEMPLATE("TrainPlan: versions rise with each run, and layers by hand read the new weights", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> training{exec};
  auto const all = batches<float, Space>(exec);
  training.net.eval();
  static_cast<void>(training.net.forward(all[0].x, exec));  // layers pack their weights
  training.net.train();
  auto const plan = training.plan();
  std::vector<std::uint64_t> versions;
  for (auto const& parameter : training.net.parameters()) {
    versions.push_back(parameter.parameter->version());
  }
  for (int i = 0; i < 10; ++i) { plan->run(all[0].x, all[0].labels, exec); }
  std::size_t i = 0;
  for (auto const& parameter : training.net.parameters()) {
    CAPTURE(parameter.name);
    CHECK(parameter.parameter->version() >= versions[i++] + 10);
  }
  Network<float, Space> other{exec};
  auto const from = training.net.parameters();
  auto const to = other.writable_parameters();
  for (std::size_t k = 0; k < from.size(); ++k) {
    detail::Transfer<Space>::copy(to[k].write_bytes(), from[k].parameter->bytes(),
                                  static_cast<std::size_t>(from[k].size) * sizeof(float), exec);
  }
  training.net.eval();
  other.eval();
  CHECK(training.net.forward(all[1].x, exec).features_on_host(exec) ==
        other.forward(all[1].x, exec).features_on_host(exec));
}

TEST_CASE_TEMPLATE("TrainPlan: parameters that were written in between are trained on", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> by_hand{exec};
  Training<float, Space> planned{exec};
  auto const all = batches<float, Space>(exec);
  auto const plan = planned.plan();
  for (int i = 0; i < 3; ++i) {
    for (auto* const training : {&by_hand, &planned}) {
      auto& weight = training->net.head.weight();
      detail::Transfer<Space>::fill_bytes(weight.write(), 0, static_cast<std::size_t>(weight.size()) * 4,
                                          exec);
    }
    by_hand.step(all[1]);
    plan->run(all[1].x, all[1].labels, exec);
    CHECK(same_bits(planned.everything(), by_hand.everything()));
  }
}
