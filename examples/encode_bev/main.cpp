// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// From LiDAR points to the bird's-eye view of a 3D detector; `encode_bev --help` says how it is used.
//
//   options.hpp            the command line
//   encode.hpp             points -> voxels -> sparse encoder -> dense map, for either space
//   host.cpp, device*.cu   that for the CPU, and for the GPU in each precision
//   left_out.hpp           what grid and caps leave out
//   picture.hpp            what the map looks like

#include "../support/gpu.hpp"
#include "../support/network_input.hpp"
#include "../support/picture_file.hpp"
#include "../support/points.hpp"
#include "../support/program.hpp"
#include "../support/times.hpp"
#include "encoding.hpp"
#include "left_out.hpp"
#include "picture.hpp"

#include <tessera/coords/voxel_options.hpp>
#include <tessera/data/lidar_simulator.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/io/safetensors.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace encode_bev {
namespace {

namespace ts = tessera;
using program::Clock;
using program::counted;
using program::Failure;
using program::print_note;
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
  auto read = options.read;
  for (auto const& scan : options.scans) {
    sweeps.push_back(ts::read_point_cloud(scan, read));
    if (sweeps.front().has_origin()) { read.origin = sweeps.front().origin; }  // one for all
  }
  if (!sweeps.empty()) { return sweeps; }
  ts::LidarOptions lidar;
  lidar.seed = options.scene;
  for (int i = 0; i < options.sweeps; ++i) {
    sweeps.push_back(simulated(lidar, options.frame - i, options.frame));
  }
  return sweeps;
}

/// The sweeps one after the other, each with its age.
std::vector<float> network_input(std::vector<ts::PointCloud> const& sweeps, Options const& options,
                                 std::string const& network, int in_channels, double intensity_scale)
{
  std::vector<float> input;
  for (std::size_t k = 0; k < sweeps.size(); ++k) {
    auto const age = static_cast<float>(options.sweep_interval * static_cast<double>(k));
    program::append_input(
        program::detector_channels(sweeps[k], in_channels, intensity_scale, network == "second_waymo", age),
        sweeps[k], input);
  }
  return input;
}

/// Names of the files to write; the folder exists afterwards.
struct OutputNames {
  std::string npy;
  std::string picture;
};
OutputNames output_names(Options const& options)
{
  auto const prefix = program::output_prefix(options.output, "bev");
  program::expect_folder_of(options.voxel_features, "--voxel-features");
  return {prefix + ".npy", prefix + program::picture_extension()};
}

Encoding encode_on(program::Machine const& machine, Task const& task)
{
#ifdef __CUDACC__
  if (machine.on_device) { return encode_on_device(task, machine.precision); }
#endif
  static_cast<void>(machine);
  return encode_on_host(task);
}

std::string shown(std::vector<std::int64_t> const& shape)
{
  std::string text;
  for (auto const extent : shape) { text += (text.empty() ? "" : " x ") + std::to_string(extent); }
  return text;
}

void print_points(Options const& options, std::vector<ts::PointCloud> const& sweeps)
{
  auto source = options.scans.empty() ? "built-in scene " + std::to_string(options.scene) + ", frame " +
                                            std::to_string(options.frame)
                                      : options.scans[0];
  if (sweeps.size() > 1) { source += " and " + std::to_string(sweeps.size() - 1) + " more"; }
  std::int64_t num_points = 0;
  for (auto const& sweep : sweeps) { num_points += sweep.size(); }
  std::printf("points    %s: %s\n", program::printable(source).c_str(),
              counted(num_points, "point", "points").c_str());
  program::print_origin(sweeps.front());
  std::fflush(stdout);
}

void print_weights(Options const& options, NetworkShape const& network, Weights const* weights)
{
  program::print_weights(options, weights == nullptr ? nullptr : &weights->checkpoint, "", "map means");
  if (weights == nullptr) { return; }
  if (!options.network && weights->fitting.size() > 1) {
    print_note("the checkpoint fits " + program::bev::joined(weights->fitting) +
               ", which differ in voxels and grid; " + network.name + " is taken, --network says otherwise");
  }
  if (options.network &&
      std::find(weights->fitting.begin(), weights->fitting.end(), network.name) == weights->fitting.end()) {
    print_note("the checkpoint fits " + program::bev::joined(weights->fitting, " or ") +
               " better, by its names and channels");
  }
  program::print_conversion_note(weights->checkpoint);
}

/// What does not go into the network as it is in the files.
void print_notes_on_points(Task const& task, std::vector<ts::PointCloud> const& sweeps,
                           double intensity_scale)
{
  auto const& name = task.network.name;
  int const in_channels = task.network.encoder.in_channels;
  std::vector<std::string> told;
  for (auto const& sweep : sweeps) {
    auto notes = in_channels >= 4 ? program::notes_on_intensity(sweep, intensity_scale,
                                                                program::bev::highest_intensity(name))
                                  : std::vector<std::string>{};
    if (in_channels == 5 && name == "second_waymo" && program::channel_named(sweep, "elongation") < 0 &&
        !sweep.empty()) {
      notes.emplace_back("the points have no channel 'elongation'; the network gets 0 instead");
    }
    for (auto const& note : notes) {
      if (std::find(told.begin(), told.end(), note) == told.end()) {
        print_note(note);
        told.push_back(note);
      }
    }
  }
}

void print_voxels(Task const& task, Encoding const& result, LeftOut const& lost)
{
  auto const& voxels = task.voxels;
  std::printf("voxels    %s of %g x %g x %g m\n", with_commas(result.num_voxels).c_str(),
              voxels.voxel_size[0], voxels.voxel_size[1], voxels.voxel_size[2]);
  if (lost.outside > 0) {
    std::printf("          %s outside of the grid, %g to %g, %g to %g, %g to %g m\n",
                counted(lost.outside, "point is", "points are").c_str(), voxels.range_lower[0],
                voxels.range_upper[0], voxels.range_lower[1], voxels.range_upper[1], voxels.range_lower[2],
                voxels.range_upper[2]);
  }
  if (lost.beyond_a_voxel > 0) {
    std::printf("          %s left out: a voxel keeps its first %d\n",
                counted(lost.beyond_a_voxel, "point is", "points are").c_str(), voxels.points_per_voxel());
  }
  if (lost.voxels > 0) {
    print_note("the cap of " + counted(voxels.voxels(), "voxel", "voxels") +
               " binds: " + counted(lost.voxels, "more is", "more are") + " left out, with " +
               counted(lost.points_of_voxels, "point", "points") + "; --max-voxels raises it");
  }
  std::printf("output    %s, the voxels that have features after the last layer\n",
              counted(result.num_sites, "site", "sites").c_str());
  std::printf("map       %s (%s), rows along %s\n", shown(result.shape).c_str(),
              task.options->channels_last ? "batch, row, column, channel" : "batch, channel, row, column",
              task.network.encoder.axis() == 0 ? "y" : "x");
}

void print_times(Task const& task, Encoding const& result, bool on_device, double read, double written)
{
  program::TimesReport report{task.repeat, read, written};
  report.stages = result.stages;
  if (result.planned) {
    char what[200];
    std::snprintf(
        what, sizeof(what),
        "  from points to the map in host memory: one CUDA graph of %zu kernels and fills, %.1f MB, made in "
        "%.0f ms; then %.2f to copy the map",
        result.planned->num_nodes, static_cast<double>(result.planned->bytes) / 1e6, result.planned->making,
        result.planned->download);
    report.planned = {{"encode", result.planned->milliseconds}, what};
  }
  program::print_times(report);
  if (result.planned && result.planned->num_different > 0) {
    print_note(counted(result.planned->num_different, "number", "numbers") +
               " of the graph's map are not those that the same layers give one by one; please report this");
  }
  if (on_device && !result.planned) {
    print_note("layer by layer and not as one CUDA graph: " + result.no_plan);
  }
}

/// Where the map's cells are, which are squares.
MapFrame frame_of(Task const& task, int width)
{
  auto const& voxels = task.voxels;
  bool const columns_are_x = task.network.encoder.axis() == 0;
  std::size_t const column = columns_are_x ? 0 : 1;
  std::size_t const row = 1 - column;
  MapFrame frame;
  frame.metres = double{voxels.range_upper[column] - voxels.range_lower[column]} / std::max(1, width);
  frame.lower_column = double{voxels.range_lower[column]};
  frame.lower_row = double{voxels.range_lower[row]};
  frame.column_axis = columns_are_x ? "x" : "y";
  frame.row_axis = columns_are_x ? "y" : "x";
  return frame;
}

void write_results(Task const& task, Encoding const& result, std::vector<float> const& norm,
                   std::array<double, 3> const& origin, OutputNames const& names)
{
  ts::write_npy(names.npy, ts::raw_tensor(result.map, result.shape));
  std::size_t const first = task.options->channels_last ? 1 : 2;
  auto const height = static_cast<int>(result.shape[first]);
  auto const width = static_cast<int>(result.shape[first + 1]);
  program::write_picture(names.picture, draw_norm(norm, height, width, frame_of(task, width)));
  if (task.options->voxel_features.empty()) { return; }
  std::vector<std::int32_t> rows;
  for (auto const& c : result.coordinates) {
    rows.insert(rows.end(), {c.batch, c.position[0], c.position[1], c.position[2]});
  }
  auto const num_rows = static_cast<std::int64_t>(result.coordinates.size());
  std::vector<ts::NamedTensor> tensors{
      {"coordinates", ts::raw_tensor(rows, {num_rows, 4})},
      {"features", ts::raw_tensor(result.voxel_features, {num_rows, result.voxel_channels})}};
  std::vector<double> const from(origin.begin(), origin.end());
  if (origin != std::array<double, 3>{}) { tensors.push_back({"origin", ts::raw_tensor(from, {3})}); }
  ts::write_safetensors(task.options->voxel_features, tensors);
}

void run(Options const& options)
{
  auto const machine = program::choose_machine(options, program::absence);
  auto const names = output_names(options);
  program::Progress progress;

  Clock const reading;
  progress.begin("read");
  auto const sweeps = read_sweeps(options);
  progress.end();
  double const read = reading.milliseconds();
  print_points(options, sweeps);

  std::optional<Weights> weights;
  auto network = program::bev::random_network(options);
  if (!options.checkpoint.empty()) {
    progress.begin("checkpoint");
    weights.emplace(program::bev::read_weights(options));
    progress.end();
    network = weights->shape;
  }
  if (!options.voxel_features.empty() && !network.part_a2) {
    throw Failure{std::string{"--voxel-features: only "} + part_a2_name + " makes features of voxels, not " +
                  network.name};
  }
  if (machine.precision == Precision::tf32) {
    ts::ConvConfig config;
    config.math = ts::MathMode::tf32;
    network.encoder.config(config);
  }
  bool const simulated = options.scans.empty();
  double const intensity_scale =
      options.intensity_scale.value_or(simulated ? program::bev::highest_intensity(network.name) : 1);
  Task task{network_input(sweeps, options, network.name, network.encoder.in_channels, intensity_scale),
            program::bev::voxels_of(options, network.name),
            network,
            weights ? &*weights : nullptr,
            &options,
            options.repeat.value_or(machine.on_device ? 10 : 1),
            &progress,
            {}};
  task.network_made = [&](std::int64_t num_parameters) {
    std::printf("network   %s, %d channels in, %d out, %s parameters\n", network.name.c_str(),
                network.encoder.in_channels, network.encoder.out(), with_commas(num_parameters).c_str());
    std::fflush(stdout);
  };
  print_weights(options, network, task.weights);
  std::printf("device    %s\n", program::description(machine, options.threads).c_str());
  print_notes_on_points(task, sweeps, intensity_scale);
  std::fflush(stdout);

  auto const result = encode_on(machine, task);

  progress.begin("count");
  auto const lost =
      left_out(task.points, network.encoder.in_channels, task.voxels, ts::Execution<ts::Host>{});
  progress.end();
  print_voxels(task, result, lost);
  std::fflush(stdout);

  Clock const writing;
  progress.begin("write");
  auto const norm = channel_norm(result.map, result.shape, options.channels_last);
  write_results(task, result, norm, sweeps.front().origin, names);
  progress.end();
  print_times(task, result, machine.on_device, read, writing.milliseconds());
  auto const filled = std::count_if(norm.begin(), norm.end(), [](float value) { return value > 0; });
  auto const files = names.npy + ", " + names.picture +
                     (options.voxel_features.empty() ? "" : ", " + options.voxel_features);
  std::printf("\n%.1f %% of the map's cells are not empty\nwritten: %s\n",
              100.0 * static_cast<double>(filled) / static_cast<double>(norm.size()),
              program::printable(files).c_str());
  program::print_picture_note();
}

}  // namespace
}  // namespace encode_bev

int main(int argc, char** argv)
{
  return program::run_program("encode_bev", argc, argv, encode_bev::parse_options, encode_bev::run);
}
