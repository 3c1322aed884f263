// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Profiles: which operations they list and with which work, floors, the table and the trace.

#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/nn/profile.cuh>
#endif
#include <tessera/io/detail/json.hpp>
#include <tessera/io/trace_file.hpp>
#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/costs.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/profile.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/nn/sparse_pooling.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <vector>

using namespace tessera;

namespace {

/// Pairs of a submanifold 3x3x3 convolution, by comparing every two voxels.
std::int64_t pairs_of(test::HostTensor const& x)
{
  std::int64_t pairs = 0;
  for (auto const& a : x.coordinates) {
    for (auto const& b : x.coordinates) {
      bool near = a.batch == b.batch;
      for (int i = 0; i < 3; ++i) { near = near && std::abs(a.position[i] - b.position[i]) <= 1; }
      pairs += near ? 1 : 0;
    }
  }
  return pairs;
}

nn::Profile two_operations()
{
  nn::Profile profile;
  profile.device = "host";
  nn::ProfiledOperation conv;
  conv.name = "convolution";
  conv.layer = "stem.0";
  conv.work.kernel = "warp";
  conv.work.rows = 1200;
  conv.work.in_channels = 32;
  conv.work.out_channels = 64;
  conv.work.pairs = 9000;
  conv.seconds = 30e-6;
  conv.floor_seconds = 12e-6;
  nn::ProfiledOperation relu;
  relu.name = "relu";
  relu.work.rows = 1200;
  relu.work.out_channels = 64;
  relu.seconds = 10e-6;
  profile.operations = {conv, relu};
  return profile;
}

}  // namespace

TEST_CASE_TEMPLATE(
    "profile: lists the operations of a forward pass with their layers, rows, channels and pairs", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const host = test::random_tensor<float>(300, 4, {0, 2}, 5);
  auto const x = test::upload_tensor<float>(host, exec);
  nn::Sequential<3, float, Space> net;
  net.template add<nn::Conv<3, float, Space>>(ConvOptions<3>(4, 8, 3).bias(true), exec);
  net.template add<nn::BatchNorm<3, float, Space>>(8, exec);
  net.template add<nn::ReLU<3, float, Space>>();
  net.template add<nn::Linear<3, float, Space>>(LinearOptions(8, 3), exec);
  auto const profile = nn::profile(net, x, ProfileOptions().repetitions(3), exec);
  REQUIRE(profile.operations.size() == 4);
  std::vector<std::string> names;
  std::vector<std::string> layers;
  for (auto const& operation : profile.operations) {
    names.push_back(operation.name);
    layers.push_back(operation.layer);
    CHECK(operation.work.rows == 300);
    CHECK(operation.seconds > 0);
    CHECK(operation.seconds < 10);
  }
  CHECK(names == std::vector<std::string>{"convolution", "batch_norm", "relu", "linear"});
  CHECK(layers == std::vector<std::string>{"0", "1", "", "3"});
  auto const& conv = profile.operations[0].work;
  auto const pairs = pairs_of(host);
  CHECK(conv.pairs == pairs);
  CHECK(conv.in_channels == 4);
  CHECK(conv.out_channels == 8);
  CHECK(conv.multiply_adds == static_cast<double>(pairs) * 4 * 8);
  CHECK(conv.gathered_bytes == static_cast<double>(pairs) * 4 * 4);
  CHECK(conv.bytes == 4.0 * (300 * 4 + 27 * 4 * 8 + 300 * 8));
  CHECK(conv.kernel == (std::is_same_v<Space, Host> ? "host" : "block"));
  CHECK(profile.operations[2].work.pairs == 0);
  CHECK(profile.operations[2].work.bytes == 4.0 * (300 * 8 + 300 * 8));
  CHECK(profile.operations[3].work.multiply_adds == 300.0 * 8 * 3);
  CHECK(profile.operations[3].work.out_channels == 3);
  CHECK(profile.ceilings.bytes_per_s > 1e8);
  for (auto const& operation : profile.operations) { CHECK(operation.floor_seconds > 0); }
  CHECK(profile.device == detail::TuneBackend<Space>::name(exec));
}

TEST_CASE_TEMPLATE(
    "profile: operations of a fused network have the names of its layers, and its multiply-adds", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(300, 4, {0, 2}, 5), exec);
  nn::Sequential<3, float, Space> net;
  net.template add<nn::Conv<3, float, Space>>(ConvOptions<3>(4, 8, 3), exec);
  net.template add<nn::BatchNorm<3, float, Space>>(8, exec);
  net.template add<nn::ReLU<3, float, Space>>();
  net.template add<nn::Linear<3, float, Space>>(LinearOptions(8, 5), exec);
  net.template add<nn::BatchNorm<3, float, Space>>(5, exec);
  auto fused = nn::fuse(net, x, exec);
  auto const profile = nn::profile(fused, x, ProfileOptions().repetitions(1), exec);
  REQUIRE(profile.operations.size() == 2);
  CHECK(profile.operations[0].name == "convolution");
  CHECK(profile.operations[0].layer == "0");
  CHECK(profile.operations[1].name == "linear");
  CHECK(profile.operations[1].layer == "3");
  CHECK(nn::num_macs(fused, x, exec) == nn::num_macs(net, x, exec));
}

TEST_CASE_TEMPLATE("profile: pools have pairs, other dataflows their names, and no voxels no work", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  nn::Sequential<3, float, Space> net;
  ConvConfig config;
  config.dataflow = Dataflow::gather_scatter;
  net.template add<nn::Conv<3, float, Space>>(ConvOptions<3>(4, 8, 3).config(config), exec);
  net.template add<nn::MaxPool<3, float, Space>>(PoolOptions<3>(2).stride(2));
  auto const options = ProfileOptions().repetitions(1).ceilings({1e9, 0, 0, 0});
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(200, 4, {0}, 6), exec);
  auto const found = nn::profile(net, x, options, exec).operations;
  REQUIRE(found.size() == 2);
  CHECK(found[0].work.kernel == "gather_scatter");
  CHECK(found[1].name == "max_pool");
  CHECK(found[1].work.pairs == 200);  // every voxel is in one window
  CHECK(found[1].floor_seconds == found[1].work.bytes / 1e9);

  auto const none = test::upload_tensor<float>(test::random_tensor<float>(0, 4, {0}, 6), exec);
  auto const nothing = nn::profile(net, none, options, exec).operations;
  REQUIRE(nothing.size() == 2);
  CHECK(nothing[0].work.pairs == 0);
  CHECK(nothing[1].work.rows == 0);
}

TEST_CASE("profile: a model in training, one that changes and no repetitions are refused")
{
  Execution<Host> const exec;
  using Tensor = SparseTensor<3, float, Host>;
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(20, 4, {0}, 7), exec);
  nn::Sequential<3, float, Host> net;
  net.add<nn::ReLU<3, float, Host>>();
  CHECK(test::error_of([&] {
          static_cast<void>(nn::profile(net, x, ProfileOptions().repetitions(0), exec));
        }) == "profile: 0 repetitions; at least 1");
  net.train();
  CHECK(test::error_of([&] { static_cast<void>(nn::profile(net, x, exec)); }) ==
        "profile: the module is in training; call eval()");
  struct Growing {  // functions without a module
    Tensor forward(Tensor const& in, Execution<Host> const& on)
    {
      auto y = in;
      for (int i = 0; i < calls; ++i) { y = relu(y, on); }
      ++calls;
      return y;
    }
    int calls = 1;
  } growing;
  CHECK(test::error_of([&] { static_cast<void>(nn::profile(growing, x, exec)); }) ==
        "profile: forward() did 2 operations, then 3; it must do the same each time");
}

TEST_CASE("profile: a floor is the largest of the known ones, and a launch")
{
  ops::OperationWork work;
  work.bytes = 8e6;
  work.gathered_bytes = 40e6;
  work.multiply_adds = 9e9;
  auto const us = [&](nn::Ceilings const& ceilings) { return 1e6 * detail::floor_of(work, ceilings); };
  CHECK(us({}) == 0);
  CHECK(us({4e12, 0, 0, 0}) == doctest::Approx(2));
  CHECK(us({4e12, 8e12, 0, 1e-6}) == doctest::Approx(6));
  nn::Ceilings const all{4e12, 8e12, 1e15, 1e-6};
  CHECK(us(all) == doctest::Approx(6));  // float32: tensor cores do not count
  work.scalar = DType::float16;
  CHECK(us(all) == doctest::Approx(10));
  work.scalar = DType::bfloat16;
  CHECK(us(all) == doctest::Approx(10));
}

TEST_CASE("profile: the table has a line for each operation and one for all")
{
  CHECK(two_operations().table() ==
        "operation    layer   kernel  rows  channels  pairs    us  % of time  floor us  % of floor\n"
        "convolution  stem.0  warp    1200    32->64   9000  30.0       75.0      12.0          40\n"
        "relu                         1200        64      -  10.0       25.0         -           -\n"
        "total                                               40.0      100.0      12.0          30\n");
  CHECK(nn::Profile{}.table().find("total") != std::string::npos);
}

TEST_CASE("profile: the trace has an event for each operation, one after the other")
{
  test::TempDir const folder;
  auto const path = folder / "trace.json";
  auto profile = two_operations();
  profile.device = "a \"GPU\"";
  io::save_trace(path, profile);
  auto const bytes = test::read_bytes(path);
  std::string const text{bytes.begin(), bytes.end()};
  CHECK(text == io::trace_json(profile));
  CHECK_NOTHROW(static_cast<void>(detail::parse_json(text, detail::FileContext{"trace", path})));
  CHECK(test::has(text, "\"device\": \"a \\\"GPU\\\"\""));
  CHECK(test::has(text,
                  "{\"name\": \"stem.0\", \"cat\": \"convolution\", \"ph\": \"X\", \"pid\": 0, \"tid\": 0, "
                  "\"ts\": 0.000, \"dur\": 30.000"));
  CHECK(test::has(text,
                  "{\"name\": \"relu\", \"cat\": \"relu\", \"ph\": \"X\", \"pid\": 0, \"tid\": 0, "
                  "\"ts\": 30.000, \"dur\": 10.000"));
  CHECK(test::has(text, "\"pairs\": 9000, \"floor_us\": 12.000"));
  CHECK(test::error_of([&] {
          io::save_trace(folder / "no/such/folder/trace.json", profile);
        }).find("save_trace") == 0);
}
