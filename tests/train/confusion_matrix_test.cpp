// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/train/confusion_matrix.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

using namespace tessera;

namespace {

using Labels = std::vector<std::int32_t>;

}  // namespace

TEST_CASE_TEMPLATE("confusion matrix: counts and scores are those of the definition, over several scans",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::uint32_t const seed = 7;
  CAPTURE(seed);
  std::mt19937 random{seed};
  constexpr int classes = 5;
  train::ConfusionMatrix<Space> matrix{classes, 255, exec};
  std::vector<std::int64_t> counts(classes * (classes + 1), 0);
  for (int const rows : {0, 1, 1000, 20'000}) {
    Labels labels;
    Labels predicted;
    for (int i = 0; i < rows; ++i) {
      auto const drawn = static_cast<std::int32_t>(random() % 5);
      labels.push_back(drawn == 4 ? 255 : drawn);  // class 4 has no labels
      predicted.push_back(random() % 3 == 0 ? drawn : static_cast<std::int32_t>(random() % 9) - 1);
      if (labels.back() == 255) { continue; }
      auto const p = predicted.back() < 0 || predicted.back() >= classes ? classes : predicted.back();
      ++counts[static_cast<std::size_t>(labels.back() * (classes + 1) + p)];
    }
    matrix.add(upload(labels, exec), upload(predicted, exec), exec);
  }
  auto const scores = matrix.scores(exec);
  CHECK(scores.counts == counts);
  double sum_iou = 0;
  double sum_recall = 0;
  double right = 0;
  double all = 0;
  for (int c = 0; c < classes; ++c) {
    double both = 0;
    double labelled = 0;
    double predicted = 0;
    for (int t = 0; t < classes; ++t) {
      for (int p = 0; p <= classes; ++p) {
        auto const n = static_cast<double>(counts[static_cast<std::size_t>(t * (classes + 1) + p)]);
        labelled += t == c ? n : 0;
        predicted += p == c ? n : 0;
        both += t == c && p == c ? n : 0;
      }
    }
    right += both;
    all += labelled;
    auto const at = static_cast<std::size_t>(c);
    CHECK(scores.iou[at] == doctest::Approx(both / (labelled + predicted - both)));
    sum_iou += scores.iou[at];
    if (c == 4) {
      CHECK(std::isnan(scores.recall[at]));
    } else {
      CHECK(scores.recall[at] == doctest::Approx(both / labelled));
      sum_recall += scores.recall[at];
    }
  }
  CHECK(scores.mean_iou == doctest::Approx(sum_iou / 5));
  CHECK(scores.mean_recall == doctest::Approx(sum_recall / 4));
  CHECK(scores.accuracy == doctest::Approx(right / all));
  CHECK(scores.num_elements == static_cast<std::int64_t>(all));

  matrix.reset(exec);
  auto const none = matrix.scores(exec);
  CHECK(none.num_elements == 0);
  CHECK(std::isnan(none.mean_iou));
  CHECK(std::isnan(none.accuracy));
}

TEST_CASE_TEMPLATE("confusion matrix: rows past those in use do not count", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  train::ConfusionMatrix<Space> matrix{2, exec};
  auto const labels = upload(Labels{0, 1, 1, 77}, exec);
  auto const predicted = upload(Labels{0, 1, 0, 0}, exec);
  auto const count = upload(Labels{2}, exec);
  matrix.add(labels.data(), predicted.data(), {4, count.data()}, exec);
  auto const scores = matrix.scores(exec);
  CHECK(scores.num_elements == 2);
  CHECK(scores.accuracy == 1);
  CHECK(scores.mean_iou == 1);
}

TEST_CASE_TEMPLATE("confusion matrix: labels out of range are told with their number", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  train::ConfusionMatrix<Space> matrix{3, 255, exec};
  matrix.add(upload(Labels{0, 3, -1, 255}, exec), upload(Labels{0, 0, 0, 0}, exec), exec);
  CHECK(test::has(test::error_of([&] { static_cast<void>(matrix.scores(exec)); }),
                  "2 labels are neither in [0, 3) nor 255"));
}

TEST_CASE("confusion matrix: refuses what it cannot count")
{
  Execution<Host> const exec;
  CHECK_THROWS_AS(train::ConfusionMatrix<Host>(0, exec), invalid_argument);
  CHECK_THROWS_AS(train::ConfusionMatrix<Host>(5000, exec), invalid_argument);
  train::ConfusionMatrix<Host> matrix{3, exec};
  CHECK_THROWS_AS(matrix.add(upload(Labels{0, 1}, exec), upload(Labels{0}, exec), exec), invalid_argument);
}
