// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What gradients of convolutions do besides being right: by whom they are computed, in which bits, of which
// weights, and what they refuse.

#include "backward_cases.hpp"

#include <limits>
#include <string>

using namespace backward_cases;

namespace {

/// A dataflow of a user's, which knows forward() alone and takes the plain order for granted.
struct ForwardOnly {
  static constexpr char const* name = "forward_only";
  static inline int calls = 0;

  template <class Scalar, class Space>
  static void forward(ConvolutionArguments<Scalar> const& arguments, KernelMap<Space>& map,
                      Execution<Space> const& exec)
  {
    ++calls;
    auto plain = arguments;
    plain.weight_steps = {};
    ConvMode<1>::forward(plain, map, exec);
  }
};

}  // namespace

#ifdef __CUDACC__
TEST_CASE("gradients on the device: a packed weight of a data gradient is read, and gives the same bits")
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec;
  using Backend = detail::ConvolutionBackend<Device>;
  std::mt19937 random{77};
  auto const voxels = random_voxels(9, 3, random);
  for (int const channels : {16, 20, 64, 96, 128}) {
    CAPTURE(channels);
    auto const c = make_case({"square", Kind::submanifold, 3, 1, 1, channels, channels}, voxels, random);
    Operands<__half, Device> const operands{c, voxels, exec};
    auto gradient =
        detail::data_gradient(seen(operands.grad), operands.view, *operands.map, MathMode::exact, exec);
    auto& arguments = gradient.arguments;
    auto const run = [&] {
      Buffer<__half, Device> output{operands.grad.size(), exec};
      fill_bytes(output, 0xff, exec);
      arguments.output = output.data();
      Backend::implicit_gemm<AutoTile>(arguments, *gradient.map, true, 1, exec);
      return download(output, exec);
    };
    auto const expected = run();
    auto const plan = Backend::plan(arguments, detail::summary_of(*gradient.map), 1, exec);
    CHECK(plan.packed[0] != 0);
    auto const packed = detail::pack_weight(plan, detail::weight_of(arguments, 27), exec);
    arguments.packed = packed.view();
    CHECK(same_bits(run(), expected));
    // The forward weight of as many channels has another layout, and is not taken for it.
    auto forward = detail::make_arguments(operands.view.data, static_cast<__half const*>(nullptr), channels,
                                          MathMode::exact);
    forward.in_channels = channels;
    auto const forward_plan = Backend::plan(forward, detail::summary_of(*gradient.map), 1, exec);
    CHECK(forward_plan.packed != plan.packed);
    auto const other = detail::pack_weight(forward_plan, operands.view, exec);
    arguments.packed = other.view();
    CHECK(same_bits(run(), expected));
  }
}
#endif

TEST_CASE_TEMPLATE(
    "gradients: a dataflow that knows forward alone is never given one, of equal channels either", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  std::mt19937 random{91};
  auto const voxels = random_voxels(8, 3, random);
  auto const c = make_case({"square", Kind::submanifold, 3, 1, 1, 16, 16}, voxels, random);
  Operands<float, Space> const operands{c, voxels, exec};
  CAPTURE(ForwardOnly::name);
  using Policy = ConvPolicy<ForwardOnly>;
  ForwardOnly::calls = 0;
  auto const dx = convolution_backward_data<Policy>(seen(operands.grad), operands.view, *operands.map,
                                                    MathMode::exact, exec);
  Buffer<float, Space> dw{operands.view.size(), exec};
  convolution_backward_weight<Policy>(seen(operands.x), seen(operands.grad), *operands.map, dw.data(),
                                      GradientMode::overwrite, exec);
  CHECK(ForwardOnly::calls == 0);
  CHECK(difference(on_host(dx, exec), c.data_gradient()) <= 1e-5);
  CHECK(difference(download(dw, exec), c.weight_gradient()) <= 1e-5);

  auto gradient =
      detail::data_gradient(seen(operands.grad), operands.view, *operands.map, MathMode::exact, exec);
  auto const falls_back = [&](auto dataflow, Operation operation) {
    gradient.arguments.operation = operation;
    auto const plan = detail::plan_operation<decltype(dataflow)>(gradient.arguments, *gradient.map, exec);
    CHECK(plan.operation == operation);
    return plan.falls_back;
  };
  for (auto const operation : {Operation::backward_data, Operation::backward_weight}) {
    CHECK(falls_back(ForwardOnly{}, operation));
    CHECK_FALSE(falls_back(ConvMode<1>{}, operation));
    CHECK_FALSE(falls_back(GatherScatter{}, operation));
    CHECK_FALSE(falls_back(FetchOnDemand{}, operation));
  }
  gradient.arguments.weight_steps = {};
  CHECK_FALSE(falls_back(ForwardOnly{}, Operation::forward));
}

TEST_CASE_TEMPLATE("gradients: two runs, and any number of threads, give the same bits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  std::mt19937 random{92};
  auto const voxels = random_voxels(test::small_sets() ? 8 : 20, 2, random);  // several slabs of rows
  auto const c = make_case({"submanifold", Kind::submanifold, 3, 1, 1, 12, 20}, voxels, random);
  std::vector<float> weight_bits;
  std::vector<float> bias_bits;
  std::vector<float> data_bits;
  for (int const threads : {1, 2, 3}) {
    auto const exec = [&] {
      if constexpr (std::is_same_v<Space, Host>) {
        return Execution<Host>{threads};
      } else {
        return Execution<Space>{};
      }
    }();
    Operands<float, Space> const operands{c, voxels, exec};
    Buffer<float, Space> dw{operands.view.size(), exec};
    Buffer<float, Space> db{20, exec};
    convolution_backward_weight(seen(operands.x), seen(operands.grad), *operands.map, dw.data(),
                                GradientMode::overwrite, exec);
    convolution_backward_bias(seen(operands.grad), *operands.map, db.data(), GradientMode::overwrite, exec);
    auto const dx =
        convolution_backward_data(seen(operands.grad), operands.view, *operands.map, MathMode::exact, exec);
    if (threads == 1) {
      weight_bits = download(dw, exec);
      bias_bits = download(db, exec);
      data_bits = on_host(dx, exec);
    }
    CHECK(same_bits(download(dw, exec), weight_bits));
    CHECK(same_bits(download(db, exec), bias_bits));
    CHECK(same_bits(on_host(dx, exec), data_bits));
    // Added to what is there.
    convolution_backward_weight(seen(operands.x), seen(operands.grad), *operands.map, dw.data(),
                                GradientMode::accumulate, exec);
    auto twice = weight_bits;
    for (auto& value : twice) { value += value; }
    CHECK(same_bits(download(dw, exec), twice));
  }
}

TEST_CASE_TEMPLATE("gradients: no rows give zeros, and rows that are not in use give nothing", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  auto const weight = upload(std::vector<float>(3 * 2 * 4, 1.0F), exec);
  auto const view = plain_weight(weight.data(), 3, 2, 4);
  for (auto const& rows : {std::pair{0, 0}, {5, 0}, {0, 5}}) {
    CAPTURE(rows.first);
    CAPTURE(rows.second);
    KernelMap<Space> map{
        upload(std::vector<std::int32_t>(static_cast<std::size_t>(3 * rows.second), -1), exec), rows.first,
        rows.second, 3, -1};
    Matrix<float, Space> const x{rows.first, 2, exec};
    Matrix<float, Space> const grad{rows.second, 4, exec};
    for (auto const& way : test::every_way({})) {
      CAPTURE(way.name);
      auto const dx = convolution_backward_data(seen(grad), view, map, way.config, exec);
      CHECK(on_host(dx, exec) == std::vector<float>(static_cast<std::size_t>(2 * rows.first)));
    }
    auto dw = upload(std::vector<float>(24, 7.0F), exec);
    convolution_backward_weight(seen(x), seen(grad), map, dw.data(), GradientMode::overwrite, exec);
    CHECK(download(dw, exec) == std::vector<float>(24));
  }
  std::vector<float> rows(12, 1.0F);
  for (std::size_t i = 8; i < rows.size(); ++i) { rows[i] = std::numeric_limits<float>::quiet_NaN(); }
  auto const in_use = upload(std::vector<std::int32_t>{2}, exec);
  KernelMapParts<Space> parts;
  parts.out_count = in_use.data();
  KernelMap<Space> const map{upload(std::vector<std::int32_t>(3, -1), exec), 3, 3, 1, -1, std::move(parts)};
  auto const grad = upload_matrix(rows, 4, exec);
  Buffer<float, Space> db{4, exec};
  convolution_backward_bias(seen(grad), map, db.data(), GradientMode::overwrite, exec);
  CHECK(download(db, exec) == std::vector<float>(4, 2.0F));
}

TEST_CASE_TEMPLATE("convolution: a weight in any order of memory gives the bits of the plain one", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  std::mt19937 random{95};
  auto const voxels = random_voxels(8, 3, random);
  auto const c = make_case({"submanifold", Kind::submanifold, 3, 1, 1, 16, 24}, voxels, random);
  Operands<float, Space> const operands{c, voxels, exec};
  auto arguments =
      detail::make_arguments(operands.view.data, static_cast<float const*>(nullptr), 24, MathMode::exact);
  arguments.features = operands.x.data();
  arguments.in_channels = 16;
  auto const run = [&](auto dataflow) {
    Buffer<float, Space> y{operands.grad.size(), exec};
    fill_bytes(y, 0xff, exec);
    arguments.output = y.data();
    decltype(dataflow)::forward(arguments, *operands.map, exec);
    return download(y, exec);
  };
  auto const check = [&](auto dataflow) {
    auto const plain_arguments = arguments;
    auto const expected = run(dataflow);
    // [out, volume, in], as spconv stores it, and [in, out, volume] from the last offset to the first.
    auto const weight = rounded<float>(c.weight);
    std::vector<float> krsc(weight.size());
    std::vector<float> mirrored(weight.size());
    for (std::size_t k = 0; k < 27; ++k) {
      for (std::size_t i = 0; i < 16; ++i) {
        for (std::size_t o = 0; o < 24; ++o) {
          krsc[(o * 27 + k) * 16 + i] = weight[(k * 16 + i) * 24 + o];
          mirrored[(i * 24 + o) * 27 + 26 - k] = weight[(k * 16 + i) * 24 + o];
        }
      }
    }
    auto const krsc_there = upload(krsc, exec);
    arguments.weight = krsc_there.data();
    arguments.weight_steps = {16, 1, 27 * 16};
    CHECK(same_bits(run(dataflow), expected));
    auto const mirrored_there = upload(mirrored, exec);
    WeightView<float> const view{mirrored_there.data(), 27, 16, 24, 1, 24 * 27, 27};
    arguments.weight = view.mirrored().data;
    arguments.weight_steps = view.mirrored().steps();
    CHECK(same_bits(run(dataflow), expected));
    arguments = plain_arguments;
  };
  check(ConvMode<0>{});
  check(ConvMode<1>{});
  check(ConvMode<2>{});
  check(GatherScatter{});
  check(FetchOnDemand{});
  check(ImplicitGemm<true, 1, Tile<64, 32, 16, 2>>{});
}

TEST_CASE("gradients: operands that do not fit the map are refused")
{
  Execution<Host> const exec{1};
  KernelMap<Host> map{upload(std::vector<std::int32_t>(15, -1), exec), 4, 5, 3, -1};
  std::vector<float> const weight(3 * 2 * 4);
  Matrix<float, Host> const grad{5, 4, exec};
  Matrix<float, Host> const few{4, 4, exec};
  Matrix<float, Host> const x{4, 2, exec};
  auto const refused = [](auto const& call) {
    try {
      call();
    } catch (invalid_argument const& error) {
      return std::string{error.what()};
    }
    return std::string{};
  };
  auto const data = [&](Matrix<float, Host> const& dy, int volume) {
    return refused([&] {
      static_cast<void>(convolution_backward_data(seen(dy), plain_weight(weight.data(), volume, 2, 4), map,
                                                  MathMode::exact, exec));
    });
  };
  CHECK(data(grad, 2) == "convolution_backward_data: a weight of 2 offsets for a map of 3");
  CHECK(data(few, 3) == "convolution_backward_data: a gradient of 4 x 4 for 5 output rows of 4 channels");
  std::vector<float> dw(weight.size());
  CHECK(refused([&] {
          convolution_backward_weight(seen(x), seen(few), map, dw.data(), GradientMode::overwrite, exec);
        }) ==
        "convolution_backward_weight: 4 rows of features and 4 of gradients for a map from 4 to 5 rows");
  CHECK(refused([&] {
          convolution_backward_bias(seen(few), map, dw.data(), GradientMode::overwrite, exec);
        }) == "convolution_backward_bias: 4 rows of gradients for 5 output rows");
}
