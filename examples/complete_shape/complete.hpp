// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/program.hpp"
#include "completion.hpp"
#include "network.hpp"

#include <tessera/autograd/tape.hpp>
#include <tessera/io/load.hpp>
#include <tessera/nn/costs.hpp>
#include <tessera/train/optimizer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace complete_shape {

/// Several sets of cells as one tensor of one channel of ones, a batch entry each.
template <class Space>
[[nodiscard]] Voxels<Space> voxels_of(std::vector<std::vector<Cell> const*> const& shapes, int grid,
                                      ts::Execution<Space> const& exec)
{
  std::vector<ts::Coordinate<3>> rows;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    for (auto const& cell : *shapes[i]) { rows.push_back({static_cast<int>(i), cell}); }
  }
  ts::CoordinateSetOptions<3> options;
  options.spatial_range = ts::SpatialRange<3>{static_cast<int>(shapes.size()), {grid, grid, grid}};
  return constant_on<Space>(ts::make_coordinate_set(rows, options, exec), 1, exec);
}

/// Some shapes side by side.
template <class Space>
struct Batch {
  Voxels<Space> partial;
  std::vector<Voxels<Space>> truth;  // [level]
};

template <class Space>
[[nodiscard]] Batch<Space> batch_of(Shape const* first, std::size_t count, int grid,
                                    ts::Execution<Space> const& exec)
{
  std::vector<std::vector<Cell> const*> partial;
  std::vector<std::vector<Cell> const*> whole;
  for (auto const* shape = first; shape != first + count; ++shape) {
    partial.push_back(&shape->partial);
    whole.push_back(&shape->whole);
  }
  return {voxels_of<Space>(partial, grid, exec),
          truth_at_levels<Space>(voxels_of<Space>(whole, grid, exec), exec)};
}

/// The shapes of one step of a training.
template <class Space>
[[nodiscard]] Batch<Space> training_batch(Options const& options, int step, ts::Execution<Space> const& exec)
{
  std::vector<Shape> shapes;
  for (int k = 0; k < options.batch; ++k) {
    auto const index = static_cast<std::uint64_t>(step) * static_cast<std::uint64_t>(options.batch) +
                       static_cast<std::uint64_t>(k);
    shapes.push_back(shape_of(false, options.grid, options.seed, index));
  }
  return batch_of<Space>(shapes.data(), shapes.size(), options.grid, exec);
}

/// Trains the network on shapes that are made on the way.
template <class Space>
[[nodiscard]] Training train(CompletionNet<Space>& net, Task const& task, ts::Execution<Space> const& exec)
{
  auto const& options = *task.options;
  program::Clock const clock;
  task.progress->begin("train", options.steps, "steps");
  std::vector<float> losses;
  // [train]
  net.train();
  ts::train::ParameterArena<float, Space> arena{net, exec};
  ts::train::Optimizer optimizer{arena, ts::train::AdamW{},
                                 ts::train::Schedule::one_cycle(options.rate, options.steps), exec};
  ts::Tape<Space> tape;
  tape.watch(net);
  for (int step = 0; step < options.steps; ++step) {
    auto const batch = training_batch(options, step, exec);
    optimizer.zero_grad(exec);
    auto const completion = net.forward(batch.partial, &batch.truth, exec.with_recorder(tape));
    tape.backward(*completion.loss, exec);
    optimizer.step(exec);
    // [train]
    losses.push_back(ts::download(completion.loss->data(), 1, exec)[0]);
    char remark[32];
    std::snprintf(remark, sizeof(remark), "loss %.3f", double{losses.back()});
    task.progress->step();
    task.progress->set(step + 1, remark);
  }
  optimizer.check(exec);
  net.eval();
  task.progress->end();
  auto const ends = std::max<std::size_t>(1, losses.size() / 20);  // single batches differ
  auto const mean = [&](auto first) {
    float sum = 0;
    for (auto value = first; value != first + static_cast<std::ptrdiff_t>(ends); ++value) { sum += *value; }
    return sum / static_cast<float>(ends);
  };
  return {mean(losses.begin()), mean(losses.end() - static_cast<std::ptrdiff_t>(ends)), clock.milliseconds()};
}

/// Completes the shapes, some at a time.
template <class Space>
void complete_all(CompletionNet<Space>& net, Task const& task, Completed& result,
                  ts::Execution<Space> const& exec)
{
  constexpr std::size_t at_once = 8;
  auto const& shapes = *task.shapes;
  program::Clock const clock;
  task.progress->begin("complete", static_cast<int>(shapes.size()), "shapes");
  for (std::size_t first = 0; first < shapes.size(); first += at_once) {
    auto const count = std::min(at_once, shapes.size() - first);
    auto const batch = batch_of<Space>(shapes.data() + first, count, task.options->grid, exec);
    auto const completion = net.forward(batch.partial, &batch.truth, exec);
    result.levels.resize(completion.levels.size());
    for (std::size_t i = 0; i < result.levels.size(); ++i) {
      auto const& of_batch = completion.levels[i];
      auto& sum = result.levels[i];
      sum.stride = of_batch.stride;
      sum.partial += of_batch.partial;
      sum.grown += of_batch.grown;
      sum.kept += of_batch.kept;
      sum.truth += of_batch.truth;
    }
    result.cells.resize(first + count);
    for (auto const& voxel : completion.voxels.coordinates_on_host(exec)) {
      result.cells[first + static_cast<std::size_t>(voxel.batch)].push_back(voxel.position);
    }
    for (std::size_t i = 0; i < count; ++i) { task.progress->step(); }
  }
  for (auto& cells : result.cells) {
    std::sort(cells.begin(), cells.end(), [](Cell const& a, Cell const& b) {
      return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
    });
  }
  task.progress->end();
  result.milliseconds = clock.milliseconds();
}

/// Everything between making shapes and drawing them.
template <class Space>
[[nodiscard]] Completed complete(Task const& task, ts::Execution<Space> const& exec)
{
  auto const& options = *task.options;
  CompletionNet<Space> net{options.seed, exec};
  Completed result;
  result.num_parameters = ts::nn::num_parameters(net);
  if (options.train) {
    result.training = train(net, task, exec);
    ts::io::save(net, options.weights, ts::io::Tessera{}, exec);
  } else {
    task.progress->begin("load");
    ts::io::load(net, options.weights, ts::io::Tessera{}, exec);
    task.progress->end();
  }
  complete_all(net, task, result, exec);
  return result;
}

}  // namespace complete_shape
