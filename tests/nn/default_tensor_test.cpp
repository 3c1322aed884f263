// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What becomes of a tensor that was declared and never assigned to.

#include "../support/device.hpp"
#include "../support/files.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/calibrate.hpp>
#include <tessera/nn/dropout.hpp>
#include <tessera/nn/group_norm.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/nn/sparse_pooling.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/ops/dense.hpp>
#include <tessera/tensor/collate.hpp>

#include <string>

using namespace tessera;

TEST_CASE_TEMPLATE("default-made tensor: has no rows and no channels, and can be copied", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  SparseTensor<2, float, Space> const x;
  auto const copy = x;  // NOLINT(performance-unnecessary-copy-initialization)
  CHECK(copy.num_rows() == 0);
  CHECK(copy.channels() == 0);
  CHECK(copy.coordinates() == nullptr);
  CHECK(copy.features().data == nullptr);
  CHECK(copy.features().size() == 0);
  CHECK(copy.tensor_stride() == IntArray<2>(1));
  CHECK(copy.features_on_host(exec).empty());
  CHECK(copy.coordinates_on_host(exec).empty());
}

TEST_CASE_TEMPLATE("default-made tensor: everything that would compute from it refuses it", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  using Tensor = SparseTensor<2, float, Space>;
  Tensor const x;
  float const* const none = nullptr;
  auto const refused = [&](std::string const& who, auto const& action) {
    CAPTURE(who);
    CHECK(test::error_of([&] { static_cast<void>(action()); }) == who + ": the tensor has no coordinates");
  };
  refused("relu", [&] { return relu(x, exec); });
  refused("leaky_relu", [&] { return leaky_relu(x, 0.1, exec); });
  refused("silu", [&] { return silu(x, exec); });
  refused("sigmoid", [&] { return sigmoid(x, exec); });
  refused("tanh", [&] { return tanh(x, exec); });
  refused("gelu", [&] { return gelu(x, exec); });
  refused("dropout", [&] { return dropout(x, 0.5, 1, exec); });
  refused("batch_norm", [&] { return batch_norm(x, none, none, none, none, 1e-5, exec); });
  refused("group_norm", [&] { return group_norm(x, 1, none, none, 1e-5, exec); });
  refused("add", [&] { return add(x, x, exec); });
  refused("cat", [&] { return cat({x, x}, exec); });
  refused("multiply", [&] { return multiply(x, x, exec); });
  refused("add_by_coordinate", [&] { return add_by_coordinate({x, x}, Join::outer, exec); });
  refused("multiply_by_coordinate", [&] { return multiply_by_coordinate({x, x}, Join::inner, exec); });
  refused("cat_by_coordinate", [&] { return cat_by_coordinate({x, x}, Join::left, exec); });
  refused("linear", [&] { return linear(x, none, none, 2, MathMode::exact, exec); });
  refused("global_average_pool", [&] { return global_average_pool(x, exec); });
  refused("global_max_pool", [&] { return global_max_pool(x, exec); });
  refused("dense", [&] { return dense(x, exec); });
  refused("max_pool", [&] { return max_pool(x, PoolOptions<2>(2), exec); });
  refused("convolution", [&] {
    return convolution(x, none, none, 2, ConvolutionKind::submanifold, ConvolutionGeometry<2>{}, ConvConfig{},
                       exec);
  });
  DenseTensor<2, float, Space> const grid{{1, {2, 2}}, 3, DenseLayout::channels_last, exec};
  refused("gather_from_dense", [&] { return gather_from_dense(x, grid, exec); });
  CHECK(test::error_of([&] {
          (void)sparse_collate<2, float, Space>({x, x}, exec);
        }) == "collate: number 0 has no coordinates");
  CHECK(test::has(test::error_of([&] { (void)x.with_features(Matrix<float, Space>{}); }), "no coordinates"));

  refused("relu", [&] { return nn::ReLU<2, float, Space>{}(x, exec); });
  refused("global_max_pool", [&] { return nn::GlobalMaxPool<2, float, Space>{}(x, exec); });
  nn::Dropout<2, float, Space> drop;
  CHECK(drop(x, exec).coordinates() == nullptr);  // in evaluation it gives back what it gets
  drop.train();
  refused("dropout", [&] { return drop(x, exec); });
  auto const channels = [&](std::string const& who, auto& layer) {
    CAPTURE(who);
    CHECK(
        test::has(test::error_of([&] { (void)layer(x, exec); }), who + ": the tensor has 0 channels but 3"));
  };
  nn::BatchNorm<2, float, Space> batch{3, exec};
  nn::GroupNorm<2, float, Space> group{3, 3, exec};
  nn::Linear<2, float, Space> linear_layer{LinearOptions(3, 2), exec};
  nn::SparseConvBlock<2, float, Space> block{ConvOptions<2>(3, 2, 3), exec};
  channels("BatchNorm", batch);
  channels("GroupNorm", group);
  channels("Linear", linear_layer);
  channels("Conv", block);
  CHECK_FALSE(test::error_of([&] { nn::calibrate(block, x, exec); }).empty());
  CHECK_FALSE(block.is_training());
}
