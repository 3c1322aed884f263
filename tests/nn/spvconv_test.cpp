// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/spvconv.hpp>

#include <memory>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

/// 300 points in 2 batch entries, positions in units of 0.1.
template <class Space>
PointTensor<3, float, Space> cloud(Execution<Space> const& exec)
{
  std::mt19937 random{21};
  std::vector<float> positions;
  std::vector<float> features;
  for (int i = 0; i < 300; ++i) {
    positions.push_back(static_cast<float>(i % 2));
    for (int a = 0; a < 3; ++a) { positions.push_back(static_cast<float>(random() % 1000) / 100); }
    for (int c = 0; c < 4; ++c) { features.push_back(static_cast<float>(random() % 200) / 100 - 1); }
  }
  return {std::make_shared<PointSet<3, Space>>(upload_matrix(positions, 4, exec), 2),
          upload_matrix(features, 4, exec)};
}

}  // namespace

TEST_CASE_TEMPLATE("SPVConv: points receive what the voxels' branch makes of them and what their own does",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const made = initial_voxelize(cloud(exec), 0.1F, 0.2F, exec);
  auto const& voxels = made.voxels;
  auto const options = ConvOptions<3>(4, 8, 3).seed(3);
  nn::SPVConv<3, float, Space> block{options, exec};
  CHECK(block.parameters().front().name == "voxel_branch.0.kernel");
  CHECK(block.parameters().back().name == "point_branch.1.running_var");
  auto const found = block.forward(made.points, voxels, exec);

  nn::SparseConvBlock<3, float, Space> voxel_branch{options, exec};
  nn::PointTransform<3, float, Space> point_branch{LinearOptions(4, 8).seed(5), exec};
  auto const from_voxels = voxel_to_point(
      voxel_branch.forward(point_to_voxel(made.points, voxels, exec), exec), made.points, exec);
  auto const from_points = point_branch.forward(made.points, exec);
  CHECK(found.points() == made.points.points());
  CHECK(test::same_bits(found.features_on_host(exec),
                        add(from_voxels, from_points, exec).features_on_host(exec)));

  CHECK_THROWS_WITH_AS(static_cast<void>(add(from_points, made.points, exec)),
                       "add: tensors on different points, or of 8 and 4 channels", invalid_argument);
  CHECK_THROWS_AS((nn::SPVConv<3, float, Space>{nullptr, LinearOptions(4, 8), exec}), invalid_argument);
}

TEST_CASE_TEMPLATE("SPVConv: any module is a voxels' branch, on a coarser set too", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const made = initial_voxelize(cloud(exec), 0.1F, 0.2F, exec);
  auto branch = std::make_unique<nn::Sequential<3, float, Space>>();
  branch->template add<nn::SparseConvBlock<3, float, Space>>(ConvOptions<3>(4, 6, 2).stride(2), exec);
  branch->template add<nn::SparseResBlock<3, float, Space>>(ConvOptions<3>(6, 6, 3), exec);
  nn::SPVConv<3, float, Space> block{std::move(branch), LinearOptions(4, 6), exec};
  auto const first = block.forward(made.points, made.voxels, exec);
  CHECK(first.channels() == 6);
  // a second block on the points of the first
  nn::SPVConv<3, float, Space> next{ConvOptions<3>(6, 6, 3), exec};
  auto const second = next.forward(first, made.voxels, exec);
  CHECK(second.num_points() == 300);
  auto const bits = second.features_on_host(exec);
  CHECK(test::same_bits(bits, next.forward(first, made.voxels, exec).features_on_host(exec)));
}

TEST_CASE_TEMPLATE("points_of_voxels: lower corners in voxels of the finest grid", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CoordinateSetOptions<3> options;
  options.tensor_stride = {2, 1, 4};
  std::vector<Coordinate<3>> const rows{{1, {3, -2, 5}}, {0, {0, 0, 0}}};
  SparseTensor<3, float, Space> const x{make_coordinate_set(rows, options, exec),
                                        upload_matrix(std::vector<float>{7, 8}, 1, exec)};
  auto const z = points_of_voxels(x, exec);
  auto const view = z.points()->positions();
  CHECK(download(view.data, view.size(), exec) == std::vector<float>{1, 6, -2, 20, 0, 0, 0, 0});
  CHECK(z.points()->num_batches() == 2);
  // back again: each point is in its voxel
  CHECK(point_to_voxel(z, x, exec).features_on_host(exec) == std::vector<float>{7, 8});
  CHECK(voxel_to_point(x, z, exec, Interpolation::nearest).features_on_host(exec) ==
        std::vector<float>{7, 8});
}
