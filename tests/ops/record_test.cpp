// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/allocations.hpp"
#include "../support/small.hpp"

#include <tessera/ops/activation.hpp>
#include <tessera/ops/bev.hpp>
#include <tessera/ops/cast.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/copy.hpp>
#include <tessera/ops/custom.hpp>
#include <tessera/ops/dense.hpp>
#include <tessera/ops/dropout.hpp>
#include <tessera/ops/global_pooling.hpp>
#include <tessera/ops/linear.hpp>
#include <tessera/ops/normalization.hpp>
#include <tessera/ops/pooling.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

using namespace tessera;

namespace {

using Tensor = SparseTensor<3, float, Host>;
using Rows = Matrix<float, Host>;

constexpr int channels = 4;

std::vector<float> random_values(std::size_t count, unsigned seed)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> value{-1, 1};
  std::vector<float> result(count);
  for (auto& element : result) { element = value(random); }
  return result;
}

/// Voxels of a cube of 6, every third of them or so.
Tensor random_tensor(unsigned seed, Execution<Host> const& exec)
{
  std::mt19937 random{seed};
  std::vector<std::int32_t> rows;
  for (int x = 0; x < 6; ++x) {
    for (int y = 0; y < 6; ++y) {
      for (int z = 0; z < 6; ++z) {
        if (random() % 3 == 0) { rows.insert(rows.end(), {0, x, y, z}); }
      }
    }
  }
  auto const count = static_cast<std::int64_t>(rows.size()) / 4;
  auto const values = random_values(static_cast<std::size_t>(count * channels), seed + 1);
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, {6, 6, 6}};
  return {MatrixView<std::int32_t const>{rows.data(), count, 4},
          MatrixView<float const>{values.data(), count, channels}, exec, options};
}

struct List final : Recorder {
  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    auto record = std::dynamic_pointer_cast<ops::ReplayableRecord<Host> const>(operation);
    REQUIRE(record != nullptr);
    records.push_back(std::move(record));
  }

  std::vector<std::shared_ptr<ops::ReplayableRecord<Host> const>> records;
};

std::vector<float> values_of(MatrixView<float const> view)
{
  return {view.data, view.data + view.size()};
}
std::vector<float> values_of(Tensor const& x)
{
  return values_of(x.features());
}
std::vector<float> values_of(Rows const& x)
{
  return values_of(x.view());
}
template <int Dim>
std::vector<float> values_of(DenseTensor<Dim, float, Host> const& x)
{
  return {x.data(), x.data() + x.size()};
}

/// Records `operation(x, exec)` as one record called `name`, which run again on other voxels gives the bits of a
/// call.
template <class Operation>
void check_replay(std::string const& name, Operation const& operation)
{
  CAPTURE(name);
  Execution<Host> const exec{2};
  auto const x = random_tensor(1, exec);
  List list;
  auto const y = operation(x, exec.with_recorder(list));
  CHECK(values_of(y) == values_of(operation(x, exec)));
  REQUIRE(list.records.size() == 1);
  auto const& record = *list.records[0];
  CHECK(record.name() == name);
  for (auto const id : record.inputs()) { CHECK(id == x.id()); }
  CHECK(record.outputs() == std::vector<VariableId>{y.id()});
  CHECK(y.id() != x.id());
  auto const description = record.description();
  CHECK(description->inputs() == record.inputs());

  auto const other = random_tensor(7, exec);
  ops::Replay<Host> replay;
  replay.set(x.id(), other);
  description->run(replay, exec);
  using Value = std::decay_t<decltype(y)>;
  CHECK(values_of(replay.get<Value>(y.id())) == values_of(operation(other, exec)));
}

ConvolutionGeometry<3> geometry_of(int stride)
{
  ConvolutionGeometry<3> geometry;
  geometry.kernel_size = stride == 1 ? 3 : 2;
  geometry.stride = stride;
  return geometry;
}

}  // namespace

TEST_CASE("Operations: each of a tensor is one record that runs again")
{
  std::vector<float> const weight = random_values(27 * 2 * channels * channels, 3);
  std::vector<float> const bias = random_values(channels, 4);
  std::vector<float> const variance(channels, 2.5F);
  auto const* const w = weight.data();
  auto const* const b = bias.data();
  auto const* const v = variance.data();
  ConvConfig const config;
  using Exec = Execution<Host>;
  check_replay("relu", [](Tensor const& x, Exec const& exec) { return relu(x, exec); });
  check_replay("leaky_relu", [](Tensor const& x, Exec const& exec) { return leaky_relu(x, 0.2, exec); });
  check_replay("silu", [](Tensor const& x, Exec const& exec) { return silu(x, exec); });
  check_replay("sigmoid", [](Tensor const& x, Exec const& exec) { return sigmoid(x, exec); });
  check_replay("tanh", [](Tensor const& x, Exec const& exec) { return tessera::tanh(x, exec); });
  check_replay("gelu", [](Tensor const& x, Exec const& exec) { return gelu(x, exec); });
  check_replay("add", [](Tensor const& x, Exec const& exec) { return add(x, x, exec); });
  check_replay("multiply", [](Tensor const& x, Exec const& exec) { return multiply(x, x, exec); });
  check_replay("add_activate", [](Tensor const& x, Exec const& exec) {
    return add_activate(x, x, Activation::leaky_relu, 0.3F, exec);
  });
  check_replay("cat", [](Tensor const& x, Exec const& exec) { return cat({x, x, x}, exec); });
  check_replay("add_by_coordinate", [](Tensor const& x, Exec const& exec) {
    return add_by_coordinate({x, x}, Join::outer, exec);
  });
  check_replay("multiply_by_coordinate", [](Tensor const& x, Exec const& exec) {
    return multiply_by_coordinate({x, x}, Join::inner, exec);
  });
  check_replay("cat_by_coordinate", [](Tensor const& x, Exec const& exec) {
    return cat_by_coordinate({x, x}, Join::left, exec);
  });
  check_replay("convolution", [&](Tensor const& x, Exec const& exec) {
    return convolution(x, w, b, channels, ConvolutionKind::strided, geometry_of(2), config, exec);
  });
  check_replay("convolution", [&](Tensor const& x, Exec const& exec) {
    return convolution(x, x, w, nullptr, channels, ConvolutionKind::submanifold, geometry_of(1), config,
                       exec);
  });
  check_replay("convolution", [&](Tensor const& x, Exec const& exec) {
    return convolution_add(x, x, w, b, channels, ConvolutionKind::submanifold, geometry_of(1), config,
                           Activation::relu, 0, exec);
  });
  check_replay("convolution", [&](Tensor const& x, Exec const& exec) {
    return convolution(x, w, b, channels, ConvolutionKind::submanifold, geometry_of(1), MathMode::exact,
                       Compatibility::none, exec);
  });
  check_replay("linear",
               [&](Tensor const& x, Exec const& exec) { return linear(x, w, b, 3, MathMode::exact, exec); });
  check_replay("batch_norm", [&](Tensor const& x, Exec const& exec) {
    return batch_norm(x, b, v, w, nullptr, 1e-3, exec);
  });
  check_replay("group_norm",
               [&](Tensor const& x, Exec const& exec) { return group_norm(x, 2, w, b, 1e-3, exec); });
  check_replay("dropout", [](Tensor const& x, Exec const& exec) { return dropout(x, 0.5, 3, exec); });
  check_replay("max_pool",
               [](Tensor const& x, Exec const& exec) { return max_pool(x, PoolOptions<3>{2}, exec); });
  check_replay("average_pool",
               [](Tensor const& x, Exec const& exec) { return average_pool(x, PoolOptions<3>{2}, exec); });
  check_replay("global_average_pool",
               [](Tensor const& x, Exec const& exec) { return global_average_pool(x, exec); });
  check_replay("global_max_pool", [](Tensor const& x, Exec const& exec) { return global_max_pool(x, exec); });
  check_replay("dense", [](Tensor const& x, Exec const& exec) { return dense(x, exec); });
  check_replay("bev", [](Tensor const& x, Exec const& exec) { return bev(x, BevOptions().axis(2), exec); });
  check_replay("twice", [](Tensor const& x, Exec const& exec) {
    return ops::custom(
        "twice", exec, [](Tensor const& of, Exec const& inside) { return add(of, of, inside); }, x);
  });
}

TEST_CASE("Operations: those of matrices and dense tensors are recorded too")
{
  Execution<Host> const plain{1};
  List list;
  auto const exec = plain.with_recorder(list);
  auto const x = random_tensor(2, plain);
  auto const pooled = global_max_pool(x, exec);
  std::vector<float> const weight = random_values(2 * channels, 5);
  auto const y = linear(pooled, weight.data(), nullptr, 2, MathMode::exact, exec);
  auto const z = dropout(y, 0.5, 1, exec);
  auto const copied = copy(z, exec);
  auto const wide = cast<double>(copied, exec);
  auto const cells = dense(x, exec);
  auto const back = gather_from_dense(x, cells, exec);
  auto const again = sparse(cells, exec);
  std::vector<std::string> names;
  for (auto const& record : list.records) { names.emplace_back(record->name()); }
  CHECK(names == std::vector<std::string>{"global_max_pool", "linear", "dropout", "copy", "cast", "dense",
                                          "gather_from_dense", "sparse"});
  ops::Replay<Host> replay;
  replay.set(x.id(), random_tensor(9, plain));
  for (auto const& record : list.records) { record->run(replay, plain); }
  auto const other = random_tensor(9, plain);
  auto const expected =
      dropout(linear(global_max_pool(other, plain), weight.data(), nullptr, 2, MathMode::exact, plain), 0.5,
              1, plain);
  CHECK(values_of(replay.get<Rows>(copied.id())) == values_of(expected));
  CHECK(replay.get<Matrix<double, Host>>(wide.id()).rows() == expected.rows());
  CHECK(values_of(replay.get<Tensor>(back.id())) == values_of(other));
  CHECK(replay.get<Tensor>(again.id()).num_rows() == other.num_rows());
  CHECK_THROWS_AS(static_cast<void>(replay.get<Rows>(back.id())), invalid_argument);  // another type
  replay.give_back(back.id());
  CHECK_THROWS_AS(static_cast<void>(replay.get<Tensor>(back.id())), invalid_argument);
}

TEST_CASE("Operations: batch normalisation in training records the statistics of its batch")
{
  Execution<Host> const plain{1};
  List list;
  auto const x = random_tensor(3, plain);
  std::vector<float> mean(channels, 0.5F);
  std::vector<float> variance(channels, 2);
  ops::RunningStatistics<float> const running{{mean.data(), 0}, {variance.data(), 0}, 1.0};
  auto const y = batch_norm_training(x, running, nullptr, nullptr, 1e-5, plain.with_recorder(list));
  REQUIRE(list.records.size() == 1);
  auto const* const record = dynamic_cast<ops::BatchNormTraining<float, Host> const*>(list.records[0].get());
  REQUIRE(record != nullptr);
  REQUIRE(record->statistics != nullptr);
  for (std::size_t c = 0; c < channels; ++c) { CHECK(record->statistics->mean.data()[c] == mean[c]); }
  auto const expected =
      batch_norm(x, mean.data(), record->statistics->variance.data(), nullptr, nullptr, 1e-5, plain);
  CHECK(values_of(y) == values_of(expected));
}

TEST_CASE("Operations: without a recorder an operation allocates what it did before it could be recorded")
{
  Execution<Host> const exec{1};
  auto const x = random_tensor(4, exec);
  static_cast<void>(relu(x, exec));
  test::AllocationWatch const watch;
  auto const y = relu(x, exec);
  CHECK(watch.allocations() == 2);  // the elements, and their shared storage
  test::AllocationWatch const second;
  auto const z = add(x, y, exec);
  CHECK(second.allocations() == 2);
  CHECK(z.capacity() == x.capacity());
}

TEST_CASE("Operations: a record by names alone holds no storage")
{
  Execution<Host> const plain{1};
  List list;
  auto x = random_tensor(4, plain);
  test::AllocationWatch const watch;
  std::shared_ptr<ops::ReplayableRecord<Host> const> description;
  {
    auto const y = relu(x, plain.with_recorder(list));
    description = list.records[0]->description();
    list.records.clear();
    list.records.shrink_to_fit();
  }
  auto const bytes = x.features().size() * std::int64_t{sizeof(float)};
  CHECK(watch.bytes_in_use() < bytes);
  CHECK(description->inputs() == std::vector<VariableId>{x.id()});
}

TEST_CASE("Operations: a residual that is a view is refused where there is a recorder")
{
  Execution<Host> const plain{1};
  List list;
  auto const x = random_tensor(5, plain);
  auto const weight = random_values(27 * channels * channels, 6);
  Epilogue<float> epilogue;
  epilogue.residual = x.features();
  auto const call = [&](Execution<Host> const& exec) {
    return convolution(x, weight.data(), nullptr, channels, ConvolutionKind::submanifold, geometry_of(1),
                       ConvConfig{}, epilogue, exec);
  };
  CHECK_THROWS_WITH_AS(static_cast<void>(call(plain.with_recorder(list))),
                       "convolution: a residual that is a view cannot be recorded; use convolution_add()",
                       invalid_argument);
  CHECK(values_of(call(plain)) ==
        values_of(convolution_add(x, x, weight.data(), nullptr, channels, ConvolutionKind::submanifold,
                                  geometry_of(1), ConvConfig{}, Activation::none, 0, plain)));
}
