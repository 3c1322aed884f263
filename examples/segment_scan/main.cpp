// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Labels every point of a LiDAR scan with a MinkUNet or an SPVCNN; `segment_scan --help` says how it is used.
//
//   options.hpp                the command line
//   segment.hpp                points -> voxels -> kernel maps -> network -> labels, for either space
//   segment_points.hpp         the same by SPVCNN, which takes points
//   host.cpp, device*.cu       that for the CPU, and for the GPU in each precision
//   truth.hpp                  labels against what the points really are
//   shipped_network.hpp        the trained network that comes with the program
//   picture.hpp                what the results look like

#include "../support/gpu.hpp"
#include "../support/network_input.hpp"
#include "../support/palette.hpp"
#include "../support/picture_file.hpp"
#include "../support/points.hpp"
#include "../support/program.hpp"
#include "../support/times.hpp"
#include "options.hpp"
#include "picture.hpp"
#include "segmentation.hpp"
#include "shipped_network.hpp"
#include "truth.hpp"

#include <tessera/data/lidar_simulator.hpp>
#include <tessera/io/ply.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/io/safetensors.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace segment_scan {
namespace {

namespace ts = tessera;
using program::class_styles;
using program::ClassStyle;
using program::Clock;
using program::Color;
using program::counted;
using program::Failure;
using program::no_class;
using program::print_note;
using program::scene_styles;
using program::with_commas;

ts::PointCloud read_scan(Options const& options)
{
  if (!options.scan.empty()) { return ts::read_point_cloud(options.scan, options.read); }
  ts::LidarOptions lidar;
  lidar.seed = options.scene;
  return ts::simulate_lidar(lidar, options.frame);
}

/// Names of the files to write; the folder exists afterwards.
struct OutputNames {
  std::string ply;
  std::string picture;
};
OutputNames output_names(Options const& options)
{
  auto const prefix = program::output_prefix(options.output, "segmentation");
  program::expect_folder_of(options.logits, "--logits");
  return {prefix + ".ply", prefix + program::picture_extension()};
}

Color color_of(std::vector<ClassStyle> const& styles, std::int32_t label)
{
  bool const known = label >= 0 && static_cast<std::size_t>(label) < styles.size();
  return known ? styles[static_cast<std::size_t>(label)].color : no_class;
}

std::vector<Color> colors_of(std::vector<ClassStyle> const& styles, std::vector<std::int32_t> const& labels)
{
  std::vector<Color> colors;
  colors.reserve(labels.size());
  for (auto const label : labels) { colors.push_back(color_of(styles, label)); }
  return colors;
}

/// How many points have each class; the last number is of those that have none.
std::vector<std::int64_t> points_of_classes(std::vector<std::int32_t> const& labels, std::size_t num_classes)
{
  std::vector<std::int64_t> points(num_classes + 1);
  for (auto const label : labels) {
    bool const known = label >= 0 && static_cast<std::size_t>(label) < num_classes;
    ++points[known ? static_cast<std::size_t>(label) : num_classes];
  }
  return points;
}

double percent(std::int64_t part, std::size_t whole)
{
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

/// The classes that have points, the commonest first; `suffix` follows their names.
void append_legend(std::vector<LegendEntry>& legend, std::vector<ClassStyle> const& styles,
                   std::vector<std::int32_t> const& labels, char const* suffix)
{
  auto const points = points_of_classes(labels, styles.size());
  auto const first = static_cast<std::ptrdiff_t>(legend.size());
  for (std::size_t i = 0; i < styles.size(); ++i) {
    if (points[i] > 0) {
      legend.push_back({styles[i].name + suffix, styles[i].color, percent(points[i], labels.size())});
    }
  }
  std::stable_sort(legend.begin() + first, legend.end(),
                   [](auto const& a, auto const& b) { return a.share > b.share; });
  if (points.back() > 0) {
    legend.push_back({std::string{"no class"} + suffix, no_class, percent(points.back(), labels.size())});
  }
}

char const* name_of_network(NetworkShape const& shape)
{
  return shape.on_points ? "SPVCNN" : "MinkUNet";
}

Picture draw(Task const& task, Segmentation const& result, std::vector<ClassStyle> const& styles,
             std::optional<Truth> const& truth)
{
  std::vector<Panel> panels;
  std::vector<LegendEntry> legend;
  bool const own_legend = truth && !truth->same_classes;
  if (truth) { panels.push_back({"truth", colors_of(truth->styles, *truth->labels)}); }
  bool const means_nothing = task.weights == nullptr || !task.shape.has_head;
  std::string name = name_of_network(task.shape);
  if (means_nothing) {
    name += ", random weights";
  } else if (task.weights->description && task.weights->description->is_simulated()) {
    name += ", trained on simulated scenes";
  }
  if (truth && truth->same_classes && !means_nothing) {
    char text[32];
    std::snprintf(text, sizeof(text), ": mIoU %.1f %%", 100 * compare(*truth, result.labels).mean_iou);
    name += text;
  }
  panels.push_back({name, colors_of(styles, result.labels)});
  if (own_legend) { append_legend(legend, truth->styles, *truth->labels, " (truth)"); }
  append_legend(legend, styles, result.labels, "");
  return draw_from_above(*task.cloud, panels, legend);
}

void write_results(Task const& task, Segmentation const& result, std::vector<ClassStyle> const& styles,
                   std::optional<Truth> const& truth, OutputNames const& names)
{
  auto const& cloud = *task.cloud;
  std::vector<std::uint8_t> flat;
  for (auto const& color : colors_of(styles, result.labels)) {
    flat.insert(flat.end(), color.begin(), color.end());
  }
  ts::PointCloud labelled;
  labelled.positions = cloud.positions;
  labelled.labels = result.labels;
  labelled.origin = cloud.origin;
  int const intensity = program::intensity_channel(cloud);
  if (intensity >= 0) {
    labelled.channels = 1;
    labelled.feature_names = {"intensity"};
    auto const channels = static_cast<std::size_t>(cloud.channels);
    for (auto at = static_cast<std::size_t>(intensity); at < cloud.features.size(); at += channels) {
      labelled.features.push_back(cloud.features[at]);
    }
  }
  ts::write_ply(names.ply, labelled, {ts::PlyFormat::binary_little_endian, flat});
  program::write_picture(names.picture, draw(task, result, styles, truth));

  if (!task.options->logits.empty()) {
    std::vector<std::int32_t> rows;
    for (auto const& c : result.coordinates) {
      rows.insert(rows.end(), {c.batch, c.position[0], c.position[1], c.position[2]});
    }
    auto const num_rows = static_cast<std::int64_t>(result.coordinates.size());
    auto const num_logits = task.shape.on_points ? cloud.size() : num_rows;
    std::vector<ts::NamedTensor> tensors{
        {"logits", ts::raw_tensor(result.logits, {num_logits, task.shape.num_classes})}};
    if (!task.shape.on_points) { tensors.push_back({"coordinates", ts::raw_tensor(rows, {num_rows, 4})}); }
    std::vector<double> const origin(cloud.origin.begin(), cloud.origin.end());
    if (cloud.has_origin()) { tensors.push_back({"origin", ts::raw_tensor(origin, {3})}); }
    ts::write_safetensors(task.options->logits, tensors);
  }
}

/// Classes that have points, the commonest first, beside their share of the truth and IoU if that is known.
void print_classes(Segmentation const& result, std::vector<ClassStyle> const& styles,
                   std::optional<Truth> const& truth)
{
  auto const points = points_of_classes(result.labels, styles.size());
  bool const compared = truth && truth->same_classes;
  auto const real = truth ? points_of_classes(*truth->labels, truth->styles.size()) : points;
  auto const agreement = truth ? compare(*truth, result.labels) : Agreement{};
  auto const iou_of = [&](std::size_t i) {
    char text[32] = "-";
    if (agreement.iou[i]) { std::snprintf(text, sizeof(text), "%.1f %%", 100 * *agreement.iou[i]); }
    return std::string{text};
  };
  std::vector<std::size_t> order;
  std::string absent;
  for (std::size_t i = 0; i < styles.size(); ++i) {
    if (points[i] > 0 || (compared && real[i] > 0)) {
      order.push_back(i);
    } else {
      absent += (absent.empty() ? "" : ", ") + styles[i].name;
    }
  }
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return points[a] > points[b]; });
  std::printf("\n%-16s %10s %8s%s\n", "class", "points", "share", compared ? "    truth      IoU" : "");
  auto const line = [&](std::string const& name, std::int64_t count) {
    std::printf("  %-14s %10s %6.1f %%", name.c_str(), with_commas(count).c_str(),
                percent(count, result.labels.size()));
  };
  for (auto const i : order) {
    line(styles[i].name, points[i]);
    if (compared) { std::printf(" %6.1f %% %8s", percent(real[i], result.labels.size()), iou_of(i).c_str()); }
    std::printf("\n");
  }
  if (points.back() > 0) {
    line("(none)", points.back());
    std::printf("\n");
  }
  if (!absent.empty() && !result.labels.empty()) {
    auto const number = styles.size() - order.size();
    std::printf("  no point is %s%s\n", number > 1 ? "one of " : "", absent.c_str());
  }
  if (!truth) { return; }
  if (!truth->same_classes) {
    std::printf("\n%-16s %10s %8s      IoU\n", "true class", "points", "share");
    for (std::size_t i = 0; i < truth->styles.size(); ++i) {
      line(truth->styles[i].name, real[i]);
      std::printf(" %8s\n", iou_of(i).c_str());
    }
  }
  std::printf("\nmean IoU  %.1f %% of %s; %.1f %% of the points have the right one\n",
              100 * agreement.mean_iou, counted(agreement.num_classes, "class", "classes").c_str(),
              100 * agreement.right);
}

Segmentation segment_on(program::Machine const& machine, Task const& task)
{
#ifdef __CUDACC__
  if (machine.on_device) { return segment_on_device(task, machine.precision); }
#endif
  static_cast<void>(machine);
  return segment_on_host(task);
}

void print_scan(Options const& options, ts::PointCloud const& cloud)
{
  auto const scan = options.scan.empty() ? "built-in scene " + std::to_string(options.scene) + ", frame " +
                                               std::to_string(options.frame)
                                         : options.scan;
  std::printf("scan      %s: %s\n", program::printable(scan).c_str(),
              counted(cloud.size(), "point", "points").c_str());
  program::print_origin(cloud);
  std::fflush(stdout);
}

void print_weights(Options const& options, Weights const* weights)
{
  auto const* const checkpoint = weights == nullptr ? nullptr : &weights->network;
  std::string what = checkpoint == nullptr ? "" : program::known_network(checkpoint->kind).name;
  auto const& description = weights == nullptr ? std::nullopt : weights->description;
  if (description) {
    what = "MinkUNet, trained on " +
           std::string{description->is_simulated() ? "simulated scenes" : description->data} + " in " +
           with_commas(description->steps) + " steps";
  }
  program::print_weights(options, checkpoint, what, "labels mean");
  if (checkpoint == nullptr) { return; }
  if (description && description->is_simulated() && !options.scan.empty()) {
    print_note("the network has seen nothing but simulated scenes; do not expect much of it here");
  }
  if (!weights->shape.has_head) {
    print_note(
        "the checkpoint has no classifier (decode_head.conv_seg); a random one makes labels that mean "
        "nothing");
  }
  program::print_conversion_note(*checkpoint);
}

void print_how(Options const& options, program::Machine const& machine)
{
  auto const& config = options.config;
  constexpr char const* dataflows[] = {"implicit_gemm", "gather_scatter", "fetch_on_demand"};
  auto const mode = !config.sort ? 0 : config.splits == 1 ? 1 : 2;
  std::printf("device    %s\n", program::description(machine, options.threads).c_str());
  std::printf("options   %s%s, %s, downsample %s, compat %s\n", dataflows[static_cast<int>(config.dataflow)],
              config.dataflow == ts::Dataflow::implicit_gemm ? (" mode " + std::to_string(mode)).c_str() : "",
              config.kmap == ts::KmapMode::hashmap ? ts::Hashmap::name : ts::HashmapOnTheFly::name,
              config.downsample == ts::DownsampleMode::spconv ? "spconv" : "minkowski",
              config.compat == ts::Compatibility::none ? "none" : "torchsparse");
}

void print_network(NetworkShape const& shape, std::int64_t num_parameters)
{
  char width[32] = "";
  if (!shape.backbone) { std::snprintf(width, sizeof(width), ", width %g", shape.width); }
  std::printf("network   %s%s, %d channels in, %d classes, %s parameters\n", name_of_network(shape), width,
              shape.in_channels, shape.num_classes, with_commas(num_parameters).c_str());
  std::fflush(stdout);
}

void print_times(Task const& task, Segmentation const& result, bool on_device, double read, double written)
{
  program::TimesReport report{task.repeat, read, written};
  report.stages = result.stages;
  if (result.planned) {
    char what[160];
    std::snprintf(what, sizeof(what),
                  "  from points to labels in host memory: one CUDA graph of %zu kernels and fills, %.1f MB, "
                  "made in %.0f ms",
                  result.planned->num_nodes, static_cast<double>(result.planned->bytes) / 1e6,
                  result.planned->making);
    report.planned = {{"segment", result.planned->milliseconds}, what};
  }
  program::print_times(report);
  if (result.planned && result.planned->num_different > 0) {
    print_note(counted(result.planned->num_different, "label", "labels") +
               " of the graph are not those that the same layers give one by one; please report this");
  }
  if (on_device && !result.planned) {
    print_note("layer by layer and not as one CUDA graph: " + result.no_plan);
  }
}

void run(Options options)
{
  auto const machine = program::choose_machine(options, program::absence);
  auto const names = output_names(options);
  program::Progress progress;

  Clock const reading;
  progress.begin("read");
  auto const cloud = read_scan(options);
  progress.end();
  double const read = reading.milliseconds();
  print_scan(options, cloud);

  Task task;
  task.cloud = &cloud;
  task.options = &options;
  task.repeat = options.repeat.value_or(machine.on_device ? 10 : 1);
  task.progress = &progress;
  std::optional<Weights> weights;
  bool const simulated = options.scan.empty();
  if (simulated && options.checkpoint.empty() && !options.random) {
    options.checkpoint = shipped_network();
    if (options.checkpoint.empty()) {
      print_note(std::string{"the trained network, "} + shipped_network_name +
                 ", is neither beside the program nor in its source; so the weights are random");
    }
  }
  if (options.checkpoint.empty()) {
    task.shape.in_channels = cloud.channels > 0 ? 4 : 3;
    task.shape.num_classes = options.classes.value_or(simulated ? ts::num_scene_classes : 19);
    task.shape.width = options.width.value_or(1);
    task.shape.on_points = options.model == Model::spvcnn;
  } else {
    progress.begin("checkpoint");
    weights.emplace(program::segmentation::read_weights(options));
    progress.end();
    task.weights = &*weights;
    task.shape = weights->shape;
  }
  options.config.compat = program::segmentation::compat_of(options, task.weights);
  if (task.shape.backbone) { task.shape.backbone->config(options.config).seed(options.seed); }
  program::append_input(
      program::segmentation_channels(cloud, task.shape.in_channels, options.intensity_scale), cloud,
      task.features);
  task.voxels = program::segmentation::voxels_of(options, task.shape);
  task.network_made = [&](std::int64_t num_parameters) { print_network(task.shape, num_parameters); };
  print_weights(options, task.weights);
  print_how(options, machine);
  if (task.shape.in_channels == 4) {
    for (auto const& note : program::notes_on_intensity(cloud, options.intensity_scale, 1)) {
      print_note(note);
    }
  }
  bool const scene_classes = simulated && task.shape.num_classes == ts::num_scene_classes;
  auto styles = scene_classes ? scene_styles() : class_styles(task.shape.num_classes);
  auto const& description = weights ? weights->description : std::nullopt;
  if (description && styles.size() == description->classes.size()) { styles = description->classes; }
  auto const truth =
      simulated ? truth_of_scene(cloud.labels, task.shape.num_classes) : truth_of_file(cloud.labels, styles);
  if (cloud.has_labels() && !truth) {
    print_note("the labels of the scan are not compared: they are no numbers of the network's " +
               counted(task.shape.num_classes, "class", "classes"));
  }
  std::fflush(stdout);

  auto const result = segment_on(machine, task);

  std::printf("\nvoxels, %g m at the finest level\n", static_cast<double>(task.voxels.voxel_size[0]));
  for (std::size_t i = 0; i < result.levels.size(); ++i) {
    std::printf("  level %zu, stride %2d %12s\n", i, result.levels[i].stride,
                with_commas(result.levels[i].voxels).c_str());
  }
  print_classes(result, styles, truth);
  std::fflush(stdout);

  Clock const writing;
  progress.begin("write");
  write_results(task, result, styles, truth, names);
  progress.end();
  print_times(task, result, machine.on_device, read, writing.milliseconds());
  auto const files = names.ply + ", " + names.picture + (options.logits.empty() ? "" : ", " + options.logits);
  std::printf("\nwritten: %s\n", program::printable(files).c_str());
  program::print_picture_note();
}

}  // namespace
}  // namespace segment_scan

int main(int argc, char** argv)
{
  return program::run_program("segment_scan", argc, argv, segment_scan::parse_options, segment_scan::run);
}
