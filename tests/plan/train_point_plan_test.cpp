// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A TrainPlan of a network whose classes are those of points.

#include "train_cases.hpp"

#include <tessera/ops/point_voxel.hpp>

#include <doctest/doctest.h>

using namespace tessera;
using namespace train_cases;

namespace {

/// A convolution of the voxels, then layers of the points.
template <class Space>
class PointNetwork final : public nn::ModuleBase {
 public:
  using Tensor = SparseTensor<3, float, Space>;
  using Points = PointTensor<3, float, Space>;

  explicit PointNetwork(Execution<Space> const& exec)
      : stem_{ConvOptions<3>(in_channels, 8, 3).seed(1), exec},
        norm_{8, exec},
        head_{LinearOptions(8, classes).seed(2), exec}
  {
    this->register_child("stem", stem_);
    this->register_child("norm", norm_);
    this->register_child("head", head_);
    this->train();
  }

  [[nodiscard]] Points forward(Tensor const& x, Execution<Space> const& exec)
  {
    auto const z = voxel_to_point(stem_(x, exec), points_of_voxels(x, exec), exec);
    return head_.forward(norm_.forward(z, exec), exec);
  }

 private:
  nn::Conv<3, float, Space> stem_;
  nn::BatchNorm<3, float, Space> norm_;
  nn::Linear<3, float, Space> head_;
};

}  // namespace

TEST_CASE_TEMPLATE("TrainPlan: of points, what is wrong with a scan is told as of voxels", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Home<Space> home;
  auto const exec = home.exec();
  PointNetwork<Space> net{exec};
  train::ParameterArena<float, Space> arena{net, exec};
  train::Optimizer optimizer{arena, train::AdamW{}, train::Schedule::constant(0.01), exec};
  TrainPlan plan{net, Loss<float>{}, optimizer, limits(), exec};
  auto const good = scan_of(1, 8);
  Batch<float, Space> const batch{good, exec};

  struct Fault {
    Scan scan;
    bool (*told)(PlanReport const&);
    char const* sentence;
  };
  std::vector<Fault> faults;
  faults.push_back({scan_of(9, 14), [](PlanReport const& report) { return report.over_capacity; },
                    "more rows than the capacity"});
  faults.push_back({good, [](PlanReport const& report) { return report.duplicates; },
                    "two rows hold the same coordinate"});
  faults.back().scan.rows[3] = faults.back().scan.rows[4];
  faults.push_back({good, [](PlanReport const& report) { return report.out_of_bounds; },
                    "outside the declared spatial range"});
  faults.back().scan.rows[3].position[1] = 16;
  faults.push_back({good, [](PlanReport const& report) { return report.bad_label; },
                    "the label of row 3 is neither a class nor the label that is ignored"});
  faults.back().scan.labels[3] = classes;
  faults.push_back({{{good.rows[0]}, {1, 2, 3}, {1}},
                    [](PlanReport const& report) { return report.too_few_rows; },
                    "more than 1 row to have a variance"});
  for (auto const& fault : faults) {
    CAPTURE(fault.sentence);
    plan.run(batch.x, batch.labels, exec);
    plan.check();
    auto const rows = upload(fault.scan.rows, exec);
    auto const features = upload(fault.scan.features, exec);
    auto const labels = upload(fault.scan.labels, exec);
    auto const count = upload(std::vector<std::int32_t>{static_cast<std::int32_t>(rows.size())}, exec);
    auto const before = download(arena.masters(), arena.size(), exec);
    plan.run(reinterpret_cast<std::int32_t const*>(rows.data()), features.data(), labels.data(),
             RowCount{rows.size(), count.data()}, exec);
    exec.wait();
    CHECK(fault.told(plan.status()));
    CHECK_THROWS_WITH_AS(plan.check(), doctest::Contains(fault.sentence), invalid_argument);
    CHECK(download(arena.masters(), arena.size(), exec) == before);
  }
}
