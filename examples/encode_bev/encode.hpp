// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/stopwatch.hpp"
#include "encoding.hpp"

#ifdef __CUDACC__
#include <tessera/tessera.cuh>
#else
#include <tessera/tessera.hpp>
#endif

#include <algorithm>
#include <utility>
#include <vector>

namespace encode_bev {

namespace ts = tessera;
using program::median;
using program::Stopwatch;

/// Everything between reading and writing.
template <class Space, class Scalar>
[[nodiscard]] Encoding encode(Task const& task, ts::Execution<Space> const& exec)
{
  ts::models::SparseEncoder<Scalar, Space> net{task.network, exec};
  Encoding result;
  for (auto const& parameter : net.parameters()) {
    if (parameter.role != ts::nn::ParameterRole::buffer) { result.num_parameters += parameter.size; }
  }

  auto const voxelize = [&](ts::Matrix<float, Space> const& points) {
    auto voxels = ts::hard_voxelize<Space>(points.view(), task.voxels, exec);
    ts::SparseTensor<3, Scalar, Space> x{voxels.coordinates, ts::cast<Scalar>(voxels.mean.view(), exec)};
    return x;
  };
  if (task.checkpoint != nullptr) {
    ts::io::load(net, *task.checkpoint, ts::io::Tessera{}, exec);
  } else {
    // Without training, batch normalisation has no statistics; those of this scan keep activations in scale.
    auto const x = voxelize(ts::upload_matrix(task.points, task.network.in_channels, exec));
    if (x.num_rows() > 1) { ts::nn::calibrate(net, x, exec); }
  }

  constexpr int num_stages = 4;
  char const* const names[num_stages] = {"upload", "voxelize", "encode", "bev"};
  auto const layout =
      task.options->channels_last ? ts::DenseLayout::channels_last : ts::DenseLayout::channels_first;
  auto const bev_options = ts::BevOptions().axis(task.network.height_axis).layout(layout);
  std::vector<double> milliseconds[num_stages];
  int const warm_up = task.repeat > 1 ? 1 : 0;
  for (int run = -warm_up; run < task.repeat; ++run) {
    Stopwatch<Space> watch{exec};
    auto const points = ts::upload_matrix(task.points, task.network.in_channels, exec);
    double const uploaded = watch.lap();
    auto const x = voxelize(points);
    double const voxelized = watch.lap();
    auto const y = net(x, exec);
    double const encoded = watch.lap();
    auto const map = ts::bev<float>(y, bev_options, exec);
    double const viewed = watch.lap();
    if (run >= 0) {
      double const laps[num_stages] = {uploaded, voxelized, encoded, viewed};
      for (int stage = 0; stage < num_stages; ++stage) { milliseconds[stage].push_back(laps[stage]); }
    }
    if (run + 1 < task.repeat) { continue; }
    result.num_voxels = x.num_rows();
    result.num_encoded = y.num_rows();
    result.shape = map.shape();
    result.map = ts::download(map.data(), map.size(), exec);
  }
  for (int stage = 0; stage < num_stages; ++stage) {
    result.stages.push_back({names[stage], median(milliseconds[stage])});
  }
  return result;
}

}  // namespace encode_bev
