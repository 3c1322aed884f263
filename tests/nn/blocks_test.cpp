// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/memory.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/dropout.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/nn/sequential.hpp>

#include <utility>

using namespace tessera;

namespace {

template <class Scalar, class Space>
std::vector<double> values_of(nn::Parameter<Scalar, Space> const& parameter, Execution<Space> const& exec)
{
  std::vector<double> result;
  for (auto const value : download(parameter.data(), parameter.size(), exec)) {
    result.push_back(test::wide(value));
  }
  return result;
}

/// `y[i, o] = bias[o] + sum over c of x[i, c] weight[o, c]`; no bias where it is empty.
std::vector<double> linear_by_definition(test::HostTensor const& x, std::vector<double> const& weight,
                                         std::vector<double> const& bias)
{
  auto const channels = static_cast<std::size_t>(x.channels);
  auto const outputs = weight.size() / channels;
  std::vector<double> y;
  for (std::size_t row = 0; row < x.rows(); ++row) {
    for (std::size_t o = 0; o < outputs; ++o) {
      double sum = bias.empty() ? 0 : bias[o];
      for (std::size_t c = 0; c < channels; ++c) {
        sum += x.at(row, static_cast<int>(c)) * weight[o * channels + c];
      }
      y.push_back(sum);
    }
  }
  return y;
}

/// [columns, rows] of values [rows, columns].
std::vector<double> transposed(std::vector<double> const& values, std::size_t rows)
{
  auto const columns = values.size() / rows;
  std::vector<double> result;
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t r = 0; r < rows; ++r) { result.push_back(values[r * columns + c]); }
  }
  return result;
}

std::vector<std::string> names_of(nn::ModuleBase const& module)
{
  std::vector<std::string> names;
  for (auto const& parameter : module.parameters()) { names.push_back(parameter.name); }
  return names;
}

}  // namespace

TEST_CASE_TEMPLATE("linear: every row times the weight, plus bias, as a layer and as a function", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (std::size_t const rows : {0U, 1U, 130U}) {
    for (auto const& channels : {std::pair{3, 5}, std::pair{16, 19}, std::pair{40, 32}}) {
      int const in = channels.first;
      int const out = channels.second;
      for (bool const bias : {true, false}) {
        CAPTURE(rows);
        CAPTURE(out);
        CAPTURE(bias);
        auto const x = test::random_tensor<float>(rows, in, {0, 1}, 1);
        nn::Linear<3, float, Space> layer{LinearOptions(in, out).bias(bias).seed(5), exec};
        auto const y = layer(test::upload_tensor<float>(x, exec), exec);
        REQUIRE(y.channels() == out);
        REQUIRE(layer.weight().shape() == std::vector<std::int64_t>{in, out});
        auto const weight = transposed(values_of(layer.weight(), exec), static_cast<std::size_t>(in));
        auto const expected =
            linear_by_definition(x, weight, bias ? values_of(layer.bias(), exec) : std::vector<double>{});
        test::check_close(y.features_on_host(exec), expected, 1e-5);

        auto const as_pytorch = upload(test::rounded<float>(weight), exec);
        auto const same = linear(test::upload_tensor<float>(x, exec), as_pytorch.data(),
                                 std::as_const(layer.bias()).data(), out, MathMode::exact, exec);
        CHECK(test::same_bits(same.features_on_host(exec), y.features_on_host(exec)));

        auto const matrix = upload_matrix(test::rounded<float>(x.features), in, exec);
        auto const of_rows = layer(matrix, exec);
        REQUIRE(of_rows.rows() == static_cast<std::int64_t>(rows));
        REQUIRE(of_rows.columns() == out);
        CHECK(test::same_bits(download(of_rows.data(), of_rows.size(), exec), y.features_on_host(exec)));
        auto const by_function =
            linear(matrix, as_pytorch.data(), std::as_const(layer.bias()).data(), out, MathMode::exact, exec);
        CHECK(test::same_bits(download(by_function.data(), by_function.size(), exec),
                              y.features_on_host(exec)));
      }
    }
  }
}

TEST_CASE_TEMPLATE("linear: the layer makes no copy of its weight, and uses the one it has now", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  nn::Linear<3, float, Space> layer{LinearOptions(8, 4).bias(false), exec};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(50, 8, {0}, 1), exec);
  auto const allocations_of = [&](auto const& action) {
    static_cast<void>(action());  // makes the map
    auto const before = memory.allocations();
    static_cast<void>(action());
    return memory.allocations() - before;
  };
  auto* const weight = layer.weight().write();
  auto const of_function =
      allocations_of([&] { return linear<3, float, Space>(x, weight, nullptr, 4, MathMode::exact, exec); });
  CHECK(allocations_of([&] { return layer(x, exec); }) == of_function - 1);
  // written through a pointer from before
  std::vector<float> const zeros(32, 0.0F);
  detail::Transfer<Space>::from_host(weight, zeros.data(), zeros.size() * sizeof(float), exec);
  layer.weight().mark_written();
  CHECK(layer(x, exec).features_on_host(exec) == std::vector<float>(200, 0.0F));
}

TEST_CASE_TEMPLATE("linear: wrong channels are refused with their numbers", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  nn::Linear<3, float, Space> layer{LinearOptions(4, 2), exec};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(5, 3, {0}, 1), exec);
  CHECK(test::has(test::error_of([&] { (void)layer(x, exec); }), "3 channels but 4 -> 2"));
  CHECK(test::has(test::error_of([&] { nn::Linear<3, float, Space>(LinearOptions(0, 2), exec); }), "0 -> 2"));
  Matrix<float, Space> const matrix{5, 3, exec};
  CHECK(test::error_of([&] { (void)layer(matrix, exec); }) ==
        "Linear: the matrix has 3 channels but 4 -> 2 were expected");
  std::vector<float> const none;
  CHECK(
      test::has(test::error_of([&] { (void)linear(x, none.data(), none.data(), -1, MathMode::exact, exec); }),
                "linear: 3 -> -1 channels"));
}

TEST_CASE_TEMPLATE("sequential of named layers: convolution, pooling and linear, as the definition says",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  using Conv = nn::Conv<3, float, Space>;
  using Average = nn::GlobalAveragePool<3, float, Space>;
  using Linear = nn::Linear<3, float, Space>;
  auto const in = test::random_tensor<float>(300, 4, {0, 2}, 1);
  auto const x = test::upload_tensor<float>(in, exec, 4);  // entries 1 and 3 have no voxel
  nn::Sequential net{std::make_unique<Conv>(ConvOptions<3>(4, 6, 3).weight_name("weight"), exec),
                     std::make_unique<Average>(), std::make_unique<Linear>(LinearOptions(6, 3), exec)};
  CHECK(names_of(net) == std::vector<std::string>{"0.weight", "2.weight", "2.bias"});
  CHECK(net.size() == 3);

  auto const conv = net.template get<0>()(x, exec).features_on_host(exec);
  std::vector<double> means(std::size_t{4} * 6, 0.0);
  double counts[4] = {};
  for (auto const& c : in.coordinates) { ++counts[c.batch]; }
  for (std::size_t row = 0; row < in.rows(); ++row) {
    auto const entry = static_cast<std::size_t>(in.coordinates[row].batch);
    for (std::size_t c = 0; c < 6; ++c) { means[entry * 6 + c] += double{conv[row * 6 + c]} / counts[entry]; }
  }
  auto& last = net.template get<2>();
  auto const weight = values_of(last.weight(), exec);  // [6, 3]
  auto const bias = values_of(last.bias(), exec);
  std::vector<double> expected;
  for (std::size_t b = 0; b < 4; ++b) {
    for (std::size_t o = 0; o < 3; ++o) {
      double sum = bias[o];
      for (std::size_t c = 0; c < 6; ++c) { sum += means[b * 6 + c] * weight[c * 3 + o]; }
      expected.push_back(sum);
    }
  }
  Matrix<float, Space> const logits = net(x, exec);
  REQUIRE(logits.rows() == 4);
  REQUIRE(logits.columns() == 3);
  test::check_close(download(logits.data(), logits.size(), exec), expected, 1e-5);

  // by hand: the modules one by one
  auto const same = last(net.template get<1>()(net.template get<0>()(x, exec), exec), exec);
  CHECK(test::same_bits(download(same.data(), same.size(), exec),
                        download(logits.data(), logits.size(), exec)));

  // no voxels at all
  auto const empty = test::upload_tensor<float>(test::random_tensor<float>(0, 4, {0}, 1), exec, 2);
  auto const of_none = net(empty, exec);
  REQUIRE(of_none.rows() == 2);
  for (std::size_t o = 0; o < 3; ++o) {
    CHECK(download(of_none.data(), of_none.size(), exec)[3 + o] == static_cast<float>(bias[o]));
  }
  CHECK(test::has(test::error_of([&] {
                    nn::Sequential{std::make_unique<Average>(), std::unique_ptr<Linear>{}};
                  }),
                  "Sequential: layer 1 is null"));
}

TEST_CASE_TEMPLATE(
    "row modules: batch normalisation and dropout of a matrix are those of a tensor's features", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const in = test::random_tensor<float>(200, 5, {0, 1}, 1);
  auto const x = test::upload_tensor<float>(in, exec);
  auto const matrix = upload_matrix(test::rounded<float>(in.features), 5, exec);
  auto const expect_same = [&](auto& of_tensor, auto& of_matrix) {
    auto const y = of_tensor(x, exec).features_on_host(exec);
    auto const rows = of_matrix(matrix, exec);
    CHECK(test::same_bits(download(rows.data(), rows.size(), exec), y));
  };
  nn::BatchNorm<3, float, Space> norm{5, exec};
  nn::BatchNorm<3, float, Space> other{5, exec};
  nn::Dropout<3, float, Space> drop{0.4, 3};
  nn::Dropout<3, float, Space> drop_too{0.4, 3};
  for (bool const training : {true, false}) {  // the running statistics of the first are the second's
    CAPTURE(training);
    norm.train(training);
    other.train(training);
    drop.train(training);
    drop_too.train(training);
    expect_same(norm, other);
    expect_same(drop, drop_too);
  }
  CHECK(test::error_of([&] {
          (void)norm(Matrix<float, Space>{2, 4, exec}, exec);
        }) == "BatchNorm: the matrix has 4 channels but 5 were expected");
  norm.train();
  CHECK(test::has(test::error_of([&] {
                    (void)norm(Matrix<float, Space>{1, 5, exec}, exec);
                  }),
                  "more than 1 row"));
}

TEST_CASE_TEMPLATE("convolution of one voxel: a matrix product that needs no table, in every dataflow", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const in = test::random_tensor<float>(500, 12, {0, 2}, 1);
  auto const x = test::upload_tensor<float>(in, exec);
  nn::Conv<3, float, Space> layer{ConvOptions<3>(12, 7, 1).bias(true), exec};
  CHECK(layer.weight().shape() == std::vector<std::int64_t>{12, 7});
  auto const kernel = values_of(layer.weight(), exec);  // [in, out]
  std::vector<double> weight;
  for (std::size_t o = 0; o < 7; ++o) {
    for (std::size_t c = 0; c < 12; ++c) { weight.push_back(kernel[c * 7 + o]); }
  }
  auto const expected = linear_by_definition(in, weight, values_of(layer.bias(), exec));
  std::vector<SparseTensor<3, float, Space>> results;
  for (auto const dataflow : {Dataflow::implicit_gemm, Dataflow::gather_scatter, Dataflow::fetch_on_demand}) {
    for (int const splits : {1, 3}) {
      ConvConfig config;
      config.dataflow = dataflow;
      config.splits = splits;
      ScopedConvConfig const scope{config};
      results.push_back(layer(x, exec));
      CHECK(results.back().coordinates() == x.coordinates());
    }
  }
  CHECK(detail::access(*x.coordinates()).cache().find(detail::CoordinateTableKey<3, Space>{}) == nullptr);
  for (auto const& y : results) { test::check_close(y.features_on_host(exec), expected, 1e-5); }
}

TEST_CASE_TEMPLATE("residual block: relu of both branches' sum, with TorchSparse's names", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(400, 6, {0, 1}, 1), exec);
  using Block = nn::SparseResBlock<3, float, Space>;

  Block same{ConvOptions<3>(6, 6, 3), exec};
  auto const names = names_of(same);
  CHECK(names == std::vector<std::string>{"main.0.kernel", "main.1.weight", "main.1.bias",
                                          "main.1.running_mean", "main.1.running_var", "main.3.kernel",
                                          "main.4.weight", "main.4.bias", "main.4.running_mean",
                                          "main.4.running_var"});

  Block wider{ConvOptions<3>(6, 9, 3).seed(4), exec, {"net", "downsample"}};
  REQUIRE(wider.children().size() == 2);
  CHECK(wider.children()[0].first == "net");
  CHECK(wider.children()[1].first == "downsample");
  using Branch = nn::Sequential<3, float, Space>;
  auto& net = dynamic_cast<Branch&>(*wider.children()[0].second);
  auto& downsample = dynamic_cast<Branch&>(*wider.children()[1].second);
  CHECK(names_of(downsample).front() == "0.kernel");
  auto const main = net(x, exec).features_on_host(exec);
  auto const shortcut = downsample(x, exec).features_on_host(exec);
  std::vector<double> expected;
  for (std::size_t i = 0; i < main.size(); ++i) {
    expected.push_back(std::max(0.0, double{main[i]} + shortcut[i]));
  }
  auto const y = wider(x, exec);
  CHECK(y.coordinates() == x.coordinates());
  test::check_close(y.features_on_host(exec), expected, 1e-6);
}

TEST_CASE_TEMPLATE("residual block: a strided one works on Minkowski's outputs and says so otherwise", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(300, 4, {0}, 1), exec);
  nn::SparseResBlock<3, float, Space> block{ConvOptions<3>(4, 4, 3).stride(2), exec};
  ConvConfig config;
  CHECK(test::has(test::error_of([&] { (void)block(x, exec); }), "different coordinate sets"));
  config.kmap = KmapMode::hashmap;
  config.downsample = DownsampleMode::minkowski;
  ScopedConvConfig const scope{config};
  CHECK(block(x, exec).tensor_stride() == IntArray<3>(2));
}

TEST_CASE_TEMPLATE("module tree: train and eval reach every child", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  nn::Sequential<3, float, Space> net;
  net.template add<nn::SparseConvBlock<3, float, Space>>(ConvOptions<3>(4, 4, 3), exec);
  auto& dropout = net.template add<nn::Dropout<3, float, Space>>(0.5);
  CHECK(names_of(net).front() == "0.0.kernel");
  CHECK_FALSE(dropout.is_training());
  net.train();
  CHECK(dropout.is_training());
  CHECK(net[0].is_training());
  net.eval();
  CHECK_FALSE(dropout.is_training());
}

TEST_CASE("module tree: two children of one name are refused, an empty name adds nothing")
{
  struct Pair : nn::Module<3, float, Host> {
    explicit Pair(std::string const& name, Execution<Host> const& exec) : first{2, exec}, second{2, exec}
    {
      register_child("", first);
      register_child(name, second);
    }
    Tensor forward(Tensor const& x, Execution<Host> const& exec) override
    {
      return second(first(x, exec), exec);
    }
    nn::BatchNorm<3, float, Host> first, second;
  };
  Execution<Host> const exec;
  Pair const pair{"b", exec};
  CHECK(names_of(pair) == std::vector<std::string>{"weight", "bias", "running_mean", "running_var",
                                                   "b.weight", "b.bias", "b.running_mean", "b.running_var"});
  CHECK(pair.parameters("net.")[0].name == "net.weight");
  CHECK(test::error_of([&] { Pair{"", exec}; }) == "register_child: there is a child \"\" already");
}
