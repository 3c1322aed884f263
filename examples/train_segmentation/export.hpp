// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "options.hpp"
#include "trainer.hpp"

#include <tessera/io/load.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace train_segmentation {

/// Names and colours of the classes that the scans have.
[[nodiscard]] inline std::vector<program::ClassStyle> styles_of(Options const& options)
{
  return options.scans.kitti.empty() ? program::scene_styles()
                                     : program::class_styles(ts::SemanticKitti::num_classes());
}

/// Writes the averaged weights in half precision, with all that a program needs to run them. Same training, same
/// bytes.
/// @throws tessera::invalid_argument  a value does not fit half precision; the file cannot be written
template <class Scalar, class Space>
void export_network(Trainer<Scalar, Space>& trainer, Options const& options, program::Precision precision,
                    std::string const& path, ts::Execution<Space> const& exec)
{
  program::segmentation::Description description;
  description.width = options.width;
  description.voxel_size = options.voxel_size;
  description.classes = styles_of(options);
  description.data = options.scans.kitti.empty() ? "simulated" : "semantic_kitti";
  description.steps = trainer.state().step;
  description.seed = options.scans.seed;
  description.command = command_of(options, description.steps, precision);
  // [export]
  ts::train::AveragedWeights const averaged{trainer.average(), exec};
  ts::io::save(
      trainer.network(), path, ts::io::Tessera{}, exec,
      ts::SaveOptions().dtype(ts::DType::float16).metadata(program::segmentation::texts_of(description)));
  // [export]
}

}  // namespace train_segmentation
