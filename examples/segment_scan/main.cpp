// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Labels every point of a LiDAR scan with a MinkUNet; `segment_scan --help` says how it is used.
//
//   options.hpp                the command line
//   segment.hpp                points -> voxels -> kernel maps -> network -> labels, for either space
//   host.cpp, device*.cu       that for the CPU, and for the GPU in each precision
//   palette.hpp, picture.hpp   what the results look like

#include "../support/program.hpp"
#include "options.hpp"
#include "palette.hpp"
#include "picture.hpp"
#include "segmentation.hpp"

#include <tessera/core/version.hpp>
#include <tessera/io/image.hpp>
#include <tessera/io/ply.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/points/lidar_simulator.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace segment_scan {
namespace {

namespace ts = tessera;
using program::Clock;
using program::Failure;
using program::with_commas;

ts::PointCloud read_scan(Options const& options)
{
  if (!options.scan.empty()) { return ts::read_point_cloud(options.scan, options.format); }
  ts::LidarOptions lidar;
  lidar.seed = options.scene;
  return ts::simulate_lidar(lidar, options.frame);
}

/// The channel that holds the intensity: by name, else the first.
std::size_t intensity_channel(ts::PointCloud const& cloud)
{
  auto const& names = cloud.feature_names;
  auto const found = std::find(names.begin(), names.end(), "intensity");
  return found == names.end() ? 0 : static_cast<std::size_t>(found - names.begin());
}

/// A number from a shape in a checkpoint, which may claim anything for the price of a few bytes.
int extent_from(Options const& options, std::string const& name, std::int64_t extent, char const* what)
{
  if (extent >= 1 && extent <= most_channels) { return static_cast<int>(extent); }
  throw Failure{options.checkpoint + ": '" + options.prefix + name + "' is for " + std::to_string(extent) +
                " " + what + "; 1 to " + std::to_string(most_channels) + " are possible"};
}

/// Throws unless the checkpoint has about as many values as a network of that width, before there is one.
void expect_values(ts::Safetensors const& file, Options const& options, NetworkShape const& shape)
{
  double values = 0;
  for (auto const& name : file.names()) { values += static_cast<double>(file.tensor(name).size()); }
  double const needed = 21.7e6 * shape.width * shape.width;  // of width 1: 21.7 million
  if (2 * values >= needed) { return; }
  char text[120];
  std::snprintf(text, sizeof(text), ": %.0f values are not those of a network of width %g, about %.0f",
                values, shape.width, needed);
  throw Failure{options.checkpoint + text};
}

/// Width and channels that the kernels in the checkpoint have.
NetworkShape shape_of(ts::Safetensors const& file, Options const& options)
{
  auto const find = [&](std::string const& name,
                        std::size_t rank) -> std::optional<std::vector<std::int64_t>> {
    auto const full = options.prefix + name;
    if (!file.contains(full) || file.shape(full).size() != rank) { return std::nullopt; }
    return file.shape(full);
  };
  NetworkShape shape;
  std::string const first = "stem.0.kernel";
  auto const stem = find(first, 3);
  if (!stem) {
    std::string hint;
    for (auto const& name : file.names()) {
      bool const ends = name.size() > first.size() && name.substr(name.size() - first.size()) == first;
      if (ends && hint.empty()) { hint = "; try --prefix " + name.substr(0, name.size() - first.size()); }
    }
    throw Failure{options.checkpoint + " is no MinkUNet checkpoint: it has no kernel '" + options.prefix +
                  first + "'" + hint};
  }
  shape.in_channels = extent_from(options, first, (*stem)[1], "channels");
  std::string const last = "classifier.0.weight";
  auto const classifier = find(last, 2);
  shape.num_classes = classifier ? extent_from(options, last, (*classifier)[0], "classes") : 19;
  shape.num_classes = options.classes.value_or(shape.num_classes);
  if (options.width) {
    shape.width = *options.width;
    return shape;
  }
  // Channels are base * width, cut to whole numbers; the first width in hundredths that gives the file's.
  struct Known {
    int base;
    std::optional<std::vector<std::int64_t>> kernel;
  };
  Known const known[] = {{32, stem},
                         {64, find("stage2.1.net.0.kernel", 3)},
                         {128, find("stage3.1.net.0.kernel", 3)},
                         {256, find("stage4.1.net.0.kernel", 3)},
                         {96, find("up4.1.0.net.0.kernel", 3)}};
  for (int hundredths = 4; hundredths <= 1600; ++hundredths) {
    shape.width = hundredths / 100.0;
    bool const fits = std::all_of(std::begin(known), std::end(known), [&](Known const& k) {
      return !k.kernel || static_cast<std::int64_t>(shape.width * k.base) == (*k.kernel)[2];
    });
    if (fits) { return shape; }
  }
  throw Failure{options.checkpoint + ": its channels are those of no width in hundredths; give --width"};
}

/// x, y, z and as many features as the network takes.
std::vector<float> network_input(ts::PointCloud const& cloud, int in_channels)
{
  int const extra = in_channels - 3;
  if (extra < 0 || extra > cloud.channels) {
    throw Failure{"the network takes " + std::to_string(in_channels) +
                  " channels, but a point of this scan has x, y, z and " + std::to_string(cloud.channels) +
                  " more"};
  }
  auto const channels = static_cast<std::size_t>(cloud.channels);
  auto const first = extra == 1 ? intensity_channel(cloud) : 0;
  std::vector<float> input;
  input.reserve(static_cast<std::size_t>(cloud.size()) * static_cast<std::size_t>(in_channels));
  for (std::size_t i = 0; i < static_cast<std::size_t>(cloud.size()); ++i) {
    for (std::size_t k = 0; k < 3; ++k) { input.push_back(cloud.positions[3 * i + k]); }
    for (std::size_t k = 0; k < static_cast<std::size_t>(extra); ++k) {
      input.push_back(cloud.features[channels * i + first + k]);
    }
  }
  return input;
}

/// Names of the files to write; the folder exists afterwards.
struct OutputNames {
  std::string ply;
  std::string png;
};
OutputNames output_names(std::string const& output, std::string const& logits)
{
  namespace fs = std::filesystem;
  auto const prefix = program::output_prefix(output, "segmentation");
  auto const beside = fs::path{logits}.parent_path();
  std::error_code error;
  if (!beside.empty() && !fs::is_directory(beside, error)) {
    throw Failure{"--logits: there is no folder " + beside.string()};
  }
  return {prefix + ".ply", prefix + ".png"};
}

void write_results(Task const& task, Segmentation const& result, std::vector<ClassStyle> const& styles,
                   OutputNames const& names)
{
  auto const& cloud = *task.cloud;
  std::vector<Color> colors;
  std::vector<std::uint8_t> flat;
  for (auto const label : result.labels) {
    colors.push_back(label < 0 ? no_class : styles[static_cast<std::size_t>(label)].color);
    flat.insert(flat.end(), colors.back().begin(), colors.back().end());
  }
  ts::PointCloud labelled;
  labelled.positions = cloud.positions;
  labelled.labels = result.labels;
  if (cloud.channels > 0) {
    labelled.channels = 1;
    labelled.feature_names = {"intensity"};
    auto const channels = static_cast<std::size_t>(cloud.channels);
    for (auto at = intensity_channel(cloud); at < cloud.features.size(); at += channels) {
      labelled.features.push_back(cloud.features[at]);
    }
  }
  ts::write_ply(names.ply, labelled, {ts::PlyFormat::binary_little_endian, flat});
  auto const picture = draw_from_above(cloud, colors);
  ts::write_png(names.png, picture.width, picture.height, picture.rgb);

  if (!task.options->logits.empty()) {
    std::vector<std::int32_t> rows;
    for (auto const& c : result.coordinates) {
      rows.insert(rows.end(), {c.batch, c.position[0], c.position[1], c.position[2]});
    }
    auto const num_rows = static_cast<std::int64_t>(result.coordinates.size());
    ts::write_safetensors(task.options->logits,
                          {{"coordinates", ts::raw_tensor(rows, {num_rows, 4})},
                           {"logits", ts::raw_tensor(result.logits, {num_rows, task.shape.num_classes})}});
  }
}

void print_classes(Segmentation const& result, std::vector<ClassStyle> const& styles)
{
  std::vector<std::int64_t> points(styles.size());
  std::int64_t none = 0;
  for (auto const label : result.labels) { ++(label < 0 ? none : points[static_cast<std::size_t>(label)]); }
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < styles.size(); ++i) {
    if (points[i] > 0) { order.push_back(i); }
  }
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return points[a] > points[b]; });
  auto const line = [&](char const* name, std::int64_t count) {
    std::printf("  %-14s %10s  %5.1f %%\n", name, with_commas(count).c_str(),
                100.0 * static_cast<double>(count) / static_cast<double>(result.labels.size()));
  };
  std::printf("\npoints of each class\n");
  for (auto const i : order) { line(styles[i].name.c_str(), points[i]); }
  if (none > 0) { line("(none)", none); }
  if (order.size() < styles.size()) {
    std::printf("  %zu of %zu classes have no point\n", styles.size() - order.size(), styles.size());
  }
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

void run(Options const& options)
{
  auto const machine = program::choose_machine(options.device, options.precision, absence);
  auto const names = output_names(options.output, options.logits);

  Clock const reading;
  auto const cloud = read_scan(options);
  double const read = reading.milliseconds();

  std::optional<ts::Safetensors> checkpoint;
  Task task;
  task.cloud = &cloud;
  task.options = &options;
  task.repeat = options.repeat.value_or(machine.on_device ? 10 : 1);
  if (options.checkpoint.empty()) {
    task.shape = {cloud.channels > 0 ? 4 : 3, options.classes.value_or(19), options.width.value_or(1)};
  } else {
    checkpoint.emplace(options.checkpoint);
    task.checkpoint = &*checkpoint;
    task.shape = shape_of(*checkpoint, options);
    expect_values(*checkpoint, options, task.shape);
  }
  task.features = network_input(cloud, task.shape.in_channels);

#ifdef __CUDACC__
  auto const result = machine.on_device ? segment_on_device(task, machine.precision) : segment_on_host(task);
#else
  auto const result = segment_on_host(task);
#endif

  auto const styles = class_styles(task.shape.num_classes);
  Clock const writing;
  write_results(task, result, styles, names);
  double const written = writing.milliseconds();

  auto const& config = options.config;
  constexpr char const* dataflows[] = {"implicit_gemm", "gather_scatter", "fetch_on_demand"};
  auto const scan = options.scan.empty() ? "built-in scene " + std::to_string(options.scene) + ", frame " +
                                               std::to_string(options.frame)
                                         : options.scan;
  auto const weights = options.checkpoint.empty()
                           ? "random, seed " + std::to_string(options.seed) + ": the labels mean nothing"
                           : options.checkpoint;
  auto const mode = !config.sort ? 0 : config.splits == 1 ? 1 : 2;
  std::printf("scan      %s: %s %s\n", scan.c_str(), with_commas(cloud.size()).c_str(),
              cloud.size() == 1 ? "point" : "points");
  std::printf("network   MinkUNet, width %g, %d channels in, %d classes, %s parameters\n", task.shape.width,
              task.shape.in_channels, task.shape.num_classes, with_commas(result.num_parameters).c_str());
  std::printf("weights   %s\n", weights.c_str());
  std::printf("device    %s, %s\n", result.device.c_str(), name_of(machine.precision));
  std::printf("options   %s%s, %s, downsample %s, compat %s\n", dataflows[static_cast<int>(config.dataflow)],
              config.dataflow == ts::Dataflow::implicit_gemm ? (" mode " + std::to_string(mode)).c_str() : "",
              config.kmap == ts::KmapMode::hashmap ? ts::Hashmap::name : ts::HashmapOnTheFly::name,
              config.downsample == ts::DownsampleMode::spconv ? "spconv" : "minkowski",
              config.compat == ts::Compat::none ? "none" : "torchsparse");

  std::printf("\nvoxels, %g m at the finest level\n", options.voxel_size);
  for (std::size_t i = 0; i < result.levels.size(); ++i) {
    std::printf("  level %zu, stride %2d %12s\n", i, result.levels[i].stride,
                with_commas(result.levels[i].voxels).c_str());
  }
  program::print_times(task.repeat, read, result.stages, written);
  print_classes(result, styles);
  std::printf("\nwritten: %s, %s%s\n", names.ply.c_str(), names.png.c_str(),
              options.logits.empty() ? "" : (", " + options.logits).c_str());
}

}  // namespace
}  // namespace segment_scan

int main(int argc, char** argv)
{
  return program::run_program("segment_scan", argc, argv, segment_scan::parse_options, segment_scan::run);
}
