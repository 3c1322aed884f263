// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "host_cases.hpp"

#include <doctest/doctest.h>

using namespace host_cases;

namespace {

template <class Scalar>
void equals_the_definition(Shape const& shape, unsigned seed)
{
  CAPTURE(seed);
  CAPTURE(shape.num_in);
  CAPTURE(shape.num_out);
  CAPTURE(shape.volume);
  CAPTURE(shape.in_channels);
  CAPTURE(shape.out_channels);
  auto p = random_problem<Scalar>(shape, seed);
  if (seed % 3 == 0) { p.bias.clear(); }
  for (auto options : all_ways()) {
    options.sort = seed % 2 == 0;
    CAPTURE(name_of(options));
    CHECK(worst_error(p, run(p, options)) <= 1);
  }
}

/// Several blocks of rows and remainders of every kind.
std::vector<Shape> large_shapes()
{
  return {{900, 2500, 27, 32, 32}, {3000, 1111, 8, 5, 81}, {400, 700, 125, 20, 20}, {600, 530, 27, 81, 300}};
}

}  // namespace

TEST_CASE_TEMPLATE("convolution on the host: every dataflow equals the definition for every channel count",
                   Scalar, float, double)
{
  int const channels[] = {1, 3, 5, 16, 20, 32, 64, 81, 128};
  int const volumes[] = {1, 2, 3, 8, 27, 31, 33, 64, 70, 125};
  unsigned seed = 1;
  for (int const in : channels) {
    for (int const out : channels) {
      std::mt19937 random{seed};
      Shape const shape{1 + static_cast<int>(random() % 70), 1 + static_cast<int>(random() % 70),
                        volumes[seed % 10], in, out};
      equals_the_definition<Scalar>(shape, seed++);
    }
  }
}

TEST_CASE("convolution on the host: every dataflow equals the definition over several blocks of rows")
{
  unsigned seed = 200;
  for (auto const& shape : large_shapes()) { equals_the_definition<float>(shape, seed++); }
}

TEST_CASE("convolution on the host: every number of rows up to two full microkernels is multiplied")
{
  for (int rows = 1; rows <= 13; ++rows) {
    equals_the_definition<float>({5, rows, 3, 7, 33}, static_cast<unsigned>(300 + rows));
  }
}

TEST_CASE("convolution on the host: rows that have every neighbour are multiplied")
{
  auto p = random_problem<float>({400, 2300, 40, 4, 8}, 350);
  for (std::size_t i = 0; i < p.map.size(); ++i) { p.map[i] = static_cast<std::int32_t>(i * 7 % 400); }
  for (auto const& options : all_ways()) {
    CAPTURE(name_of(options));
    CHECK(worst_error(p, run(p, options)) <= 1);
  }
}

TEST_CASE("convolution on the host: threads and sort do not change a bit")
{
  unsigned seed = 400;
  for (auto const& shape : large_shapes()) {
    auto const p = random_problem<float>(shape, ++seed);
    CAPTURE(seed);
    for (auto options : all_ways()) {
      CAPTURE(name_of(options));
      options.threads = 1;
      auto const expected = run(p, options);
      for (int const threads : {1, 2, 4}) {
        options.threads = threads;
        options.sort = threads == 2;
        CHECK(same_bits(run(p, options), expected));
      }
    }
  }
}

TEST_CASE("convolution on the host: shuffled rows give the same bits in another order")
{
  unsigned seed = 500;
  for (auto const& shape : large_shapes()) {
    auto const p = random_problem<float>(shape, ++seed);
    CAPTURE(seed);
    auto const inputs = random_order(shape.num_in, seed);
    auto const outputs = random_order(shape.num_out, seed + 1);
    auto shuffled = p;
    shuffled.features = with_rows_moved(p.features, inputs, shape.in_channels);
    for (auto& in : shuffled.map) { in = in < 0 ? -1 : inputs[static_cast<std::size_t>(in)]; }
    shuffled.map = with_rows_moved(shuffled.map, outputs, shape.volume);
    for (auto const& options : all_ways()) {
      CAPTURE(name_of(options));
      auto const expected = with_rows_moved(run(p, options), outputs, shape.out_channels);
      CHECK(same_bits(run(shuffled, options), expected));
    }
  }
}

TEST_CASE("convolution on the host: an output has the same bits without its neighbours in the list")
{
  auto const p = random_problem<float>({300, 2100, 27, 12, 40}, 601);
  for (auto const& options : all_ways()) {
    CAPTURE(name_of(options));
    auto const all = run(p, options);
    for (int const row : {0, 5, 1023, 1024, 1777, 2099}) {
      CAPTURE(row);
      auto one = p;
      one.shape.num_out = 1;
      auto const first = p.map.begin() + std::ptrdiff_t{row} * 27;
      one.map.assign(first, first + 27);
      auto const at = all.begin() + std::ptrdiff_t{row} * 40;
      CHECK(same_bits(run(one, options), std::vector<float>(at, at + 40)));
    }
  }
}

TEST_CASE("convolution on the host: a channel has the same bits without the channels beside it")
{
  auto const p = random_problem<float>({200, 300, 27, 12, 33}, 611);
  for (auto const& options : all_ways()) {
    CAPTURE(name_of(options));
    auto const all = run(p, options);
    for (std::size_t const channel : {0U, 7U, 15U, 16U, 32U}) {
      auto one = p;
      one.shape.out_channels = 1;
      one.bias = {p.bias[channel]};
      one.weight.clear();
      for (std::size_t i = channel; i < p.weight.size(); i += 33) { one.weight.push_back(p.weight[i]); }
      std::vector<float> expected;
      for (std::size_t i = channel; i < all.size(); i += 33) { expected.push_back(all[i]); }
      CHECK(same_bits(run(one, options), expected));
    }
  }
}

TEST_CASE("convolution on the host: fetch-on-demand has the bits of implicit GEMM in one split")
{
  unsigned seed = 700;
  for (auto const& shape : large_shapes()) {
    auto const p = random_problem<float>(shape, ++seed);
    CHECK(same_bits(run(p, {Way::fetch_on_demand}), run(p, {Way::implicit_gemm})));
  }
}

TEST_CASE("convolution on the host: bias is added last")
{
  for (auto const& options : all_ways()) {
    CAPTURE(name_of(options));
    auto p = random_problem<float>({100, 200, 27, 16, 20}, 801);
    auto const biased = run(p, options);
    auto const bias = p.bias;
    p.bias.clear();
    auto expected = run(p, options);
    for (std::size_t i = 0; i < expected.size(); ++i) { expected[i] += bias[i % 20]; }
    CHECK(same_bits(biased, expected));
  }
}

TEST_CASE("convolution on the host: splits are summed by themselves, then in order")
{
  for (int const volume : {1, 3, 8, 27, 70}) {
    CAPTURE(volume);
    auto p = random_problem<float>({100, 150, volume, 9, 17}, 900 + static_cast<unsigned>(volume));
    p.bias.clear();
    for (int splits = 1; splits <= 5; ++splits) {
      CAPTURE(splits);
      int const length = (volume + splits - 1) / splits;
      std::vector<float> total;
      for (int first = 0; first < volume; first += length) {
        auto const part = run(only_offsets(p, first, first + length), {Way::implicit_gemm});
        if (total.empty()) {
          total = part;
        } else {
          for (std::size_t i = 0; i < part.size(); ++i) { total[i] += part[i]; }
        }
      }
      CHECK(same_bits(run(p, {Way::implicit_gemm, splits}), total));
    }
  }
}

TEST_CASE("convolution on the host: gather-scatter sums each offset by itself, then in order")
{
  auto p = random_problem<float>({100, 600, 27, 9, 17}, 1001);
  p.bias.clear();
  std::vector<float> total(size_of(600, 17), 0.F);
  for (int k = 0; k < 27; ++k) {
    auto const part = run(only_offsets(p, k, k + 1), {Way::implicit_gemm});
    for (std::size_t i = 0; i < part.size(); ++i) { total[i] += part[i]; }
  }
  CHECK(same_bits(run(p, {Way::gather_scatter}), total));
}

TEST_CASE("convolution on the host: a NaN stays in the rows that read it")
{
  for (auto const& shape : {Shape{200, 300, 27, 32, 32}, Shape{200, 300, 27, 3, 20}}) {
    auto p = random_problem<float>(shape, 1101);
    std::int32_t const poisoned = 77;
    p.features[size_of(poisoned, shape.in_channels)] = std::numeric_limits<float>::quiet_NaN();
    for (auto const& options : all_ways()) {
      CAPTURE(name_of(options));
      auto const output = run(p, options);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < output.size(); ++i) {
        auto const row = p.map.begin() + static_cast<std::ptrdiff_t>(i) / shape.out_channels * shape.volume;
        bool const reads = std::find(row, row + shape.volume, poisoned) != row + shape.volume;
        wrong += std::isnan(output[i]) != reads ? 1U : 0U;
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("convolution on the host: a NaN in the weight of an offset without pairs is never read")
{
  auto p = only_offsets(random_problem<float>({50, 60, 27, 8, 24}, 1201), 1, 27);
  std::fill_n(p.weight.begin(), 8 * 24, std::numeric_limits<float>::quiet_NaN());
  for (auto const& options : all_ways()) {
    CAPTURE(name_of(options));
    CHECK(worst_error(p, run(p, options)) <= 1);
  }
}

TEST_CASE_TEMPLATE("convolution on the host: without neighbours the output is the bias, without a bias zero",
                   Scalar, float, double)
{
  for (int const num_in : {0, 20}) {
    auto p = random_problem<Scalar>({num_in, 40, 27, 5, 19}, 1301);
    std::fill(p.map.begin(), p.map.end(), -1);
    for (auto const& options : all_ways()) {
      CAPTURE(name_of(options));
      auto const biased = run(p, options);
      for (std::size_t i = 0; i < biased.size(); ++i) { CHECK(biased[i] == p.bias[i % 19]); }
      auto plain = p;
      plain.bias.clear();
      CHECK(run(plain, options) == std::vector<Scalar>(size_of(40, 19)));
    }
  }
}

TEST_CASE("convolution on the host: no output rows are no work")
{
  auto const p = random_problem<float>({20, 0, 27, 5, 19}, 1401);
  for (auto const& options : all_ways()) {
    CAPTURE(name_of(options));
    CHECK(run(p, options).empty());
  }
}

TEST_CASE("convolution on the host: more splits than offsets add nothing")
{
  auto const p = random_problem<float>({20, 30, 3, 5, 19}, 1501);
  CHECK(same_bits(run(p, {Way::implicit_gemm, 5}), run(p, {Way::implicit_gemm, 3})));
  CHECK_THROWS_WITH_AS(run(p, {Way::implicit_gemm, 0}), "implicit_gemm: splits is 0; it must be at least 1",
                       ts::invalid_argument);
}

TEST_CASE("convolution on the host: float stays close to double")
{
  Shape const shape{500, 600, 27, 64, 48};
  auto const single = random_problem<float>(shape, 1601);
  Problem<double> wide;
  wide.shape = shape;
  wide.map = single.map;
  wide.features.assign(single.features.begin(), single.features.end());
  wide.weight.assign(single.weight.begin(), single.weight.end());
  wide.bias.assign(single.bias.begin(), single.bias.end());
  for (auto const& options : all_ways()) {
    CAPTURE(name_of(options));
    auto const narrow = run(single, options);
    auto const exact = run(wide, options);
    double worst = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      worst = std::max(worst, std::abs(double{narrow[i]} - exact[i]));
    }
    CHECK(worst < 1e-4);
    CHECK(worst > 0);
  }
}

TEST_CASE("convolution on the host: policies run the dataflow they name")
{
  auto const p = random_problem<float>({200, 300, 27, 16, 24}, 1701);
  auto const& exec = with_threads(2);
  ts::KernelMap<ts::Host> map{ts::upload(p.map, exec), 200, 300, 27, -1};
  std::vector<float> output(size_of(300, 24));
  ts::ConvolutionArguments<float> arguments;
  arguments.features = p.features.data();
  arguments.weight = p.weight.data();
  arguments.bias = p.bias.data();
  arguments.output = output.data();
  arguments.in_channels = 16;
  arguments.out_channels = 24;
  ts::ConvMode<0>::forward(arguments, map, exec);
  CHECK(same_bits(output, run(p, {Way::implicit_gemm, 1})));
  ts::ConvMode<2>::forward(arguments, map, exec);
  CHECK(same_bits(output, run(p, {Way::implicit_gemm, 3})));
  ts::GatherScatter::forward(arguments, map, exec);
  CHECK(same_bits(output, run(p, {Way::gather_scatter})));
  ts::FetchOnDemand::forward(arguments, map, exec);
  CHECK(same_bits(output, run(p, {Way::fetch_on_demand})));
}
