// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Gradients of convolutions against the definition, against differences of the loss, and against TorchSparse's.

#include "../support/data.hpp"
#include "../support/golden.hpp"
#include "backward_cases.hpp"

#include <tessera/ops/convolution.hpp>

using namespace backward_cases;

namespace {

/// Of voxels in a box of `edge`.
template <class Scalar, int Dim = 3, class Space>
void check_gradients(int edge, double tolerance, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  unsigned seed = 40;
  for (auto const& layer : layers()) {
    std::mt19937 random{++seed};
    CAPTURE(layer.name);
    CAPTURE(seed);
    auto const voxels = random_voxels<Dim>(edge, 3, random);
    auto const c = make_case(layer, voxels, random);
    Operands<Scalar, Space, Dim> const operands{c, voxels, exec};
    for (auto const& way : test::every_way({})) {
      CAPTURE(way.name);
      auto const dx =
          convolution_backward_data(seen(operands.grad), operands.view, *operands.map, way.config, exec);
      CHECK(dx.rows() == static_cast<std::int64_t>(c.num_in));
      CHECK(difference(on_host(dx, exec), c.data_gradient()) <= tolerance);
    }
    Buffer<Sum, Space> dw{static_cast<std::int64_t>(c.weight.size()), exec};
    convolution_backward_weight(seen(operands.x), seen(operands.grad), *operands.map, dw.data(),
                                GradientMode::overwrite, exec);
    CHECK(difference(download(dw, exec), c.weight_gradient()) <= 1e-5);
    Buffer<Sum, Space> db{layer.out_channels, exec};
    convolution_backward_bias(seen(operands.grad), *operands.map, db.data(), GradientMode::overwrite, exec);
    CHECK(difference(download(db, exec), c.bias_gradient()) <= 1e-5);
  }
}

/// Against differences of the loss `sum of y * grad`, at some places.
template <int Dim, class Space>
void check_differences(int edge, Execution<Space> const& exec)
{
  constexpr double step = 1e-4;
  unsigned seed = 60;
  for (auto const& layer : layers()) {
    CAPTURE(layer.name);
    std::mt19937 random{++seed};
    CAPTURE(seed);
    auto const voxels = random_voxels<Dim>(edge, 3, random);
    auto c = make_case(layer, voxels, random);
    Operands<double, Space, Dim> const operands{c, voxels, exec};
    auto bias = random_values(c.cout(), random);
    auto const loss = [&] {
      auto const x = upload(c.x, exec);
      auto const weight = upload(c.weight, exec);
      auto const own_bias = upload(bias, exec);
      Buffer<double, Space> y{static_cast<std::int64_t>(c.grad.size()), exec};
      auto arguments =
          detail::make_arguments(weight.data(), own_bias.data(), layer.out_channels, MathMode::exact);
      arguments.features = x.data();
      arguments.in_channels = layer.in_channels;
      arguments.output = y.data();
      ConvMode<1>::forward(arguments, *operands.map, exec);
      auto const there = download(y, exec);
      double sum = 0;
      for (std::size_t i = 0; i < there.size(); ++i) { sum += there[i] * c.grad[i]; }
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
    auto const dx = on_host(
        convolution_backward_data(seen(operands.grad), operands.view, *operands.map, MathMode::exact, exec),
        exec);
    Buffer<double, Space> own_dw{static_cast<std::int64_t>(c.weight.size()), exec};
    convolution_backward_weight(seen(operands.x), seen(operands.grad), *operands.map, own_dw.data(),
                                GradientMode::overwrite, exec);
    auto const dw = download(own_dw, exec);
    Buffer<double, Space> own_db{layer.out_channels, exec};
    convolution_backward_bias(seen(operands.grad), *operands.map, own_db.data(), GradientMode::overwrite,
                              exec);
    auto const db = download(own_db, exec);
    for (int i = 0; i < 12; ++i) {
      auto const at = random() % c.x.size();
      CHECK(dx[at] == doctest::Approx(slope(c.x[at])).epsilon(1e-6));
      auto const of_weight = random() % dw.size();
      CHECK(dw[of_weight] == doctest::Approx(slope(c.weight[of_weight])).epsilon(1e-6));
      auto const of_bias = random() % db.size();
      CHECK(db[of_bias] == doctest::Approx(slope(bias[of_bias])).epsilon(1e-6));
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("gradients: those of every kind of convolution equal the definition in every dataflow",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  int const edge = test::small_sets() ? 7 : 12;
  check_gradients<float>(edge, 1e-5, exec);
  check_gradients<double>(edge, 1e-12, exec);
}

#ifdef __CUDACC__
TEST_CASE("gradients on the device: half and bfloat16 equal the definition but for their rounding")
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec;
  int const edge = test::small_sets() ? 7 : 12;
  check_gradients<__half>(edge, 2e-3, exec);
  check_gradients<__nv_bfloat16>(edge, 1e-2, exec);
}
#endif

TEST_CASE_TEMPLATE("gradients: they are the differences of a loss in double", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  check_differences<3>(5, exec);
}

TEST_CASE_TEMPLATE("gradients: in one, two and four dimensions they equal the definition in every dataflow",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  check_gradients<float, 1>(150, 1e-5, exec);
  check_gradients<double, 1>(150, 1e-12, exec);
  check_gradients<float, 2>(14, 1e-5, exec);
  check_gradients<double, 2>(14, 1e-12, exec);
  check_gradients<float, 4>(4, 1e-5, exec);
  check_gradients<double, 4>(4, 1e-12, exec);
}

TEST_CASE_TEMPLATE("gradients: in one, two and four dimensions they are the differences of a loss", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  check_differences<1>(60, exec);
  check_differences<2>(9, exec);
  check_differences<4>(3, exec);
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
