// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "device_problem.hpp"

namespace device_cases {
#ifdef __CUDACC__

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
    for (auto const activation :
         {ts::Activation::none, ts::Activation::relu, ts::Activation::leaky_relu, ts::Activation::silu}) {
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
    arguments.more = {tail.data(), shape.num_in, shape.in_channels - first};
    if (!plan().reads_two_inputs) { continue; }
    CHECK(same_bits(run(), expected));
    arguments.packed = {};
    CHECK(same_bits(run(), expected));
  }
}

/// A convolution whose operands lie on the device, in a residual block's epilogue, with any GemmKernel.
template <class Scalar>
class TiledProblem {
 public:
  using Backend = ts::detail::ConvolutionBackend<ts::Device>;
  using Map = ts::KernelMap<ts::Device>;

  TiledProblem(Problem<Scalar> const& p, ts::MathMode math)
      : shape_{p.shape},
        features_{ts::upload(p.features, exec_)},
        weight_{ts::upload(p.weight, exec_)},
        bias_{ts::upload(p.bias, exec_)},
        residual_{ts::upload(p.residual, exec_)},
        entries_{p.map}
  {
    forget_tile_maps();
    arguments_.features = features_.data();
    arguments_.weight = weight_.data();
    arguments_.bias = bias_.data();
    arguments_.in_channels = shape_.in_channels;
    arguments_.out_channels = shape_.out_channels;
    arguments_.math = math;
    arguments_.epilogue.residual = {residual_.data(), shape_.num_out, shape_.out_channels};
    arguments_.epilogue.activation = ts::Activation::relu;
  }

  /// Puts a map of the same entries into the place of the one that keeps its tile maps.
  void forget_tile_maps()
  {
    map_ =
        std::make_unique<Map>(ts::upload(entries_, exec_), shape_.num_in, shape_.num_out, shape_.volume, -1);
  }

  /// Lets every row read itself.
  void let_map_be_identity()
  {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(shape_.num_out));
    std::iota(rows.begin(), rows.end(), 0);
    map_ = std::make_unique<Map>(ts::upload(rows, exec_), shape_.num_in, shape_.num_out, 1, 0);
  }

  [[nodiscard]] ts::detail::KernelPlan plan(ts::GemmKernel kernel, int splits = 1)
  {
    arguments_.kernel = kernel;
    return Backend::plan(arguments_, ts::detail::summary_of(*map_), splits, exec_);
  }

  /// The output in memory that held NaNs before.
  /// @param packs  whether the weight is packed first
  [[nodiscard]] std::vector<Scalar> run(ts::GemmKernel tiles, bool sort, int splits, bool packs)
  {
    arguments_.kernel = tiles;
    ts::detail::PackedWeight<Scalar, ts::Device> packed;
    if (packs) {
      auto const plan = Backend::plan(arguments_, {0, shape_.volume}, 1, exec_);
      packed = ts::detail::pack_weight(plan, ts::detail::weight_of(arguments_, shape_.volume), exec_);
    }
    arguments_.packed = packed.view();
    ts::Buffer<Scalar, ts::Device> output{shape_.num_out * shape_.out_channels, exec_};
    ts::fill_bytes(output, 0xff, exec_);
    arguments_.output = output.data();
    Backend::implicit_gemm<ts::AutoTile>(arguments_, *map_, sort, splits, exec_);
    auto result = ts::download(output, exec_);
    arguments_.output = nullptr;
    arguments_.packed = {};
    return result;
  }

  /// Whether there is a tile map of so many rows a tile; from then on there is, an empty one.
  [[nodiscard]] bool has_tile_map(bool sort, int splits, int rows)
  {
    bool made = false;
    ts::detail::TileMapKey<ts::Device> const key{sort, splits, rows};
    static_cast<void>(map_->cache().get_or_make(key, [&] {
      made = true;
      return std::make_shared<ts::TileMap<ts::Device>>();
    }));
    return !made;
  }

 private:
  ts::Execution<ts::Device> exec_;
  Shape shape_;
  ts::Buffer<Scalar, ts::Device> features_;
  ts::Buffer<Scalar, ts::Device> weight_;
  ts::Buffer<Scalar, ts::Device> bias_;
  ts::Buffer<Scalar, ts::Device> residual_;
  std::vector<std::int32_t> entries_;
  std::unique_ptr<Map> map_;
  ts::ConvolutionArguments<Scalar> arguments_;
};

#endif
}  // namespace device_cases
