// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Gradients of convolutions against the definition, written as loops over the map, against differences of the
// loss, and against TorchSparse's.

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/golden.hpp"
#include "../support/small.hpp"
#include "../support/ways.hpp"
#include "gradient_cases.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/conv/convolution_backward.hpp>

#include <cstring>
#include <limits>
#include <random>

using namespace tessera;
using namespace gradient_cases;

TEST_CASE_TEMPLATE("gradients: those of every kind of convolution equal the definition in every dataflow",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  check_gradients<float>(1e-5, exec);
  check_gradients<double>(1e-12, exec);
}

#ifdef __CUDACC__
TEST_CASE("gradients on the device: half and bfloat16 equal the definition but for their rounding")
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec;
  check_gradients<__half>(2e-3, exec);
  check_gradients<__nv_bfloat16>(1e-2, exec);
}

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

TEST_CASE("gradients: they are the differences of a loss in double")
{
  Execution<Host> const exec{2};
  constexpr double step = 1e-4;
  unsigned seed = 60;
  for (auto const& layer : layers()) {
    CAPTURE(layer.name);
    std::mt19937 random{++seed};
    CAPTURE(seed);
    auto const voxels = random_voxels(5, 3, random);
    auto const c = make_case(layer, voxels, random);
    Operands<double, Host> operands{c, voxels, exec};
    auto const bias = random_values(c.cout(), random);
    auto bias_there = upload(bias, exec);
    auto const loss = [&] {
      std::vector<double> y(c.grad.size());
      auto arguments =
          detail::make_arguments(std::as_const(operands.weight).data(), std::as_const(bias_there).data(),
                                 layer.out_channels, MathMode::exact);
      arguments.features = operands.x.data();
      arguments.in_channels = layer.in_channels;
      arguments.output = y.data();
      ConvMode<1>::forward(arguments, *operands.map, exec);
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); ++i) { sum += y[i] * c.grad[i]; }
      return sum;
    };
    auto const slope = [&](double& value) {
      double const old = value;
      value = old + step;
      double const above = loss();
      value = old - step;
      double const below = loss();
      value = old;
      return (above - below) / (2 * step);
    };
    auto const dx =
        convolution_backward_data(seen(operands.grad), operands.view, *operands.map, MathMode::exact, exec);
    std::vector<double> dw(c.weight.size());
    convolution_backward_weight(seen(operands.x), seen(operands.grad), *operands.map, dw.data(),
                                GradientMode::overwrite, exec);
    std::vector<double> db(c.cout());
    convolution_backward_bias(seen(operands.grad), *operands.map, db.data(), GradientMode::overwrite, exec);
    for (int i = 0; i < 12; ++i) {
      auto const at = random() % c.x.size();
      CHECK(dx.data()[at] == doctest::Approx(slope(operands.x.data()[at])).epsilon(1e-6));
      auto const of_weight = random() % dw.size();
      CHECK(dw[of_weight] == doctest::Approx(slope(operands.weight.data()[of_weight])).epsilon(1e-6));
      auto const of_bias = random() % db.size();
      CHECK(db[of_bias] == doctest::Approx(slope(bias_there.data()[of_bias])).epsilon(1e-6));
    }
  }
}

TEST_CASE_TEMPLATE(
    "gradients: recorded ones of TorchSparse are reproduced, layer by layer and through stacks", Space,
    TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/training.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  Execution<Space> const exec{};
  int entries = 0;
  for (auto const& entry : file.metadata()) {
    std::string const& name = entry.first;
    if (!file.contains(name + ".grad_in")) { continue; }
    ++entries;
    CAPTURE(name);
    auto const json = test::golden_config(file, name);
    auto const& stack = *json.template get<detail::Json::Array>();
    auto const coordinates = test::coordinates_of(file.to<std::int32_t>(name + ".in_coords"));
    for (auto const& way : test::every_way({})) {
      CAPTURE(way.name);
      auto config = way.config;
      config.compat = compat::torchsparse;
      auto const first = file.to_float(name + ".in_feats");
      auto const channels = static_cast<std::int64_t>(first.size() / coordinates.size());
      std::vector<SparseTensor<3, float, Space>> inputs{
          {make_coordinate_set(coordinates, CoordinateSetOptions<3>{}, exec),
           upload_matrix(first, channels, exec)}};
      std::vector<std::shared_ptr<KernelMap<Space>>> maps;
      std::vector<Buffer<float, Space>> weights;
      std::vector<IntArray<3>> sizes;
      for (std::size_t i = 0; i < stack.size(); ++i) {
        auto const weight_name = name + ".weight" + std::to_string(i);
        ConvolutionGeometry<3> geometry;
        geometry.kernel_size = test::per_axis(*stack[i].find("kernel_size"));
        geometry.stride = test::per_axis(*stack[i].find("stride"));
        auto kind = all_equal(geometry.stride, 1) ? Kind::submanifold : Kind::strided;
        if (*stack[i].find("transposed")->template get<bool>()) { kind = Kind::transposed; }
        sizes.push_back(geometry.kernel_size);
        weights.push_back(
            upload(test::reorder_offsets(file.to_float(weight_name), geometry.kernel_size), exec));
        maps.push_back(detail::kernel_map(config, *inputs.back().coordinates(), kind, geometry, exec).map);
        inputs.push_back(convolution(
            inputs.back(), std::as_const(weights.back()).data(), static_cast<float const*>(nullptr),
            static_cast<int>(file.shape(weight_name).back()), kind, geometry, config, exec));
      }
      auto grad = upload_matrix(file.to_float(name + ".grad_out"), inputs.back().channels(), exec);
      for (auto i = stack.size(); i-- > 0;) {
        auto const number = std::to_string(i);
        auto& map = *maps[i];
        auto const weight = plain_weight(std::as_const(weights[i]).data(), map.volume(), inputs[i].channels(),
                                         inputs[i + 1].channels());
        Buffer<float, Space> dw{weight.size(), exec};
        convolution_backward_weight(inputs[i].features(), seen(grad), map, dw.data(), GradientMode::overwrite,
                                    exec);
        auto const expected = test::reorder_offsets(file.to_float(name + ".grad_weight" + number), sizes[i]);
        CHECK(test::largest_difference(download(dw, exec), expected) <= 1e-4);
        grad = convolution_backward_data(seen(grad), weight, map, config, exec);
      }
      CHECK(test::largest_difference(on_host(grad, exec), file.to_float(name + ".grad_in")) <= 1e-4);
    }
  }
  CHECK(entries > 0);
}

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
