// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Every layer against its definition on a dense grid, over random geometries in one to four dimensions.

#include "../support/dense_oracle.hpp"
#include "../support/small.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/sparse_layers.hpp>
#include <tessera/nn/sparse_pooling.hpp>

using namespace tessera;

namespace {

/// A random geometry, a random cloud in a random grid, and random weights.
template <int Dim>
struct Sample {
  std::mt19937 random;
  SpatialRange<Dim> range;
  ConvolutionGeometry<Dim> g;
  int in = 1;
  int out = 1;
  test::Coordinates<Dim> rows;
  std::vector<double> features;

  explicit Sample(std::uint32_t seed) : random{seed}
  {
    int const largest = Dim <= 2 ? 12 : Dim == 3 ? 8 : 5;
    in = pick(1, 9);
    out = pick(1, 6);
    do {
      range.batches = pick(1, 3);
      for (int i = 0; i < Dim; ++i) {
        range.extent[i] = pick(1, largest);
        g.kernel_size[i] = pick(1, Dim <= 2 ? 5 : 3);
        g.stride[i] = pick(1, 3);
        g.dilation[i] = pick(1, 3);
        g.padding[i] = pick(0, 3);
        g.output_padding[i] = pick(0, std::max(g.stride[i], g.dilation[i]) - 1);
      }
    } while (!has_outputs());
    IntArray<Dim> upper;
    for (int i = 0; i < Dim; ++i) { upper[i] = range.extent[i] - 1; }
    rows =
        test::random_coordinates<Dim>(static_cast<std::size_t>(pick(0, 60)), range.batches, 0, upper, seed);
    features = values(rows.size() * static_cast<std::size_t>(in));
  }

  [[nodiscard]] int pick(int least, int most)
  {
    return std::uniform_int_distribution<int>{least, most}(random);
  }
  /// Numbers that float holds, around -1, so that a floor at zero shows.
  [[nodiscard]] std::vector<double> values(std::size_t count)
  {
    std::normal_distribution<float> noise{-1.0F, 1.0F};
    std::vector<double> result;
    for (std::size_t i = 0; i < count; ++i) { result.push_back(noise(random)); }
    return result;
  }
  [[nodiscard]] bool has_outputs() const
  {
    auto const windows = test::windows_that_fit(g, range.extent);
    bool result = min_element(windows) >= 1;
    for (int i = 0; i < Dim; ++i) {
      int const grown = (range.extent[i] - 1) * g.stride[i] - 2 * g.padding[i] +
                        g.dilation[i] * (g.kernel_size[i] - 1) + 1 + g.output_padding[i];
      result = result && grown >= 1;
    }
    return result;
  }
  [[nodiscard]] test::DenseGrid<Dim> dense() const { return test::dense_grid(rows, features, in, range); }
  [[nodiscard]] std::string text() const
  {
    return detail::concat("grid ", detail::list(range.extent), " kernel ", detail::list(g.kernel_size),
                          " stride ", detail::list(g.stride), " padding ", detail::list(g.padding),
                          " dilation ", detail::list(g.dilation), " output padding ",
                          detail::list(g.output_padding), " rows ", rows.size());
  }

  template <class Scalar, class Space>
  [[nodiscard]] SparseTensor<Dim, Scalar, Space> tensor(Execution<Space> const& exec) const
  {
    CoordinateSetOptions<Dim> options;
    options.spatial_range = range;
    auto const count = static_cast<std::int64_t>(rows.size());
    return {make_coordinate_set(rows, options, exec),
            Matrix<Scalar, Space>{upload(test::rounded<Scalar>(features), exec), count, in}};
  }
};

/// A layer with weights of its own choice.
template <int Dim, class Scalar, class Space>
struct Layer {
  std::vector<double> weight;
  std::vector<double> bias;
  nn::Conv<Dim, Scalar, Space> conv;

  Layer(ConvOptions<Dim> const& options, Sample<Dim>& sample, Execution<Space> const& exec)
      : conv{options, exec}
  {
    weight = sample.values(static_cast<std::size_t>(conv.weight().size()));
    bias = sample.values(static_cast<std::size_t>(conv.bias().size()));
    store(conv.weight(), weight, exec);
    store(conv.bias(), bias, exec);
  }

  static void store(nn::Parameter<Scalar, Space>& to, std::vector<double> const& from,
                    Execution<Space> const& exec)
  {
    auto const values = test::rounded<Scalar>(from);
    detail::Transfer<Space>::from_host(to.write(), values.data(), values.size() * sizeof(Scalar), exec);
  }
};

/// Rows, features and grid of `y` are those of the dense result; `rows` is the order, or null for
/// lexicographic.
template <int Dim, class Scalar, class Space>
void check_dense(SparseTensor<Dim, Scalar, Space> const& y, test::DenseGrid<Dim> const& expected,
                 Execution<Space> const& exec, test::Coordinates<Dim> const* order = nullptr)
{
  auto const rows = order != nullptr ? *order : expected.rows();
  REQUIRE(y.coordinates_on_host(exec) == rows);
  CHECK(y.coordinates()->spatial_range()->extent == expected.range.extent);
  CHECK(y.coordinates()->num_batches() == expected.range.batches);
  test::check_close(y.features_on_host(exec), expected.features_of(rows), 20 * test::rounding<Scalar>());
}

template <int Dim, class Scalar, class Space>
void check_convolutions(std::uint32_t seed)
{
  Execution<Space> const exec{};
  Sample<Dim> sample{seed};
  auto const description = sample.text();
  CAPTURE(description);
  auto const& g = sample.g;
  auto const x = sample.template tensor<Scalar>(exec);
  auto const dense = sample.dense();

  nn::SparseConv<Dim> down{sample.in, sample.out, g.kernel_size};
  down.stride(g.stride).padding(g.padding).dilation(g.dilation);
  Layer<Dim, Scalar, Space> strided{down, sample, exec};
  auto const coarse = strided.conv(x, exec);
  auto const dense_coarse = test::dense_convolution(dense, g, strided.weight, strided.bias);
  bool const kept = coarse.coordinates() == x.coordinates();  // a kernel of one voxel, stride 1, no padding
  check_dense(coarse, dense_coarse, exec, kept ? &sample.rows : nullptr);

  nn::SparseInverseConv<Dim> up{sample.out, sample.in, g.kernel_size};
  Layer<Dim, Scalar, Space> inverse{up, sample, exec};
  auto const restored = inverse.conv(coarse, exec);
  CHECK(restored.coordinates() == x.coordinates());
  check_dense(restored, test::dense_inverse(dense_coarse, dense, g, inverse.weight, inverse.bias), exec,
              &sample.rows);

  nn::SparseConvTranspose<Dim> wider{sample.in, sample.out, g.kernel_size};
  wider.stride(g.stride).padding(g.padding).dilation(g.dilation).output_padding(g.output_padding);
  Layer<Dim, Scalar, Space> expanding{wider, sample, exec};
  auto const fine = expanding.conv(x, exec);
  auto const dense_fine = test::dense_transposed(dense, g, expanding.weight, expanding.bias);
  bool const same = fine.coordinates() == x.coordinates();
  check_dense(fine, dense_fine, exec, same ? &sample.rows : nullptr);
  CHECK(inverse.conv(fine, exec).coordinates() == x.coordinates());  // it undoes an expanding one as well

  auto odd = g;
  for (int i = 0; i < Dim; ++i) { odd.kernel_size[i] = g.kernel_size[i] / 2 * 2 + 1; }
  nn::SubMConv<Dim> here{sample.in, sample.out, odd.kernel_size};
  here.stride(g.stride).padding(g.padding).dilation(g.dilation);  // the first two have no effect
  Layer<Dim, Scalar, Space> submanifold{here, sample, exec};
  check_dense(submanifold.conv(x, exec),
              test::dense_submanifold(dense, odd, submanifold.weight, submanifold.bias), exec, &sample.rows);
}

template <int Dim, class Scalar, class Space>
void check_pools(std::uint32_t seed)
{
  Execution<Space> const exec{};
  Sample<Dim> sample{seed};
  auto const description = sample.text();
  CAPTURE(description);
  auto g = sample.g;
  for (auto& value : sample.features) { value = test::wide(test::from_double<Scalar>(value)); }
  auto const x = sample.template tensor<Scalar>(exec);
  auto const dense = sample.dense();
  PoolOptions<Dim> options{g.kernel_size};
  options.stride(g.stride).padding(g.padding).dilation(g.dilation);
  auto const check = [&](auto&& pool, test::DenseGrid<Dim> const& expected) {
    auto const y = pool(x, exec);
    check_dense(y, expected, exec, y.coordinates() == x.coordinates() ? &sample.rows : nullptr);
  };
  auto largest = test::dense_pool(dense, g, false);
  check(nn::MaxPool<Dim, Scalar, Space>{options}, largest);
  check(nn::AveragePool<Dim, Scalar, Space>{options}, test::dense_pool(dense, g, true));
  for (auto& value : largest.values) { value = std::max(value, 0.0); }
  check(nn::MaxPool<Dim, Scalar, Space>{options.compat(compat::spconv)}, largest);
}

}  // namespace

TEST_CASE_TEMPLATE("sparse layers: strided, inverse, expanding and submanifold ones equal dense ones", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (std::uint32_t seed = 1; seed <= (test::small_sets() ? 4U : 40U); ++seed) {
    CAPTURE(seed);
    check_convolutions<1, double, Space>(seed);
    check_convolutions<2, double, Space>(seed);
    check_convolutions<3, double, Space>(seed);
    check_convolutions<3, float, Space>(seed + 1000);
    if (seed <= 20) { check_convolutions<4, double, Space>(seed); }
  }
}

TEST_CASE_TEMPLATE("pooling over a kernel: largest and mean equal those of a dense grid", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  for (std::uint32_t seed = 1; seed <= (test::small_sets() ? 4U : 40U); ++seed) {
    CAPTURE(seed);
    check_pools<1, double, Space>(seed);
    check_pools<2, float, Space>(seed);
    test::for_each_scalar([&](auto scalar) { check_pools<3, decltype(scalar), Space>(seed + 1000); });
    if (seed <= 20) { check_pools<4, double, Space>(seed); }
  }
}
