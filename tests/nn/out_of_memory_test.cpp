// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Functions that run out of memory at each of their allocations in turn; whole networks are in tests/models.

#include "../support/device.hpp"
#include "../support/memory.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/group_norm.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/ops/dense.hpp>
#include <tessera/tensor/collate.hpp>

#include <string>

using namespace tessera;

namespace {

/// `action()` -> std::vector<float> with its first allocation failing, then its second, ... until there are
/// no more: each time it throws what the space throws and everything is given back, at last it gives what it
/// gave at first.
template <class Space, class Action>
void check_every_failure(test::CountedMemory<Space>& memory, std::string const& name, Action const& action)
{
  CAPTURE(name);
  auto const expected = action();
  REQUIRE_FALSE(expected.empty());
  auto const in_use = memory.bytes_in_use();
  int failures = 0;
  for (bool failed = true; failed; failures += failed ? 1 : 0) {
    CAPTURE(failures);
    failed = false;
    memory.fail_at(failures);
    try {
      auto const found = action();
      CHECK(test::same_bits(found, expected));
    } catch (test::OutOfMemory<Space> const&) {
      failed = true;
    }
    memory.fail_at(-1);
    REQUIRE(memory.bytes_in_use() == in_use);
  }
  CHECK(failures > 2);
}

}  // namespace

TEST_CASE_TEMPLATE("out of memory: functions on points and tensors leak nothing and work afterwards", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  auto const host = test::random_tensor<float>(200, 4, {0, 1, 3}, 8);
  auto const make = [&] { return test::upload_tensor<float>(host, exec, 4); };

  check_every_failure(memory, "sparse_quantize", [&] {
    std::vector<float> positions;
    for (auto const value : host.features) { positions.push_back(static_cast<float>(value)); }
    auto const points = upload_matrix(positions, 4, exec);
    auto const three = upload_matrix(std::vector<float>(positions.begin(), positions.begin() + 600), 3, exec);
    auto const rule = QuantizeOptions<3>(1.5F).origin(GridOrigin::lowest_point).features(VoxelFeatures::mean);
    auto const voxels = sparse_quantize(PointsView<float>{three, points}, rule, exec);
    return download(voxels.features.data(), voxels.features.size(), exec);
  });
  check_every_failure(memory, "sparse_collate", [&] {
    return sparse_collate<3, float, Space>({make(), make()}, exec).features_on_host(exec);
  });
  check_every_failure(memory, "dense, sparse and gather_from_dense", [&] {
    auto const x = make();
    auto const grid = dense(x, exec);
    auto values = sparse(grid, exec).features_on_host(exec);
    auto const gathered = gather_from_dense(x, grid, exec).features_on_host(exec);
    values.insert(values.end(), gathered.begin(), gathered.end());
    return values;
  });
  check_every_failure(memory, "group_norm", [&] {
    return group_norm<3, float, Space>(make(), 2, nullptr, nullptr, 1e-5, exec).features_on_host(exec);
  });
  check_every_failure(memory, "pooling", [&] {
    auto const x = make();
    auto const mean = global_average_pool(x, exec);
    auto const most = global_max_pool(x, exec);
    auto values = download(mean.data(), mean.size(), exec);
    auto const more = download(most.data(), most.size(), exec);
    values.insert(values.end(), more.begin(), more.end());
    return values;
  });
  nn::BatchNorm<3, float, Space> norm{4, exec};
  norm.train();
  check_every_failure(memory, "BatchNorm in training",
                      [&] { return norm(make(), exec).features_on_host(exec); });
  nn::Conv<3, float, Space> down{ConvOptions<3>(4, 6, 3).stride(2).bias(true), exec};
  nn::Conv<3, float, Space> up{ConvOptions<3>(6, 3, 3).stride(2).transposed(), exec};
  nn::Conv<3, float, Space> grow{ConvOptions<3>(6, 2, 2).stride(2).generative(), exec};
  for (auto const dataflow : {Dataflow::implicit_gemm, Dataflow::gather_scatter, Dataflow::fetch_on_demand}) {
    auto config = with_conv_mode({}, 1);
    config.dataflow = dataflow;
    for (auto* const conv : {&down, &up, &grow}) { conv->options().config(config); }
    check_every_failure(memory, "strided, transposed and generative convolution", [&] {
      auto const y = down(make(), exec);
      auto values = up(y, exec).features_on_host(exec);
      auto const grown = grow(y, exec).features_on_host(exec);
      values.insert(values.end(), grown.begin(), grown.end());
      return values;
    });
  }
}

TEST_CASE_TEMPLATE("convolution: a voxel that is there twice is refused at every call, strided or not", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto host = test::random_tensor<float>(60, 4, {0}, 8);
  host.coordinates[40] = host.coordinates[7];
  auto const x = test::upload_tensor<float>(host, exec);
  nn::Conv<3, float, Space> down{ConvOptions<3>(4, 6, 3).stride(2), exec};
  nn::Conv<3, float, Space> same{ConvOptions<3>(4, 6, 3), exec};
  for (auto* const layer : {&down, &down, &same, &down, &same}) {
    auto const error = test::error_of([&] { static_cast<void>((*layer)(x, exec).features_on_host(exec)); });
    CHECK(test::has(error, "two rows hold the same coordinate"));
  }
}
