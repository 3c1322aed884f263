// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/tensor/collate.hpp>

using namespace tessera;

TEST_CASE_TEMPLATE("sparse_collate: quantized clouds become one batch, features with their rows", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<SparseTensor<1, float, Space>> tensors;
  for (auto const& positions : {std::vector<float>{5, -2, 5}, std::vector<float>{}, std::vector<float>{7}}) {
    auto const matrix = upload_matrix(positions, 1, exec);
    auto voxels =
        sparse_quantize(PointsView<float>{matrix.view(), matrix.view()}, QuantizeOptions<1>(1.0F), exec);
    tensors.emplace_back(voxels.coordinates, std::move(voxels.features));
  }
  auto const all = sparse_collate(tensors, exec);
  CHECK(all.coordinates_on_host(exec) == std::vector<Coordinate<1>>{{0, {-2}}, {0, {5}}, {2, {7}}});
  CHECK(all.features_on_host(exec) == std::vector<float>{-2, 5, 7});
  CHECK(all.coordinates()->num_batches() == 3);

  auto const again = sparse_collate<1, float, Space>({all, all}, exec);
  CHECK(again.coordinates()->num_batches() == 6);
  CHECK(again.coordinates_on_host(exec).back() == Coordinate<1>{5, {7}});
}

TEST_CASE_TEMPLATE("sparse_collate: other channels, no coordinates and nothing at all are refused", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  using Tensor = SparseTensor<1, float, Space>;
  auto const with_channels = [&](std::int64_t channels) {
    return Tensor{make_coordinate_set(std::vector<Coordinate<1>>{{0, {1}}}, {}, exec),
                  Matrix<float, Space>{1, channels, exec}};
  };
  auto const error = [&](std::vector<Tensor> const& tensors) {
    return test::error_of([&] { static_cast<void>(sparse_collate(tensors, exec)); });
  };
  CHECK(error({with_channels(2), with_channels(3)}) == "sparse_collate: tensors of 2 and 3 channels");
  CHECK(error({Tensor{}}) == "collate: number 0 has no coordinates");
  CHECK(error({}) == "collate: nothing to put together");
}
