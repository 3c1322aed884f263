// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// A checkpoint of TorchSparse in a network of Tessera. No PyTorch is at hand here, so the checkpoint is one
// that io::save() wrote in TorchSparse's layout.

#include <tessera/io/load.hpp>
#include <tessera/models/minkunet.hpp>

#include <cstdio>
#include <filesystem>

namespace ts = tessera;

namespace {

/// Whether offset number k of a 3x3x3 kernel lies in the file where TorchSparse keeps it: x fastest.
bool lies_as_torchsparse_says(ts::nn::ModuleBase const& net, std::string const& path)
{
  ts::Safetensors const file{path};
  for (auto const& parameter : net.parameters()) {
    if (parameter.name != "stem.0.kernel") { continue; }
    auto const stored = file.to_float(parameter.name);
    auto const* const ours = parameter.as<float, ts::Host>().data();
    auto const matrix = static_cast<std::size_t>(parameter.shape[1] * parameter.shape[2]);
    for (std::size_t x = 0; x < 3; ++x) {
      for (std::size_t y = 0; y < 3; ++y) {
        for (std::size_t z = 0; z < 3; ++z) {
          for (std::size_t i = 0; i < matrix; ++i) {
            auto const there = (x + 3 * y + 9 * z) * matrix + i;
            auto const here = (9 * x + 3 * y + z) * matrix + i;
            if (stored[there] != ours[here]) { return false; }
          }
        }
      }
    }
    return true;
  }
  return false;
}

}  // namespace

int main()
{
  ts::Execution<ts::Host> const exec;
  auto const path = (std::filesystem::temp_directory_path() / "tessera_load_checkpoint.safetensors").string();

  std::vector<ts::Coordinate<3>> voxels;
  for (int i = 0; i < 300; ++i) { voxels.push_back({0, {i % 20, i / 20, (i % 20 + i / 20) / 3}}); }
  std::vector<float> values(voxels.size() * 4);
  for (std::size_t i = 0; i < values.size(); ++i) { values[i] = static_cast<float>(i * 31 % 97) / 97; }
  ts::SparseTensor<3, float, ts::Host> const x{ts::make_coordinate_set(voxels, {}, exec),
                                               ts::upload_matrix(values, 4, exec)};

  // [network]
  ts::ConvConfig config;
  config.compat = ts::compat::torchsparse;  // the borders TorchSparse trained with
  ts::models::MinkUNet<3, float, ts::Host> net(ts::MinkUNetOptions(4, 19).width(0.25).config(config), exec);
  // [network]
  ts::models::MinkUNet<3, float, ts::Host> trained(
      ts::MinkUNetOptions(4, 19).width(0.25).config(config).seed(7), exec);

  // [save]
  ts::io::save(trained, path, ts::io::TorchSparse{}, exec);
  // [save]

  // [load]
  auto const report = ts::io::load(net, path, ts::io::TorchSparse{}, exec);
  for (auto const& name : report.unused) { std::printf("not used: %s\n", name.c_str()); }
  // [load]

  bool const same_layout = lies_as_torchsparse_says(trained, path);
  bool const same_output = net(x, exec).features_on_host(exec) == trained(x, exec).features_on_host(exec);
  bool const all_used = report.unused.empty() && report.loaded.size() == net.parameters().size();

  bool refused = false;
  try {
    ts::io::load(net, path, ts::io::TorchSparse{}, exec, ts::LoadOptions().prefix("backbone."));
  } catch (ts::invalid_argument const& error) {
    std::puts(error.what());  // names what the file lacks; the network is as it was
    refused = true;
  }
  std::filesystem::remove(path);
  bool const good = same_layout && same_output && all_used && refused;
  std::puts(good ? "ok" : "FAILED");
  return good ? 0 : 1;
}
