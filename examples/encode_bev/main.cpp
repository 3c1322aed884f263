// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// From LiDAR points to the bird's-eye view of a 3D detector; `encode_bev --help` says how it is used.
//
//   options.hpp            the command line
//   encode.hpp             points -> voxels -> sparse encoder -> dense map, for either space
//   host.cpp, device*.cu   that for the CPU, and for the GPU in each precision
//   picture.hpp            what the map looks like

#include "../support/program.hpp"
#include "encoding.hpp"
#include "picture.hpp"

#include <tessera/coords/voxel_options.hpp>
#include <tessera/io/convert.hpp>
#include <tessera/io/image.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/points/lidar_simulator.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace encode_bev {
namespace {

namespace ts = tessera;
using program::Clock;
using program::Failure;
using program::with_commas;

/// The points of a frame of the built-in scene, as the scanner of frame `seen_from` would place them.
ts::PointCloud simulated(ts::LidarOptions const& lidar, std::int64_t frame, std::int64_t seen_from)
{
  auto cloud = ts::simulate_lidar(lidar, frame);
  if (frame == seen_from) { return cloud; }
  auto const from = ts::ego_pose(lidar, frame);
  auto const to = ts::ego_pose(lidar, seen_from);
  double const c = std::cos(from.yaw);
  double const s = std::sin(from.yaw);
  double const c0 = std::cos(to.yaw);
  double const s0 = std::sin(to.yaw);
  for (std::size_t i = 0; i < cloud.positions.size(); i += 3) {
    auto* const p = cloud.positions.data() + i;
    double const x = c * p[0] - s * p[1] + from.x - to.x;
    double const y = s * p[0] + c * p[1] + from.y - to.y;
    p[0] = static_cast<float>(c0 * x + s0 * y);
    p[1] = static_cast<float>(c0 * y - s0 * x);
    p[2] = static_cast<float>(p[2] + from.z - to.z);
  }
  return cloud;
}

std::vector<ts::PointCloud> read_sweeps(Options const& options)
{
  std::vector<ts::PointCloud> sweeps;
  for (auto const& scan : options.scans) { sweeps.push_back(ts::read_point_cloud(scan, options.format)); }
  if (!sweeps.empty()) { return sweeps; }
  ts::LidarOptions lidar;
  lidar.seed = options.scene;
  for (int i = 0; i < options.sweeps; ++i) {
    sweeps.push_back(simulated(lidar, options.frame - i, options.frame));
  }
  return sweeps;
}

/// The number of channels out that a kernel in the checkpoint has; `absent` where there is none.
int channels_of(ts::Safetensors const& file, std::string const& name, std::size_t from_last, int absent,
                std::string const& path)
{
  constexpr std::int64_t most = 4096;
  if (!file.contains(name) || file.shape(name).size() < 2) { return absent; }
  auto const& shape = file.shape(name);
  auto const extent = shape[shape.size() - from_last];
  if (extent >= 1 && extent <= most) { return static_cast<int>(extent); }
  throw Failure{path + ": '" + name + "' is for " + std::to_string(extent) + " channels; 1 to " +
                std::to_string(most) + " are possible"};
}

/// `options` with the names and channels that the checkpoint's kernels have.
ts::models::SparseEncoderOptions with_channels(ts::models::SparseEncoderOptions options,
                                               ts::Safetensors const& file, std::string const& path)
{
  using ts::models::EncoderNames;
  auto const out_of = [&](std::string const& name, int absent) {
    return channels_of(file, name, 1, absent, path);
  };
  if (!file.contains("conv_input.0.weight")) {
    throw Failure{path + " is no checkpoint of such an encoder: it has no 'conv_input.0.weight'"};
  }
  bool const blocks = options.block_type == ts::models::EncoderBlock::basicblock;
  bool const det3d = file.contains("extra_conv.0.weight");
  options.names(det3d                               ? EncoderNames::det3d
                : file.contains("conv2.0.0.weight") ? EncoderNames::openpcdet
                                                    : EncoderNames::mmdet3d);
  options.biased_blocks(file.contains("conv1.0.conv1.bias") ||
                        file.contains("encoder_layers.encoder_layer1.0.conv1.bias"));
  options.in_channels = channels_of(file, "conv_input.0.weight", 2, options.in_channels, path);
  options.base_channels = out_of("conv_input.0.weight", options.base_channels);
  options.output_channels =
      out_of(det3d ? "extra_conv.0.weight" : "conv_out.0.weight", options.output_channels);
  int channels = options.base_channels;
  for (std::size_t i = 0; i < options.encoder_channels.size(); ++i) {
    auto& stage = options.encoder_channels[i];
    for (std::size_t j = 0; j < stage.size(); ++j) {
      auto const next = std::to_string(i + 2);
      auto const name = det3d ? "conv" + next
                        : options.part_names == EncoderNames::mmdet3d
                            ? "encoder_layers.encoder_layer" + std::to_string(i + 1) + "." + std::to_string(j)
                        : blocks ? "conv" + next + ".0"
                                 : "conv" + std::to_string(i + 1) + "." + std::to_string(j);
      bool const block = blocks && (j + 1 < stage.size() || i + 1 == options.encoder_channels.size());
      stage[j] = block ? channels : out_of(name + ".0.weight", stage[j]);  // blocks keep their channels
      channels = stage[j];
    }
  }
  return options;
}

/// x, y, z, intensity, and as fifth channel the age of the sweep; Waymo's is the elongation of the pulse.
std::vector<float> network_input(std::vector<ts::PointCloud> const& sweeps, Options const& options,
                                 int in_channels)
{
  if (in_channels < 3 || in_channels > 5) {
    throw Failure{"the network takes " + std::to_string(in_channels) +
                  " channels; those known are x, y, z, intensity and the age of a sweep"};
  }
  bool const ages = options.network != "second_waymo";
  std::vector<float> input;
  for (std::size_t k = 0; k < sweeps.size(); ++k) {
    auto const& cloud = sweeps[k];
    auto const age = static_cast<float>(options.sweep_interval * static_cast<double>(k));
    auto const channels = static_cast<std::size_t>(cloud.channels);
    auto const& names = cloud.feature_names;
    auto const named = std::find(names.begin(), names.end(), "intensity");
    auto const intensity = named == names.end() ? 0 : static_cast<std::size_t>(named - names.begin());
    for (std::size_t i = 0; i < static_cast<std::size_t>(cloud.size()); ++i) {
      auto const position = cloud.positions.begin() + static_cast<std::ptrdiff_t>(3 * i);
      input.insert(input.end(), position, position + 3);
      if (in_channels >= 4) {
        input.push_back(channels > intensity ? cloud.features[channels * i + intensity] : 0.0F);
      }
      if (in_channels == 5) {
        input.push_back(ages ? age : channels > 1 ? cloud.features[channels * i + 1] : 0.0F);
      }
    }
  }
  return input;
}

/// Names of the files to write; the folder exists afterwards.
struct OutputNames {
  std::string npy;
  std::string png;
};
OutputNames output_names(std::string const& output)
{
  auto const prefix = program::output_prefix(output, "bev");
  return {prefix + ".npy", prefix + ".png"};
}

/// Why there is no GPU; empty if there is one.
std::string absence()
{
#ifdef __CUDACC__
  return absence_of_device();
#else
  return "this program was built without CUDA";
#endif
}

/// The voxels that the network was trained with; det3d's are those of NVIDIA's samples.
ts::VoxelizeOptions voxels_of(Options const& options)
{
  auto voxels = ts::voxel_options(options.network == "det3d_centerpoint" ? "nvidia_0_075" : options.network);
  if (options.max_voxels) { voxels.voxels(*options.max_voxels); }
  return voxels;
}

std::string shown(std::vector<std::int64_t> const& shape)
{
  std::string text;
  for (auto const extent : shape) { text += (text.empty() ? "" : " x ") + std::to_string(extent); }
  return text;
}

void print(Task const& task, Encoding const& result, std::string const& weights, std::string const& source,
           program::Machine<Precision> const& machine, std::int64_t num_points, double read, double written)
{
  auto const& options = *task.options;
  std::printf("points    %s: %s\n", source.c_str(), with_commas(num_points).c_str());
  std::printf("network   %s, %d channels in, %d out, %s parameters\n", options.network.c_str(),
              task.network.in_channels, task.network.output_channels,
              with_commas(result.num_parameters).c_str());
  std::printf("weights   %s\n", weights.c_str());
  std::printf("device    %s, %s\n", result.device.c_str(), name_of(machine.precision));
  std::printf("voxels    %s of %g x %g x %g m, %s encoded\n", with_commas(result.num_voxels).c_str(),
              task.voxels.voxel_size[0], task.voxels.voxel_size[1], task.voxels.voxel_size[2],
              with_commas(result.num_encoded).c_str());
  std::printf("map       %s (%s), rows along %s\n", shown(result.shape).c_str(),
              options.channels_last ? "batch, row, column, channel" : "batch, channel, row, column",
              task.network.height_axis == 0 ? "y" : "x");
  program::print_times(task.repeat, read, result.stages, written);
}

void run(Options const& options)
{
  auto const machine = program::choose_machine(options.device, options.precision, absence);
  auto const names = output_names(options.output);

  Clock const reading;
  auto const sweeps = read_sweeps(options);
  double const read = reading.milliseconds();
  std::int64_t num_points = 0;
  for (auto const& sweep : sweeps) { num_points += sweep.size(); }

  auto network = ts::models::sparse_encoder_options(options.network);
  std::optional<ts::Safetensors> checkpoint;
  std::string weights = "random, seed " + std::to_string(options.seed) + ": the map means nothing";
  if (options.checkpoint.empty()) {
    network.width(options.width).seed(options.seed);
  } else {
    ts::io::ConvertOptions how;
    how.spconv_major(options.spconv_major);
    if (options.prefix) { how.prefix(*options.prefix); }
    auto converted = ts::io::convert_checkpoint(options.checkpoint, how);
    weights =
        options.checkpoint + (converted.prefix.empty() ? "" : ", names behind '" + converted.prefix + "'");
    checkpoint.emplace(std::move(converted.tensors));
    network = with_channels(network, *checkpoint, options.checkpoint);
  }
  if (machine.precision == Precision::tf32) {
    ts::ConvConfig config;
    config.math = ts::MathMode::tf32;
    network.config(config);
  }
  Task task{network_input(sweeps, options, network.in_channels),
            voxels_of(options),
            network,
            checkpoint ? &*checkpoint : nullptr,
            &options,
            options.repeat.value_or(machine.on_device ? 10 : 1)};

#ifdef __CUDACC__
  auto const result = machine.on_device ? encode_on_device(task, machine.precision) : encode_on_host(task);
#else
  auto const result = encode_on_host(task);
#endif

  Clock const writing;
  ts::write_npy(names.npy, ts::raw_tensor(result.map, result.shape));
  auto const norm = channel_norm(result.map, result.shape, options.channels_last);
  std::size_t const first = options.channels_last ? 1 : 2;
  auto const picture =
      draw_norm(norm, static_cast<int>(result.shape[first]), static_cast<int>(result.shape[first + 1]));
  ts::write_png(names.png, picture.width, picture.height, picture.rgb);
  double const written = writing.milliseconds();

  auto source = options.scans.empty() ? "built-in scene " + std::to_string(options.scene) + ", frame " +
                                            std::to_string(options.frame)
                                      : options.scans[0];
  if (sweeps.size() > 1) { source += " and " + std::to_string(sweeps.size() - 1) + " more"; }
  print(task, result, weights, source, machine, num_points, read, written);
  auto const filled = std::count_if(norm.begin(), norm.end(), [](float value) { return value > 0; });
  std::printf("\n%.1f %% of the cells are not empty\nwritten: %s, %s\n",
              100.0 * static_cast<double>(filled) / static_cast<double>(norm.size()), names.npy.c_str(),
              names.png.c_str());
}

}  // namespace
}  // namespace encode_bev

int main(int argc, char** argv)
{
  return program::run_program("encode_bev", argc, argv, encode_bev::parse_options, encode_bev::run);
}
