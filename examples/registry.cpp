// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Layers by name: a configuration as mmdetection3d writes it, blocks made of it, and a layer of one's own.

#include <tessera/tessera.hpp>

#include <cmath>
#include <cstdio>
#include <memory>

namespace ts = tessera;

namespace {

// [own]
/// `x / largest`, on the host.
class Scale final : public ts::nn::Module<3, float, ts::Host> {
 public:
  explicit Scale(double largest) : factor_{1 / largest} {}

  [[nodiscard]] Tensor forward(Tensor const& x, ts::Execution<ts::Host> const& exec) override
  {
    auto features = ts::download(x.features().data, x.features().size(), exec);
    for (auto& value : features) { value = static_cast<float>(factor_ * value); }
    return x.with_features(ts::upload_matrix(features, x.channels(), exec));
  }

 private:
  double factor_;
};

std::unique_ptr<ts::nn::Module<3, float, ts::Host>> make_scale(ts::nn::LayerConfig const& config,
                                                               ts::Execution<ts::Host> const&)
{
  config.expect_only({"largest"});
  return std::make_unique<Scale>(config.require<double>("largest"));
}

// in any source file of the program
bool const registered = [] {
  ts::nn::layer_registry<3, float, ts::Host>().add("Scale", make_scale);
  return true;
}();
// [own]

/// A cloud of a 40 x 40 x 10 grid, batch of 1.
ts::SparseTensor<3, float, ts::Host> cloud(ts::Execution<ts::Host> const& exec)
{
  std::vector<ts::Coordinate<3>> rows;
  std::vector<float> features;
  for (int i = 0; i < 40; ++i) {
    for (int j = 0; j < 40; j += 2) {
      rows.push_back({0, {i, j, (i + j) % 10}});
      features.insert(features.end(), {std::sin(0.1F * static_cast<float>(i)), 1.0F});
    }
  }
  ts::CoordinateSetOptions<3> options;
  options.spatial_range = ts::SpatialRange<3>{1, {40, 40, 10}};
  return {ts::make_coordinate_set(rows, options, exec), ts::upload_matrix(features, 2, exec)};
}

}  // namespace

int main()
{
  ts::Execution<ts::Host> const exec;
  auto const x = cloud(exec);

  // [json]
  auto const configs = ts::io::parse_layer_configs(R"([
    {"type": "SubMConv3d", "in_channels": 2, "out_channels": 16, "kernel_size": 3, "indice_key": "subm1"},
    {"type": "BN1d", "num_features": 16, "eps": 1e-3, "momentum": 0.01},
    {"type": "ReLU"},
    {"type": "SparseConv3d", "in_channels": 16, "out_channels": 32, "kernel_size": 3, "stride": 2,
     "padding": [1, 1, 0], "bias": false, "indice_key": "spconv2"},
    {"type": "SparseInverseConv3d", "in_channels": 32, "out_channels": 16, "kernel_size": 3,
     "indice_key": "spconv2"},
    {"type": "Scale", "largest": 4.0}
  ])");
  ts::nn::Sequential<3, float, ts::Host> net;
  for (auto const& config : configs) { net.append(ts::nn::build_layer<3, float>(config, exec)); }
  auto const y = net(x, exec);  // on the voxels of x again
  // [json]

  // [blocks]
  using Options = ts::ConvModuleOptions<3>;
  auto const stem =
      ts::nn::make_sparse_convmodule<3, float>(Options(2, 16, 3), exec);  // SubMConv3d, BN1d, relu
  auto const down = ts::nn::make_sparse_convmodule<3, float>(
      Options(16, 32, 3).type("SparseConv3d").stride(2).padding(1), exec);
  ts::nn::SparseBasicBlock<3, float, ts::Host> block(ts::SparseBlockOptions<3>(32, 32).activation("swish"),
                                                     exec);
  auto const z = block(down->forward(stem->forward(x, exec), exec), exec);
  // [blocks]

  // [migration]
  ts::nn::LayerConfig config("SubMConv3d");
  config.set("bias", false).set("indice_key", "subm1");
  auto const spconv = ts::nn::build_conv_layer<3, float>(config, 2, 16, 3, 1, 1, exec);
  config.type("TorchSparseConv3d");
  auto const torchsparse = ts::nn::build_conv_layer<3, float>(config, 2, 16, 3, 1, 1, exec);
  // [migration]

  bool const restored = y.coordinates() == x.coordinates() && y.channels() == 16;
  bool const halved =
      z.channels() == 32 && z.coordinates()->spatial_range()->extent == ts::IntArray<3>{20, 20, 5};
  bool const same =
      spconv->forward(x, exec).features_on_host(exec) == torchsparse->forward(x, exec).features_on_host(exec);
  bool const good = registered && restored && halved && same;
  std::puts(good ? "ok" : "FAILED");
  return good ? 0 : 1;
}
