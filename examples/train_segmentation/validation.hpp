// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "batch.hpp"
#include "scans.hpp"

#include <tessera/nn/module.hpp>
#include <tessera/tensor/labels.hpp>
#include <tessera/train/communicator.hpp>
#include <tessera/train/confusion_matrix.hpp>

#include <cstdint>
#include <functional>

namespace train_segmentation {

/// How the network labels the points of the validation scans, of which each rank takes its share; the scores are
/// those of all. The network is as it was afterwards.
/// @param scan_done  called by each rank after each of its scans
template <class Scalar, class Space>
[[nodiscard]] ts::train::SegmentationScores validate(ts::nn::Module<3, Scalar, Space>& network,
                                                     ScanSet const& scans, ScanOptions const& options,
                                                     ts::QuantizeOptions<3> const& voxels,
                                                     ts::train::Communicator<Space> const& ranks,
                                                     int loader_threads, ts::Execution<Space> const& exec,
                                                     std::function<void()> const& scan_done)
{
  bool const was_training = network.is_training();
  network.eval();
  ts::train::ConfusionMatrix<Space> matrix{static_cast<std::int32_t>(scans.classes().size()), no_class, exec};
  auto loader =
      validation_loader(scans, options, ranks.rank(), ranks.size(), {loader_threads, loader_threads + 1, 1});
  while (auto scan = loader.next()) {
    auto const batch = make_batch<Scalar, Space>({std::move(*scan)}, voxels, exec);
    auto const logits = network.forward(batch.x, exec);
    auto const of_points = ts::gather(ts::argmax(logits.features(), exec), batch.voxel_of, no_class, exec);
    matrix.add(batch.point_labels, of_points, exec);
    scan_done();
  }
  ranks.all_reduce_sum(matrix.counts().data(), matrix.counts().size(), exec);
  network.train(was_training);
  return matrix.scores(exec);
}

}  // namespace train_segmentation
