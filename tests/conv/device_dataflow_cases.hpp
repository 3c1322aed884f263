// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What every dataflow of the device's convolution is held to.

#include "device_problem.hpp"

namespace device_cases {

template <class Scalar>
void equals_the_definition(Part part, ts::MathMode math = ts::MathMode::exact)
{
  unsigned seed = 100;
  for (auto const& full : shapes()) {
    auto const shape = sized(full);
    auto const p = random_problem<Scalar>(shape, ++seed);
    CAPTURE(seed);
    CAPTURE(shape.num_in);
    CAPTURE(shape.num_out);
    CAPTURE(shape.volume);
    CAPTURE(shape.in_channels);
    CAPTURE(shape.out_channels);
    Options options;
    options.bias = seed % 2 == 0;
    options.math = math;
    options.shift = seed % 5 == 0 ? 1 : 0;
    auto const expected = by_definition(p, options.bias, math);
    std::vector<Scalar> first;
    auto const all = ways<Scalar>(part);
    for (std::size_t i = 0; i < all.size(); ++i) {
      CAPTURE(all[i].name);
      auto const output = run(p, all[i], options);
      check_close(output, expected, shape);
      if (i == 0) { first = output; }
      if (part == Part::whole && i < num_ways_of_one_chain<Scalar>(math)) { CHECK(same_bits(output, first)); }
      if (!test::small_sets()) { CHECK(same_bits(output, run(p, all[i], options))); }
    }
  }
}

/// Every activation, with and without a residual, in every dataflow.
template <class Scalar>
void applies_the_epilogue(ts::MathMode math = ts::MathMode::exact)
{
  unsigned seed = 70;
  for (auto const& shape :
       {Shape{300, 290, 27, 64, 64}, Shape{130, 140, 27, 96, 96}, Shape{140, 150, 27, 64, 128},
        Shape{200, 190, 27, 16, 16}, Shape{60, 90, 27, 128, 40}, Shape{90, 80, 8, 3, 5},
        Shape{70, 100, 27, 32, 200}, Shape{90, 110, 1, 64, 83}}) {
    auto const p = random_problem<Scalar>(shape, ++seed);
    CAPTURE(seed);
    auto const sums = by_definition(p, true, math);
    for (auto const activation : {ts::Activation::none, ts::Activation::relu, ts::Activation::leaky_relu,
                                  ts::Activation::silu, ts::Activation::sigmoid}) {
      CAPTURE(static_cast<int>(activation));
      Options options;
      options.math = math;
      options.activation = activation;
      options.residual = activation != ts::Activation::leaky_relu;
      options.shift = activation == ts::Activation::silu && seed % 2 == 0 ? 1 : 0;
      auto expected = sums;
      for (std::size_t i = 0; i < expected.value.size(); ++i) {
        double const x = expected.value[i] + (options.residual ? wide(p.residual[i]) : 0);
        expected.magnitude[i] = 2 * (expected.magnitude[i] + std::abs(x));
        expected.value[i] = activation == ts::Activation::relu         ? std::max(x, 0.0)
                            : activation == ts::Activation::leaky_relu ? std::max(x, double{0.01F} * x)
                            : activation == ts::Activation::silu       ? x / (1 + std::exp(-x))
                            : activation == ts::Activation::sigmoid    ? 1 / (1 + std::exp(-x))
                                                                       : x;
      }
      for (auto const& way : ways<Scalar>()) {
        CAPTURE(way.name);
        check_close(run(p, way, options), expected, shape);
      }
    }
  }
}

/// Two matrices that have the first `first` channels and the others.
template <class Scalar>
[[nodiscard]] std::array<std::vector<Scalar>, 2> first_and_other_channels(std::vector<Scalar> const& features,
                                                                          int channels, int first)
{
  std::array<std::vector<Scalar>, 2> parts;
  for (std::size_t i = 0; i < features.size(); ++i) {
    parts[static_cast<int>(i % static_cast<std::size_t>(channels)) < first ? 0 : 1].push_back(features[i]);
  }
  return parts;
}

/// The input channels from two matrices, where that can be, give the bits that they give side by side.
template <class Scalar>
void reads_two_matrices_as_one(ts::MathMode math = ts::MathMode::exact)
{
  ts::Execution<ts::Device> const exec;
  using Backend = ts::detail::ConvolutionBackend<ts::Device>;
  std::pair<Shape, int> const cases[] = {{sized({200, 230, 27, 96, 96}), 64},
                                         {sized({130, 150, 27, 72, 200}), 32},
                                         {sized({100, 170, 1, 96, 128}), 64},
                                         {sized({100, 130, 27, 160, 104}), 96}};
  for (auto const& one : cases) {
    auto const& shape = one.first;
    int const first = one.second;
    auto const p = random_problem<Scalar>(shape, 91);
    CAPTURE(shape.out_channels);
    auto const parts = first_and_other_channels(p.features, shape.in_channels, first);
    auto const whole = ts::upload(p.features, exec);
    auto const head = ts::upload(parts[0], exec);
    auto const tail = ts::upload(parts[1], exec);
    auto const weight = ts::upload(p.weight, exec);
    ts::KernelMap<ts::Device> map{ts::upload(p.map, exec), shape.num_in, shape.num_out, shape.volume, -1};
    auto const size = shape.num_out * shape.out_channels;
    ts::ConvolutionArguments<Scalar> arguments;
    arguments.weight = weight.data();
    arguments.in_channels = shape.in_channels;
    arguments.out_channels = shape.out_channels;
    arguments.math = math;
    auto const run = [&] {
      ts::Buffer<Scalar, ts::Device> output{size, exec};
      ts::fill_bytes(output, 0xff, exec);
      arguments.output = output.data();
      Backend::implicit_gemm<ts::AutoTile>(arguments, map, true, 1, exec);
      return ts::download(output, exec);
    };
    arguments.features = whole.data();
    auto const expected = run();
    auto const plan = [&] { return Backend::plan(arguments, {0, shape.volume}, 1, exec); };
    auto const packed = ts::detail::pack_weight(plan(), ts::detail::weight_of(arguments, shape.volume), exec);
    arguments.packed = packed.view();
    CHECK(same_bits(run(), expected));
    arguments.features = head.data();
    arguments.second_features = {tail.data(), shape.num_in, shape.in_channels - first};
    if (!plan().reads_two_inputs) { continue; }
    CHECK(same_bits(run(), expected));
    arguments.packed = {};
    CHECK(same_bits(run(), expected));
  }
}

/// Moves input row i to `to[i]`.
template <class Scalar>
Problem<Scalar> with_inputs_moved(Problem<Scalar> const& p, std::vector<std::int32_t> const& to)
{
  auto moved = p;
  auto const cin = static_cast<std::size_t>(p.shape.in_channels);
  for (std::size_t i = 0; i < to.size(); ++i) {
    std::copy_n(p.features.begin() + static_cast<std::ptrdiff_t>(i * cin), cin,
                moved.features.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(to[i]) * cin));
  }
  for (auto& in : moved.map) { in = in < 0 ? -1 : to[static_cast<std::size_t>(in)]; }
  return moved;
}

/// Row i of [rows, width] moved to `to[i]`.
template <class T>
std::vector<T> with_rows_moved(std::vector<T> const& values, std::vector<std::int32_t> const& to, int width)
{
  auto moved = values;
  for (std::size_t i = 0; i < to.size(); ++i) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(i) * width, width,
                moved.begin() + static_cast<std::ptrdiff_t>(to[i]) * width);
  }
  return moved;
}

template <class Scalar>
void does_not_depend_on_the_order_of_rows(ts::MathMode math = ts::MathMode::exact)
{
  for (auto const& shape :
       {sized({500, 400, 27, 32, 48}), sized({333, 600, 45, 20, 24}), sized({90, 90, 125, 5, 3}),
        sized({400, 300, 27, 40, 96}), sized({300, 350, 27, 64, 232})}) {
    auto const p = random_problem<Scalar>(shape, 21);
    CAPTURE(shape.in_channels);
    Options options;
    options.math = math;
    std::mt19937 random{22};
    std::vector<std::int32_t> inputs(static_cast<std::size_t>(shape.num_in));
    std::iota(inputs.begin(), inputs.end(), 0);
    std::shuffle(inputs.begin(), inputs.end(), random);
    std::vector<std::int32_t> outputs(static_cast<std::size_t>(shape.num_out));
    std::iota(outputs.begin(), outputs.end(), 0);
    std::shuffle(outputs.begin(), outputs.end(), random);
    auto shuffled = with_inputs_moved(p, inputs);
    shuffled.map = with_rows_moved(shuffled.map, outputs, shape.volume);
    for (auto const& way : ways<Scalar>()) {
      CAPTURE(way.name);
      auto const straight = run(p, way, options);
      CHECK(same_bits(with_rows_moved(straight, outputs, shape.out_channels), run(shuffled, way, options)));
    }
  }
}

template <class Scalar>
void keeps_a_nan_where_it_is_read(ts::MathMode math = ts::MathMode::exact)
{
  for (auto const& shape :
       {sized({200, 200, 27, 32, 32}), sized({200, 150, 27, 3, 20}), sized({200, 170, 27, 40, 96}),
        sized({200, 210, 27, 64, 256}), sized({120, 130, 27, 160, 128})}) {
    auto p = random_problem<Scalar>(shape, 31);
    std::int32_t const poisoned = 77;
    p.features[poisoned * static_cast<std::size_t>(shape.in_channels) + 1] =
        rounded<Scalar>(std::numeric_limits<double>::quiet_NaN());
    p.features[(poisoned + 1) * static_cast<std::size_t>(shape.in_channels) - 1] =
        rounded<Scalar>(std::numeric_limits<double>::infinity());
    std::size_t const added = 5;  // of the residual
    p.residual[added] = rounded<Scalar>(std::numeric_limits<double>::quiet_NaN());
    for (auto const activation : {ts::Activation::none, ts::Activation::relu, ts::Activation::leaky_relu,
                                  ts::Activation::silu, ts::Activation::sigmoid}) {
      CAPTURE(static_cast<int>(activation));
      Options options;
      options.math = math;
      options.activation = activation;
      options.residual = activation != ts::Activation::none;
      for (auto const& way : ways<Scalar>()) {
        CAPTURE(way.name);
        auto const output = run(p, way, options);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < output.size(); ++i) {
          auto const row = p.map.begin() + static_cast<std::ptrdiff_t>(i) / shape.out_channels * shape.volume;
          bool const reads = std::find(row, row + shape.volume, poisoned) != row + shape.volume ||
                             (options.residual && i == added);
          wrong += std::isnan(wide(output[i])) != reads ? 1 : 0;
        }
        CHECK(wrong == 0);
      }
    }
  }
}

template <class Scalar>
void is_the_bias_where_nothing_is_read(ts::MathMode math = ts::MathMode::exact)
{
  for (auto const& way : ways<Scalar>()) {
    CAPTURE(way.name);
    for (bool const bias : {false, true}) {
      Options options;
      options.bias = bias;
      options.math = math;
      // No inputs: features are null.
      for (auto const& shape :
           {Shape{0, 100, 27, 16, 24}, Shape{0, 300, 27, 32, 96}, Shape{0, 300, 27, 64, 256}}) {
        auto p = random_problem<Scalar>(shape, 41);
        auto const output = run(p, way, options);
        REQUIRE(output.size() == static_cast<std::size_t>(shape.num_out * shape.out_channels));
        for (std::size_t i = 0; i < output.size(); ++i) {
          REQUIRE(wide(output[i]) ==
                  (bias ? wide(p.bias[i % static_cast<std::size_t>(shape.out_channels)]) : 0));
          REQUIRE((bias || !std::signbit(wide(output[i]))));
        }
      }
      CHECK(run(random_problem<Scalar>({100, 0, 27, 16, 24}, 42), way, options).empty());
      CHECK(run(random_problem<Scalar>({0, 0, 27, 3, 5}, 43), way, options).empty());
    }
  }
}

}  // namespace device_cases
