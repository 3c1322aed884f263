// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Scans, losses, models and ranks that a TrainPlan was not made for.

#include "../support/memory.hpp"
#include "train_cases.hpp"

#include <tessera/ops/global_pooling.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <new>

using namespace tessera;
using namespace train_cases;

TEST_CASE_TEMPLATE("TrainPlan: scans that it was not made for change nothing, and are told", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> training{exec};
  Training<float, Space> untouched{exec};
  auto const plan = training.plan();
  auto const twin = untouched.plan();
  auto const all = batches<float, Space>(exec);
  auto const both = [&] {
    plan->run(all[0].x, all[0].labels, exec);
    twin->run(all[0].x, all[0].labels, exec);
    plan->check();
    CHECK(same_bits(training.everything(), untouched.everything()));
  };
  for (int i = 0; i < 8; ++i) { both(); }

  auto const large = scan_of(9, 14);
  REQUIRE(static_cast<std::int64_t>(large.rows.size()) > most_voxels);
  Batch<float, Space> const too_large{large, exec};
  CHECK_THROWS_WITH_AS(plan->run(too_large.x, too_large.labels, exec),
                       doctest::Contains("TrainPlan: 289 voxels are more than the 260"), invalid_argument);
  CHECK_THROWS_WITH_AS(plan->run(all[0].x, all[1].labels, exec), doctest::Contains(" labels for "),
                       invalid_argument);
  CHECK(plan->status().ok());

  struct Fault {
    char const* name;
    Scan scan;
    bool (*told)(PlanReport const&);
    char const* sentence;
  };
  auto const good = scan_of(1, 8);
  std::vector<Fault> faults;
  faults.push_back({"too many voxels", large, [](PlanReport const& report) { return report.over_capacity; },
                    "more rows than the capacity"});
  faults.push_back({"twice the same", good, [](PlanReport const& report) { return report.duplicates; },
                    "two rows hold the same coordinate"});
  faults.back().scan.rows[3] = faults.back().scan.rows[4];
  faults.push_back({"outside", good, [](PlanReport const& report) { return report.out_of_bounds; },
                    "outside the declared spatial range"});
  faults.back().scan.rows[3].position[1] = 16;
  faults.push_back({"no class", good, [](PlanReport const& report) { return report.bad_label; },
                    "the label of row 3 is neither a class nor the label that is ignored"});
  faults.back().scan.labels[3] = classes;
  faults.back().scan.labels[5] = -7;
  faults.push_back({"one row",
                    {},
                    [](PlanReport const& report) { return report.too_few_rows; },
                    "more than 1 row to have a variance"});
  faults.back().scan.rows = {good.rows[0]};
  faults.back().scan.features = {1, 2, 3};
  faults.back().scan.labels = {1};
  for (auto const& fault : faults) {
    CAPTURE(fault.name);
    // only the space knows how many rows there are
    auto const rows = upload(fault.scan.rows, exec);
    auto const features = upload(fault.scan.features, exec);
    auto const labels = upload(fault.scan.labels, exec);
    auto const count = upload(std::vector<std::int32_t>{static_cast<std::int32_t>(rows.size())}, exec);
    auto const before = training.everything();
    plan->run(reinterpret_cast<std::int32_t const*>(rows.data()), features.data(), labels.data(),
              RowCount{rows.size(), count.data()}, exec);
    exec.wait();
    auto const report = plan->status();
    CHECK(report.finished);
    CHECK(!report.ok());
    CHECK(fault.told(report));
    CHECK(!report.not_finite);
    CHECK(same_bits(training.everything(), before));
    CHECK(training.optimizer.state(exec).was_skipped == train::StepState::refused);
    CHECK_THROWS_WITH_AS(training.optimizer.check(exec), doctest::Contains("see TrainPlan::check()"),
                         invalid_argument);
    CHECK_THROWS_WITH_AS(plan->check(), doctest::Contains(fault.sentence), invalid_argument);
    CHECK(plan->status().ok());
    both();  // the next run is as good as ever
  }
  // no voxels are no fault: a loss of 0, gradients of 0
  plan->run(nullptr, nullptr, nullptr, RowCount{0, nullptr}, exec);
  plan->check();
  CHECK(plan->loss(exec) == 0);
}

TEST_CASE_TEMPLATE("TrainPlan: a loss that is not finite is told, and its step not taken", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> parts{exec};
  train::Optimizer optimizer{parts.arena, train::AdamW{}, train::Schedule::constant(0.01), exec};
  TrainPlan plan{parts.net, Loss<float>{}, optimizer, limits(), exec};
  auto scan = scan_of(1, 8);
  Batch<float, Space> const good{scan, exec};
  scan.features[7] = std::numeric_limits<float>::quiet_NaN();
  Batch<float, Space> const bad{scan, exec};
  plan.run(good.x, good.labels, exec);
  plan.check();
  auto const before = download(parts.net.stem.weight().grad() == nullptr ? nullptr : parts.arena.masters(),
                               parts.arena.gradient_size(), exec);
  plan.run(bad.x, bad.labels, exec);
  exec.wait();
  CHECK(plan.status().not_finite);
  CHECK(std::isnan(plan.loss(exec)));
  CHECK_THROWS_WITH_AS(plan.check(), doctest::Contains("a loss or gradient is not finite"), invalid_argument);
  CHECK(download(parts.arena.masters(), parts.arena.gradient_size(), exec) == before);
  auto const state = optimizer.state(exec);
  CHECK(state.step == 1);
  CHECK(state.skipped == 1);
  CHECK(plan.status().ok());
}

TEST_CASE_TEMPLATE(
    "TrainPlan: what was frozen has no gradient in it, and may not be freed; what is freed may freeze", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> by_hand{exec};
  Training<float, Space> planned{exec};
  auto const all = batches<float, Space>(exec);
  for (auto* const training : {&by_hand, &planned}) { training->net.down.weight().freeze(); }
  auto const plan = planned.plan();
  auto const step = [&] {
    for (int i = 0; i < 12; ++i) {
      by_hand.step(all[0]);
      plan->run(all[0].x, all[0].labels, exec);
    }
    CHECK(same_bits(planned.everything(), by_hand.everything()));
  };
  step();
  for (auto* const training : {&by_hand, &planned}) { training->net.stem.weight().freeze(); }
  step();
  for (auto* const training : {&by_hand, &planned}) { training->net.stem.weight().freeze(false); }
  step();
  planned.net.down.weight().freeze(false);
  CHECK_THROWS_WITH_AS(plan->run(all[0].x, all[0].labels, exec),
                       doctest::Contains("\"down.kernel\" was frozen when the plan was made"),
                       invalid_argument);
}

TEST_CASE_TEMPLATE("TrainPlan: a parameter that the loss does not depend on is named", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  struct Half final : nn::Module<3, float, Space> {
    using typename nn::Module<3, float, Space>::Tensor;
    explicit Half(Execution<Space> const& exec)
        : used{ConvOptions<3>(in_channels, classes, 3), exec},
          unused{ConvOptions<3>(in_channels, classes, 3), exec}
    {
      this->register_child("used", used);
      this->register_child("unused", unused);
    }
    Tensor forward(Tensor const& x, Execution<Space> const& exec) override
    {
      static_cast<void>(unused(x, exec));
      return used(x, exec);
    }
    nn::Conv<3, float, Space> used, unused;
  };
  Home<Space> home;
  auto const exec = home.exec();
  Half net{exec};
  train::ParameterArena<float, Space> arena{net, exec};
  train::Optimizer optimizer{arena, train::Sgd{}, train::Schedule::constant(0.1), exec};
  TrainPlan plan{net, Loss<float>{}, optimizer, limits(), exec};
  CHECK(plan.unreached_parameters() == std::vector<std::string>{"unused.kernel"});
  auto const before = download(std::as_const(net.unused.weight()).data(), net.unused.weight().size(), exec);
  auto const used = download(std::as_const(net.used.weight()).data(), net.used.weight().size(), exec);
  Batch<float, Space> const batch{scan_of(1, 8), exec};
  plan.run(batch.x, batch.labels, exec);
  plan.check();
  CHECK(download(std::as_const(net.unused.weight()).data(), net.unused.weight().size(), exec) == before);
  CHECK(download(std::as_const(net.used.weight()).data(), net.used.weight().size(), exec) != used);
}

TEST_CASE_TEMPLATE("TrainPlan: what it cannot do is refused when it is made", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> training{exec};
  auto const make = [&](auto const& loss, auto& optimizer, PlanLimits const& with) {
    TrainPlan plan{training.net, loss, optimizer, with, exec};
  };
  auto& optimizer = training.optimizer;
  auto const before = training.everything();
  CHECK_THROWS_WITH_AS(make(Loss<float>{}, optimizer, PlanLimits().channels(in_channels)),
                       doctest::Contains("max_voxels() must be at least 1"), invalid_argument);
  CHECK_THROWS_WITH_AS(make(Loss<float>{}, optimizer, PlanLimits().max_voxels(9)),
                       doctest::Contains("say PlanLimits::channels()"), invalid_argument);
  CHECK_THROWS_WITH_AS(make(Loss<float>{}, optimizer, limits().fuse()), doctest::Contains("folded weights"),
                       invalid_argument);
  train::Optimizer accumulating{training.arena, train::AdamW{}, train::Schedule::constant(0.1),
                                StepOptions{}.accumulate(4), exec};
  CHECK_THROWS_WITH_AS(make(Loss<float>{}, accumulating, limits()),
                       doctest::Contains("StepOptions::accumulate(4)"), invalid_argument);
  auto const not_one = [](auto const& y, ops::LabelsView const&, auto const& on) {
    return global_average_pool(relu(y, on), on);
  };
  CHECK_THROWS_WITH_AS(make(not_one, optimizer, limits()), doctest::Contains("the loss has 8 elements"),
                       invalid_argument);
  Network<float, Space> other{exec};
  train::ParameterArena<float, Space> of_other{other, exec};
  train::Optimizer of_other_optimizer{of_other, train::AdamW{}, train::Schedule::constant(0.1), exec};
  CHECK_THROWS_WITH_AS(make(Loss<float>{}, of_other_optimizer, limits()),
                       doctest::Contains("parameter \"stem.kernel\" is not in the optimizer's arena"),
                       invalid_argument);
  CHECK(same_bits(training.everything(), before));
  make(Loss<float>{}, optimizer, limits());
  CHECK(same_bits(training.everything(), before));
}

namespace {

/// Ranks that talk by waiting for the host; alone they may say what they like.
template <class Space>
class WaitingRanks final : public train::Collectives<Space> {
 public:
  explicit WaitingRanks(bool capturable) : capturable_{capturable} {}
  [[nodiscard]] int rank() const noexcept override { return 0; }
  [[nodiscard]] int size() const noexcept override { return 1; }
  void all_reduce_sum(void*, std::int64_t, DType, Execution<Space> const&) override { ++calls; }
  void broadcast(void*, std::size_t, int, Execution<Space> const&) override {}
  void all_gather(void const* mine, void* all, std::size_t bytes, Execution<Space> const& exec) override
  {
    detail::Transfer<Space>::copy(all, mine, bytes, exec);
  }
  void barrier(Execution<Space> const&) override {}
  void check() override {}
  [[nodiscard]] bool is_capturable() const noexcept override { return capturable_; }
  int calls = 0;

 private:
  bool capturable_;
};

}  // namespace

TEST_CASE_TEMPLATE("TrainPlan: ranks that wait for the host are refused, others train as one process does",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  Training<float, Space> training{exec};
  Training<float, Space> alone{exec};
  Tape<Space> tape;
  using Options = TrainPlanOptions<float, Space>;
  {
    train::DataParallel<float, Space> over_mpi{
        train::Communicator<Space>{std::make_shared<WaitingRanks<Space>>(false)}, training.net,
        training.arena, tape, exec};
    auto const make = [&] {
      TrainPlan plan{training.net, Loss<float>{}, training.optimizer, limits(), Options().parallel(over_mpi),
                     exec};
    };
    CHECK_THROWS_WITH_AS(make(), doctest::Contains("collectives wait for the host, as those over MPI do"),
                         invalid_argument);
  }
  auto const ranks = std::make_shared<WaitingRanks<Space>>(true);
  train::DataParallel<float, Space> parallel{train::Communicator<Space>{ranks}, training.net, training.arena,
                                             tape, exec};
  TrainPlan plan{training.net,
                 Loss<float>{},
                 training.optimizer,
                 limits(),
                 Options().average(training.average).parallel(parallel),
                 exec};
  auto const twin = alone.plan();
  CHECK(ranks->calls > 0);
  auto const all = batches<float, Space>(exec);
  for (auto const& batch : all) {
    plan.run(batch.x, batch.labels, exec);
    twin->run(batch.x, batch.labels, exec);
  }
  plan.check();
  CHECK(same_bits(training.everything(), alone.everything()));
}

TEST_CASE_TEMPLATE("TrainPlan: runs of the device allocate nothing and read nothing back", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  if constexpr (std::is_same_v<Space, Device>) {
#ifdef __CUDACC__
    test::CountedMemory<Device> memory;
    {
      auto const exec = memory.execution(1);
      Training<__half, Device> training{exec};
      auto const plan = training.plan();
      Batch<__half, Device> const batch{scan_of(1, 8), exec};
      auto const before = memory.allocations();
      for (int i = 0; i < 3; ++i) { plan->run(batch.x, batch.labels, exec); }
      CHECK(memory.allocations() == before);
      plan->check();
    }
    CHECK(memory.bytes_in_use() == 0);
#endif
  }
}

TEST_CASE(
    "TrainPlan: memory that runs out in a run on the host changes nothing, and the next run is as good as "
    "ever")
{
  test::CountedMemory<Host> memory;
  {
    auto const exec = memory.execution(1);
    Training<float, Host> training{exec};
    Training<float, Host> twin{exec};
    auto const plan = training.plan();
    auto const other = twin.plan();
    Batch<float, Host> const batch{scan_of(1, 8), exec};
    for (int i = 0; i < 10; ++i) {
      plan->run(batch.x, batch.labels, exec);
      other->run(batch.x, batch.labels, exec);
    }
    auto const before = training.everything();
    auto const first = memory.allocations();
    other->run(batch.x, batch.labels, exec);
    auto const of_a_run = memory.allocations() - first;
    for (std::int64_t n = 0; n < of_a_run; n += 7) {
      CAPTURE(n);
      memory.fail_at(n);
      CHECK_THROWS_AS(plan->run(batch.x, batch.labels, exec), std::bad_alloc);
      memory.fail_at(-1);
      REQUIRE(same_bits(training.everything(), before));
    }
    plan->run(batch.x, batch.labels, exec);
    plan->check();
    CHECK(same_bits(training.everything(), twin.everything()));
  }
  CHECK(memory.bytes_in_use() == 0);
}
