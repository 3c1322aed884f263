// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "golden_networks.hpp"

#ifdef __CUDACC__
#include <tessera/core/detail/scan.cuh>
#include <tessera/core/detail/sort.cuh>
#endif
#include <tessera/models/spvcnn.hpp>
#include <tessera/nn/fuse.hpp>

#include <algorithm>

namespace {

namespace ts = tessera;

constexpr golden_networks::Tolerance in_float{1e-4, 0.999999};

/// What the file holds of an SPVCNN, whatever its width and input.
struct Recorded {
  ts::Safetensors file;
  ts::detail::Json config = test::golden_config(file, "config");

  [[nodiscard]] ts::SPVCNNOptions options(ts::Compatibility compat) const
  {
    REQUIRE(recorded_network::model(config) == "SPVCNN");
    ts::ConvConfig conv;
    conv.compat = compat;
    return ts::SPVCNNOptions(recorded_network::integer(config, "in_channels"),
                             recorded_network::integer(config, "num_classes"))
        .width(recorded_network::number(config, "width"))
        .voxel_size(static_cast<float>(recorded_network::number(config, "pres")),
                    static_cast<float>(recorded_network::number(config, "vres")))
        .config(conv);
  }

  template <class Scalar, class Space>
  [[nodiscard]] ts::PointTensor<3, Scalar, Space> points(ts::Execution<Space> const& exec) const
  {
    auto const positions = file.to_float("input.coords");
    std::vector<Scalar> features;
    for (auto const value : file.to_float("input.feats")) { features.push_back(static_cast<Scalar>(value)); }
    int batches = 1;
    for (std::size_t i = 0; i < positions.size(); i += 4) {
      batches = std::max(batches, 1 + static_cast<int>(positions[i]));
    }
    return {std::make_shared<ts::PointSet<3, Space>>(ts::upload_matrix(positions, 4, exec), batches),
            ts::upload_matrix(features, file.shape("input.feats").back(), exec)};
  }
};

template <class Scalar, class Space>
void check_spvcnn(golden_networks::Tolerance const& tolerance)
{
  auto const path = test::data_file("golden/spvcnn_semkitti.safetensors");
  if (!path || test::skipped<Space>() || test::skipped_as_large()) { return; }
  Recorded const recorded{ts::Safetensors{*path}};
  ts::Execution<Space> const exec{};
  ts::models::SPVCNN<3, Scalar, Space> network{recorded.options(ts::compat::torchsparse), exec};
  auto const report = ts::io::load(network, recorded.file, ts::io::TorchSparse{}, exec,
                                   ts::LoadOptions().prefix("param.").strict());
  CHECK(report.loaded.size() == network.parameters().size());
  auto const z = recorded.points<Scalar>(exec);
  auto const logits = network(z, exec);
  golden_networks::check_close(logits.features_on_host(exec), recorded.file.to_float("output.logits"),
                               tolerance);
  CHECK(network(z, exec).features_on_host(exec) == logits.features_on_host(exec));

  auto const fused = ts::nn::fuse(network, z, exec);
  golden_networks::check_close(fused(z, exec).features_on_host(exec), recorded.file.to_float("output.logits"),
                               golden_networks::of_fused(tolerance));
}

}  // namespace

TEST_CASE_TEMPLATE("SPVCNN: TorchSparse's logits of points are reproduced in float", Space,
                   TESSERA_TEST_SPACES)
{
  check_spvcnn<float, Space>(in_float);
}

#ifdef __CUDACC__
TEST_CASE("SPVCNN: TorchSparse's logits of points are reproduced in half on the device")
{
  check_spvcnn<__half, ts::Device>({1e-2, 0.9999});
}

TEST_CASE("SPVCNN: float on the device agrees with the host on a small cloud")
{
  if (test::skipped<ts::Device>()) { return; }
  auto const options = ts::SPVCNNOptions(4, 19).width(0.25).voxel_size(0.1F, 0.2F).seed(6);
  ts::Execution<ts::Host> const host;
  ts::models::SPVCNN<3, float, ts::Host> reference{options, host};
  auto const x = random_networks::input<3>(golden_networks::small_cloud, 2, 4, host);
  ts::nn::calibrate(reference, x, host);

  ts::Execution<ts::Device> const exec{};
  ts::models::SPVCNN<3, float, ts::Device> network{options, exec};
  random_networks::copy_statistics(reference, network, exec);
  auto const y = network.forward(random_networks::input<3>(golden_networks::small_cloud, 2, 4, exec), exec);
  golden_networks::check_close(y.features_on_host(exec), reference.forward(x, host).features_on_host(host),
                               in_float);
}
#endif

TEST_CASE_TEMPLATE("SPVCNN: without TorchSparse's rule only the mean of voxel 0 is another", Space,
                   TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/spvcnn_semkitti.safetensors");
  if (!path || test::skipped<Space>() || test::skipped_as_large()) { return; }
  Recorded const recorded{ts::Safetensors{*path}};
  ts::Execution<Space> const exec{};
  auto const options = recorded.options(ts::compat::torchsparse);
  auto made =
      ts::initial_voxelize(recorded.points<float>(exec), options.point_unit(), options.voxel_size(), exec);
  ts::nn::Conv<3, float, Space> down{
      ts::ConvOptions<3>(options.in_channels, options.in_channels, 2).stride(2).config(*options.config()),
      exec};
  auto x = made.voxels;
  for (int stride = 1; stride <= 16; stride *= 2) {
    CAPTURE(stride);
    auto const& set = x.coordinates();
    auto const map =
        made.points.points()->map_to(set, ts::PointCells::containing, ts::Compatibility::none, exec);
    auto const rows = ts::download(map->rows(), map->num_points(), exec);
    auto const missing = std::count(rows.begin(), rows.end(), -1);
    CHECK((missing == 0) ==
          (stride == 1));  // the finest voxels are of these points; the border rule loses some
    auto const own = ts::point_to_voxel(made.points, set, exec).features_on_host(exec);
    auto const theirs =
        ts::point_to_voxel(made.points, set, exec, ts::compat::torchsparse).features_on_host(exec);
    auto const channels = static_cast<std::ptrdiff_t>(options.in_channels);
    CHECK(std::equal(own.begin() + channels, own.end(), theirs.begin() + channels, theirs.end()));
    CHECK(std::equal(own.begin(), own.begin() + channels, theirs.begin()) == (missing == 0));
    x = down.forward(x, exec);
  }
}
