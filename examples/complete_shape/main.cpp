// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Completes shapes by making voxels and pruning them; `complete_shape --help` says how it is used.
//
//   options.hpp           the command line
//   shapes.hpp            the shapes, whole and partial
//   network.hpp           the network: an encoder, and a decoder that makes voxels and prunes them
//   complete.hpp          training, and completing, for either space
//   host.cpp, device.cu   that for the CPU and for the GPU
//   picture.hpp           what the results look like

#include "../support/gpu.hpp"
#include "../support/picture_file.hpp"
#include "../support/points.hpp"
#include "../support/program.hpp"
#include "completion.hpp"
#include "picture.hpp"

#include <tessera/io/ply.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

namespace complete_shape {
namespace {

namespace ts = tessera;
using program::with_commas;

std::vector<Shape> held_out_shapes(Options const& options)
{
  std::vector<Shape> shapes;
  for (int i = 0; i < options.shapes; ++i) {
    shapes.push_back(shape_of(true, options.grid, options.shapes_seed, static_cast<std::uint64_t>(i)));
  }
  return shapes;
}

Completed complete_on(program::Machine const& machine, Task const& task)
{
#ifdef __CUDACC__
  if (machine.on_device) { return complete_on_device(task); }
#endif
  static_cast<void>(machine);
  return complete_on_host(task);
}

/// The rows as points, a shape behind the other and the columns side by side, two grids apart.
void write_points(std::string const& path, std::vector<PictureRow> const& rows, int grid)
{
  ts::PointCloud cloud;
  std::vector<std::uint8_t> colors;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t column = 0; column < 3; ++column) {
      for (auto const& one : rows[i].columns[column]) {
        std::size_t const shift[] = {2 * column, 2 * i, 0};
        for (int axis = 0; axis < 3; ++axis) {
          auto const moved = one.cell[axis] + grid * static_cast<int>(shift[axis]);
          cloud.positions.push_back(static_cast<float>(moved) + 0.5F);
        }
        cloud.labels.push_back(static_cast<std::int32_t>(column));
        colors.insert(colors.end(), one.color.begin(), one.color.end());
      }
    }
  }
  ts::write_ply(path, cloud, {ts::PlyFormat::binary_little_endian, colors});
}

void print_network(Options const& options, Completed const& result)
{
  std::printf("network   %s parameters, for %d^3 voxels\n", with_commas(result.num_parameters).c_str(),
              options.grid);
  if (!result.training) {
    std::printf("weights   %s\n", program::printable(options.weights).c_str());
    return;
  }
  auto const& training = *result.training;
  std::printf("weights   %s steps of %s: loss %.3f, was %.3f; %.1f s\n", with_commas(options.steps).c_str(),
              program::counted(options.batch, "shape", "shapes").c_str(), double{training.last_loss},
              double{training.first_loss}, 1e-3 * training.milliseconds);
}

void print_levels(std::vector<LevelCounts> const& levels)
{
  std::printf("\n%-12s %10s %10s %10s %10s %10s\n", "voxels", "partial", "grown", "pruned", "kept", "truth");
  for (auto const& level : levels) {
    std::printf("  stride %-3d %10s %10s %10s %10s %10s\n", level.stride, with_commas(level.partial).c_str(),
                with_commas(level.grown).c_str(), with_commas(level.grown - level.kept).c_str(),
                with_commas(level.kept).c_str(), with_commas(level.truth).c_str());
  }
}

/// The mean IoU of each kind and of all, of the partial shapes and of the completed ones.
void print_scores(std::vector<Shape> const& shapes, std::vector<std::vector<Cell>> const& completed)
{
  struct Sum {
    int count = 0;
    double partial = 0;
    double completed = 0;
  };
  std::array<Sum, num_kinds + 1> sums;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    auto const partial = intersection_over_union(shapes[i].partial, shapes[i].whole);
    auto const full = intersection_over_union(completed[i], shapes[i].whole);
    for (auto* sum : {&sums[static_cast<std::size_t>(shapes[i].kind)], &sums[num_kinds]}) {
      ++sum->count;
      sum->partial += partial;
      sum->completed += full;
    }
  }
  std::printf("\n%-12s %10s %10s %10s\n", "IoU", "shapes", "partial", "completed");
  for (std::size_t k = 0; k <= num_kinds; ++k) {
    auto const& sum = sums[k];
    if (sum.count == 0) { continue; }
    std::printf("  %-10s %10d %10.3f %10.3f\n", k < num_kinds ? kind_names[k] : "all", sum.count,
                sum.partial / sum.count, sum.completed / sum.count);
  }
}

void run(Options options)
{
  auto const machine = program::choose_machine(options, program::absence);
  auto const prefix = program::output_prefix(options.output, "completion");
  if (options.train) {
    options.weights = prefix + ".safetensors";
  } else if (options.weights.empty()) {
    options.weights = COMPLETE_SHAPE_WEIGHTS;
  }
  std::printf("device    %s\n", program::description(machine, options.threads).c_str());
  std::fflush(stdout);

  program::Progress progress;
  auto const shapes = held_out_shapes(options);
  Task task;
  task.options = &options;
  task.shapes = &shapes;
  task.progress = &progress;
  auto const result = complete_on(machine, task);
  print_network(options, result);
  print_levels(result.levels);
  print_scores(shapes, result.cells);
  std::printf("\n%s completed in %.0f ms\n",
              program::counted(options.shapes, "held-out shape", "held-out shapes").c_str(),
              result.milliseconds);
  std::fflush(stdout);

  progress.begin("write");
  std::vector<PictureRow> rows;
  for (std::size_t i = 0; i < std::min<std::size_t>(shapes.size(), static_cast<std::size_t>(options.show));
       ++i) {
    rows.push_back(picture_row(shapes[i], result.cells[i]));
  }
  auto const picture = prefix + program::picture_extension();
  write_points(prefix + ".ply", rows, options.grid);
  program::write_picture(picture, draw_rows(rows, options.grid));
  progress.end();
  auto const files = prefix + ".ply, " + picture + (options.train ? ", " + options.weights : "");
  std::printf("\nwritten: %s\n", program::printable(files).c_str());
  program::print_picture_note();
}

}  // namespace
}  // namespace complete_shape

int main(int argc, char** argv)
{
  return program::run_program("complete_shape", argc, argv, complete_shape::parse_options,
                              complete_shape::run);
}
