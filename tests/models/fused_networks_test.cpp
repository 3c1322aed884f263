// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Every network as the list of its operations: traced on one cloud, it gives its bits on another, and fused what
// rounding explains, without norms.

#include "../support/device.hpp"
#include "../support/difference.hpp"
#include "random_networks.hpp"

#include <tessera/models/minkunet_backbone.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/models/sparse_resnet21d.hpp>
#include <tessera/models/sparse_resunet42.hpp>
#include <tessera/models/sparse_unet.hpp>
#include <tessera/models/spvcnn.hpp>
#include <tessera/models/spvnas.hpp>
#include <tessera/models/spvnas_search.hpp>
#include <tessera/nn/calibrate.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/plan/forward_bev.hpp>
#include <tessera/plan/forward_voxels.hpp>

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

using namespace tessera;

namespace {

template <class Value, class Space>
void append(std::vector<float>& to, Value const& value, Execution<Space> const& exec)
{
  auto const values = value.features_on_host(exec);
  to.insert(to.end(), values.begin(), values.end());
}
template <int Dim, class Space>
void append(std::vector<float>& to, DenseTensor<Dim, float, Space> const& map, Execution<Space> const& exec)
{
  auto const values = download(map.data(), map.size(), exec);
  to.insert(to.end(), values.begin(), values.end());
}
template <class Value, std::size_t N, class Space>
void append(std::vector<float>& to, std::array<Value, N> const& values, Execution<Space> const& exec)
{
  for (auto const& value : values) { append(to, value, exec); }
}
template <class Space>
void append(std::vector<float>& to, models::SparseUNetOutput<float, Space> const& values,
            Execution<Space> const& exec)
{
  append(to, values.encoded, exec);
  append(to, values.decoded, exec);
}

/// All values that a model puts out.
template <class Model, class Input, class Space>
std::vector<float> output_of(Model& model, Input const& x, Execution<Space> const& exec)
{
  std::vector<float> result;
  append(result, model.forward(x, exec), exec);
  return result;
}

/// @param first  what it is traced with
template <class Model, class Input, class Space>
void check_fused(Model& model, Input const& first, Input const& x, Execution<Space> const& exec)
{
  auto const expected = output_of(model, x, exec);
  REQUIRE(test::magnitude(expected) > 0);
  auto traced = nn::trace(model, first, exec);
  CHECK(output_of(traced, x, exec) == expected);
  nn::fuse(traced, exec);
  for (auto const& operation : traced.operations()) {
    std::string const name = operation->name();
    CAPTURE(name);
    CHECK(name != "batch_norm");
    CHECK(name != "relu");
    CHECK(name != "add_activate");
  }
  CHECK(test::largest_difference(output_of(traced, x, exec), expected) <
        1e-4 * (1 + test::magnitude(expected)));
  CHECK(output_of(model, x, exec) == expected);
}

/// A wavy surface, the height last or first, in a grid or none.
template <class Space>
SparseTensor<3, float, Space> cloud(int size, int channels, bool height_first,
                                    CoordinateSetOptions<3> const& options, Execution<Space> const& exec)
{
  auto rows = random_networks::surface<3>(size, 1);
  for (auto& row : rows) {
    if (height_first) { row.position = {row.position[2], row.position[0], row.position[1]}; }
  }
  std::mt19937 random{7};
  std::uniform_real_distribution<float> uniform{-1, 1};
  std::vector<float> features(rows.size() * static_cast<std::size_t>(channels));
  for (auto& value : features) { value = uniform(random); }
  return {make_coordinate_set(rows, options, exec), upload_matrix(features, channels, exec)};
}

template <class Space>
SparseTensor<3, float, Space> open_cloud(int size, Execution<Space> const& exec)
{
  return cloud(size, 4, false, {}, exec);
}

}  // namespace

TEST_CASE_TEMPLATE("fuse: U-Nets and residual networks of voxels", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const first = open_cloud(8, exec);
  auto const x = open_cloud(18, exec);
  models::SparseResUNet42<3, float, Space> unet{BackboneOptions(4).width(0.5), exec};
  check_fused(unet, first, x, exec);
  models::SparseResNet21D<3, float, Space> resnet{BackboneOptions(4).width(0.5), exec};
  check_fused(resnet, first, x, exec);
  for (auto const backend : {models::SparseBackend::torchsparse, models::SparseBackend::spconv}) {
    models::MinkUNetBackbone<float, Space> backbone{
        MinkUNetBackboneOptions(4).backend(backend).base(8).encoder({8, 16}, {1, 2}).decoder({16, 8}, {2, 1}),
        exec};
    CoordinateSetOptions<3> options;  // spconv's networks go up to a range
    options.spatial_range = SpatialRange<3>{1, {32, 32, 32}};
    check_fused(backbone, cloud(8, 4, false, options, exec), cloud(18, 4, false, options, exec), exec);
  }
}

TEST_CASE_TEMPLATE("fuse: encoders of detectors, their dense maps, and Part-A2's U-Net", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  IntArray<3> const shape{41, 32, 32};
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, shape};
  auto const first = cloud(6, 5, true, options, exec);
  auto const x = cloud(20, 5, true, options, exec);
  models::SparseEncoder<float, Space> encoder{models::centerpoint(shape).width(0.5), exec};
  check_fused(encoder, first, x, exec);
  auto map = forward_bev(encoder);
  check_fused(map, first, x, exec);
  auto in_four = SparseUNetOptions{SparseEncoderOptions(5, shape)};
  models::SparseUNet<float, Space> unet{in_four, exec};
  check_fused(unet, first, x, exec);
}

TEST_CASE_TEMPLATE("fuse: networks of points and voxels", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const first = open_cloud(8, exec);
  auto const x = open_cloud(18, exec);
  models::SPVCNN<3, float, Space> spvcnn{SPVCNNOptions(4, 5).width(0.25), exec};
  check_fused(spvcnn, first, x, exec);
  check_fused(spvcnn, points_of_voxels(first, exec), points_of_voxels(x, exec), exec);
  auto voxels = forward_voxels(spvcnn);
  check_fused(voxels, first, x, exec);
  auto const config = models::smallest(models::SPVNASSpace(4, 5));
  models::SPVNAS<3, float, Space> spvnas{config, exec};
  check_fused(spvnas, open_cloud(8, exec), x, exec);
}
