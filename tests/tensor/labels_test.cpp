// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"

#include <tessera/tensor/labels.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace tessera;

namespace {

/// The definition: the first of the largest elements that are numbers.
template <class Scalar>
std::vector<std::int32_t> argmax_by_definition(std::vector<Scalar> const& values, std::size_t columns)
{
  std::vector<std::int32_t> result;
  for (std::size_t row = 0; row < values.size() / columns; ++row) {
    std::int32_t label = -1;
    for (std::size_t c = 0; c < columns; ++c) {
      auto const value = static_cast<double>(static_cast<float>(values[row * columns + c]));
      bool larger = !std::isnan(value);
      for (std::size_t other = 0; other < columns && larger; ++other) {
        auto const its = static_cast<double>(static_cast<float>(values[row * columns + other]));
        if (std::isnan(its)) { continue; }
        larger = other < c ? value > its : value >= its;
      }
      if (larger) { label = static_cast<std::int32_t>(c); }
    }
    result.push_back(label);
  }
  return result;
}

template <class Scalar, class Space>
void check_argmax()
{
  Execution<Space> const exec{};
  constexpr float no_number = std::numeric_limits<float>::quiet_NaN();
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::mt19937 random{5};
  for (std::size_t const columns : {1U, 2U, 19U, 40U}) {
    CAPTURE(columns);
    std::vector<Scalar> values;
    for (std::size_t row = 0; row < 700; ++row) {
      for (std::size_t c = 0; c < columns; ++c) {
        float value = static_cast<float>(random() % 9) - 4;  // few values: ties
        if (row % 5 == 1 && random() % 3 == 0) { value = no_number; }
        if (row % 5 == 2) { value = random() % 2 == 0 ? -infinity : no_number; }
        if (row % 5 == 3) { value = no_number; }
        if (row % 5 == 4 && random() % 4 == 0) { value = infinity; }
        values.push_back(Scalar(value));
      }
    }
    auto const matrix = upload_matrix(values, static_cast<std::int64_t>(columns), exec);
    CHECK(download(argmax(matrix.view(), exec), exec) == argmax_by_definition(values, columns));
  }
  CHECK(argmax(Matrix<Scalar, Space>{0, 4, exec}.view(), exec).size() == 0);
  CHECK(download(argmax(Matrix<Scalar, Space>{2, 0, exec}.view(), exec), exec) ==
        std::vector<std::int32_t>{-1, -1});
}

}  // namespace

TEST_CASE_TEMPLATE("argmax: the first of a row's largest numbers; NaN is none of them", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  check_argmax<float, Space>();
  check_argmax<double, Space>();
#ifdef __CUDACC__
  check_argmax<__half, Space>();
  check_argmax<__nv_bfloat16, Space>();
#endif
}

TEST_CASE_TEMPLATE("gather: values by index, and what stands for none elsewhere", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const from = upload(std::vector<std::int32_t>{7, 8, 9}, exec);
  auto const index = upload(std::vector<std::int32_t>{2, -1, 0, 1, 3, 2, INT_MAX, INT_MIN}, exec);
  CHECK(download(gather(from, index, -5, exec), exec) ==
        std::vector<std::int32_t>{9, -5, 7, 8, -5, 9, -5, -5});
  CHECK(gather(from, Buffer<std::int32_t, Space>{}, -1, exec).size() == 0);
  CHECK(download(gather(Buffer<std::int32_t, Space>{}, index, 4, exec), exec) ==
        std::vector<std::int32_t>(8, 4));
}
