// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// The sparse encoder of a detector from its checkpoint: points to voxels to the bird's-eye view. No detector
// is at hand here, so the checkpoint is one written as mmdetection3d would, in spconv 2's layout.

#include <tessera/coords/voxel_options.hpp>
#include <tessera/data/lidar_simulator.hpp>
#include <tessera/io/convert.hpp>
#include <tessera/io/load.hpp>
#include <tessera/models/sparse_encoder.hpp>

#include <cstdio>
#include <filesystem>

namespace ts = tessera;

namespace {

/// x, y, z, intensity and age of the points of a simulated scan.
std::vector<float> simulated_points()
{
  ts::LidarOptions lidar;
  lidar.beams = 16;
  auto const cloud = ts::simulate_lidar(lidar);
  std::vector<float> points;
  for (std::size_t i = 0; i < static_cast<std::size_t>(cloud.size()); ++i) {
    for (std::size_t k = 0; k < 3; ++k) { points.push_back(cloud.positions[3 * i + k]); }
    points.push_back(cloud.features[i]);
    points.push_back(0);
  }
  return points;
}

/// A checkpoint as a detector saves it: the encoder behind a prefix, in spconv's layout.
void write_checkpoint(std::string const& path, ts::SparseEncoderOptions const& options,
                      ts::Execution<ts::Host> const& exec)
{
  ts::models::SparseEncoder<float, ts::Host> const trained{options, exec};
  auto const bare = path + ".bare";
  ts::io::save(trained, bare, ts::io::Krsc{}, exec);
  {
    ts::Safetensors const file{bare};
    std::vector<ts::NamedTensor> tensors;
    for (auto const& name : file.names()) {
      tensors.emplace_back("pts_middle_encoder." + name, file.tensor(name));
    }
    ts::write_safetensors(path, tensors);
  }
  std::filesystem::remove(bare);
}

}  // namespace

int main()
{
  ts::Execution<ts::Host> const exec;
  auto const path = (std::filesystem::temp_directory_path() / "tessera_detector.safetensors").string();
  auto const points = simulated_points();
  auto options = ts::models::centerpoint_0_075().width(0.5);
  write_checkpoint(path, ts::SparseEncoderOptions{options}.seed(7), exec);

  // [load]
  ts::models::SparseEncoder<float, ts::Host> encoder{options, exec};  // ts::models::centerpoint_0_075()
  auto const checkpoint = ts::io::convert_checkpoint(path);           // a .pth as well
  ts::io::load(encoder, checkpoint, exec);
  // [load]

  // [encode]
  auto const cloud = ts::upload_matrix(points, 5, exec);  // x, y, z, intensity, age in seconds
  auto voxels = ts::hard_voxelize(cloud, ts::voxel_options("centerpoint_0_075"), exec);
  ts::SparseTensor<3, float, ts::Host> const x{voxels.coordinates, std::move(voxels.mean)};
  auto const map = encoder.forward_bev(x, exec);  // [1, 2 * 64, 180, 180]
  // [encode]

  // The same weights without the detour through a file.
  ts::models::SparseEncoder<float, ts::Host> direct{ts::SparseEncoderOptions{options}.seed(7), exec};
  auto const expected = direct.forward_bev(x, exec);
  auto const values = ts::download(map.data(), map.size(), exec);
  bool const same = values == ts::download(expected.data(), expected.size(), exec);
  bool const shaped = map.shape() == std::vector<std::int64_t>{1, 128, 180, 180};
  std::printf("%s", checkpoint.text().substr(0, 200).c_str());
  std::filesystem::remove(path);
  if (!same || !shaped || checkpoint.prefix != "pts_middle_encoder.") {
    std::printf("the converted checkpoint does not compute what its network does\n");
    return 1;
  }
  std::printf("...\nok\n");
  return 0;
}
