// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Gradients of convolutions against the definition, written as loops over the map, against differences of the
// loss, and against TorchSparse's.

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/golden.hpp"
#include "../support/small.hpp"
#include "../support/ways.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/conv/convolution_backward.hpp>

#include <cstring>
#include <functional>
#include <limits>
#include <random>

using namespace tessera;

namespace {

using Values = std::vector<double>;

/// A convolution that is differentiated, and where its map comes from.
struct Layer {
  char const* name;
  ConvolutionKind kind;
  int size;
  int stride;
  int dilation;
  int in_channels;
  int out_channels;

  [[nodiscard]] ConvolutionGeometry<3> geometry() const
  {
    ConvolutionGeometry<3> geometry;
    geometry.kernel_size = IntArray<3>(size);
    geometry.stride = IntArray<3>(stride);
    geometry.dilation = IntArray<3>(dilation);
    return geometry;
  }
  [[nodiscard]] std::size_t weights() const
  {
    return static_cast<std::size_t>(size) * static_cast<std::size_t>(size) * static_cast<std::size_t>(size) *
           static_cast<std::size_t>(in_channels) * static_cast<std::size_t>(out_channels);
  }
};

using Kind = ConvolutionKind;

std::vector<Layer> layers()
{
  return {{"submanifold", Kind::submanifold, 3, 1, 1, 16, 16},
          {"submanifold, other channels", Kind::submanifold, 3, 1, 1, 5, 12},
          {"submanifold, dilated", Kind::submanifold, 3, 1, 2, 8, 24},
          {"submanifold, even", Kind::submanifold, 2, 1, 1, 4, 8},
          {"pointwise", Kind::submanifold, 1, 1, 1, 32, 20},
          {"strided", Kind::strided, 2, 2, 1, 16, 32},
          {"strided, overlapping", Kind::strided, 3, 2, 1, 32, 40},
          {"transposed", Kind::transposed, 2, 2, 1, 24, 16},
          {"transposed, overlapping", Kind::transposed, 3, 2, 1, 8, 8},
          {"inverse", Kind::inverse, 3, 2, 1, 12, 16},
          {"generative", Kind::generative, 3, 2, 1, 8, 4}};
}

std::vector<Coordinate<3>> random_voxels(int edge, unsigned share, std::mt19937& random)
{
  std::vector<Coordinate<3>> voxels;
  for (int i = 0; i < edge * edge * edge; ++i) {
    if (random() % share == 0) {
      Coordinate<3> voxel{};
      voxel.position = {i / (edge * edge), i / edge % edge, i % edge};
      voxels.push_back(voxel);
    }
  }
  return voxels;
}

/// The map of a layer on voxels; those that go back up come after one that went down, and generative ones
/// start at a tensor stride.
template <class Space>
std::shared_ptr<KernelMap<Space>> map_of(Layer const& layer, std::vector<Coordinate<3>> const& voxels,
                                         CoordinateSetPointer<3, Space>& keeps, Execution<Space> const& exec)
{
  CoordinateSetOptions<3> options;
  auto rows = voxels;
  if (layer.kind == Kind::generative) {
    options.tensor_stride = IntArray<3>(2);
    for (auto& row : rows) {
      for (int i = 0; i < 3; ++i) { row.position[i] *= 2; }
    }
  }
  keeps = make_coordinate_set(rows, options, exec);
  if (layer.kind != Kind::transposed && layer.kind != Kind::inverse) {
    return detail::kernel_map(ConvConfig{}, *keeps, layer.kind, layer.geometry(), exec).map;
  }
  keeps = detail::kernel_map(ConvConfig{}, *keeps, Kind::strided, layer.geometry(), exec).coordinates;
  return detail::kernel_map(ConvConfig{}, *keeps, layer.kind, layer.geometry(), exec).map;
}

Values random_values(std::size_t size, std::mt19937& random)
{
  std::uniform_int_distribution<int> value{-128, 128};
  Values values(size);
  for (auto& v : values) { v = value(random) / 128.0; }  // exact in every scalar
  return values;
}

template <class Scalar>
std::vector<Scalar> rounded(Values const& values)
{
  std::vector<Scalar> result;
  result.reserve(values.size());
  for (auto const value : values) { result.push_back(static_cast<Scalar>(static_cast<float>(value))); }
  return result;
}
template <>
std::vector<double> rounded(Values const& values)
{
  return values;
}

/// A layer with operands, the map as entries, and its gradients by definition.
struct Case {
  Layer layer;
  std::vector<std::int32_t> out_in;
  std::size_t num_in;
  std::size_t num_out;
  Values x;
  Values weight;
  Values grad;

  [[nodiscard]] std::size_t cin() const { return static_cast<std::size_t>(layer.in_channels); }
  [[nodiscard]] std::size_t cout() const { return static_cast<std::size_t>(layer.out_channels); }
  [[nodiscard]] std::size_t volume() const { return layer.weights() / cin() / cout(); }

  /// Calls `body(in, out, k)` for each pair.
  template <class Body>
  void for_each_pair(Body const& body) const
  {
    for (std::size_t o = 0; o < num_out; ++o) {
      for (std::size_t k = 0; k < volume(); ++k) {
        auto const in = out_in[o * volume() + k];
        if (in >= 0) { body(static_cast<std::size_t>(in), o, k); }
      }
    }
  }
  [[nodiscard]] Values data_gradient() const
  {
    Values result(num_in * cin());
    for_each_pair([&](std::size_t in, std::size_t out, std::size_t k) {
      for (std::size_t c = 0; c < cin(); ++c) {
        for (std::size_t j = 0; j < cout(); ++j) {
          result[in * cin() + c] += grad[out * cout() + j] * weight[(k * cin() + c) * cout() + j];
        }
      }
    });
    return result;
  }
  [[nodiscard]] Values weight_gradient() const
  {
    Values result(weight.size());
    for_each_pair([&](std::size_t in, std::size_t out, std::size_t k) {
      for (std::size_t c = 0; c < cin(); ++c) {
        for (std::size_t j = 0; j < cout(); ++j) {
          result[(k * cin() + c) * cout() + j] += x[in * cin() + c] * grad[out * cout() + j];
        }
      }
    });
    return result;
  }
  [[nodiscard]] Values bias_gradient() const
  {
    Values result(cout());
    for (std::size_t i = 0; i < grad.size(); ++i) { result[i % cout()] += grad[i]; }
    return result;
  }
};

Case make_case(Layer const& layer, std::vector<Coordinate<3>> const& voxels, std::mt19937& random)
{
  Execution<Host> const exec{1};
  CoordinateSetPointer<3, Host> keeps;
  auto const map = map_of(layer, voxels, keeps, exec);
  Case result{
      layer, {}, static_cast<std::size_t>(map->num_in()), static_cast<std::size_t>(map->num_out()), {},
      {},    {}};
  auto const* const entries = map->out_in(exec);
  result.out_in.assign(entries, entries + map->num_out() * map->volume());
  result.x = random_values(result.num_in * result.cin(), random);
  result.weight = random_values(layer.weights(), random);
  result.grad = random_values(result.num_out * result.cout(), random);
  return result;
}

/// A case's operands in a space.
template <class Scalar, class Space>
struct Operands {
  Operands(Case const& c, std::vector<Coordinate<3>> const& voxels, Execution<Space> const& exec)
      : map{map_of(c.layer, voxels, set, exec)},
        x{upload_matrix(rounded<Scalar>(c.x), c.layer.in_channels, exec)},
        grad{upload_matrix(rounded<Scalar>(c.grad), c.layer.out_channels, exec)},
        weight{upload(rounded<Scalar>(c.weight), exec)},
        view{plain_weight(std::as_const(weight).data(), map->volume(), c.layer.in_channels,
                          c.layer.out_channels)}
  {}

  CoordinateSetPointer<3, Space> set;
  std::shared_ptr<KernelMap<Space>> map;
  Matrix<Scalar, Space> x;
  Matrix<Scalar, Space> grad;
  Buffer<Scalar, Space> weight;
  WeightView<Scalar> view;
};

template <class Scalar, class Space>
std::vector<Scalar> on_host(Matrix<Scalar, Space> const& matrix, Execution<Space> const& exec)
{
  return download(matrix.data(), matrix.size(), exec);
}

template <class Scalar, class Space>
MatrixView<Scalar const> seen(Matrix<Scalar, Space> const& matrix)
{
  return matrix.view();
}

template <class Scalar>
double wide(Scalar value)
{
  if constexpr (std::is_same_v<Scalar, double>) {
    return value;
  } else {
    return static_cast<double>(static_cast<float>(value));
  }
}

/// max |values - expected| over the largest |expected|.
template <class Scalar>
double difference(std::vector<Scalar> const& values, Values const& expected)
{
  REQUIRE(values.size() == expected.size());
  double largest = 1e-30;
  double apart = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    auto const error = std::abs(wide(values[i]) - expected[i]);
    apart = std::max(apart, std::isnan(error) ? 1e9 : error);
  }
  return apart / largest;
}

template <class Scalar>
bool same_bits(std::vector<Scalar> const& a, std::vector<Scalar> const& b)
{
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Scalar)) == 0;
}

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

template <class Scalar, class Space>
void check_gradients(double tolerance, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  unsigned seed = 40;
  for (auto const& layer : layers()) {
    std::mt19937 random{++seed};
    CAPTURE(layer.name);
    CAPTURE(seed);
    auto const voxels = random_voxels(test::small_sets() ? 7 : 12, 3, random);
    auto const c = make_case(layer, voxels, random);
    Operands<Scalar, Space> const operands{c, voxels, exec};
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

}  // namespace

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
