// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What a rank does, on any space and over any transport.

#include <tessera/autograd/tape.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/coords/vote_labels.hpp>
#include <tessera/data/augmentation.hpp>
#include <tessera/data/loader.hpp>
#include <tessera/data/point_batch.hpp>
#include <tessera/data/simulated_scans.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/ops/loss/cross_entropy.hpp>
#include <tessera/tensor/sparse_tensor.hpp>
#include <tessera/train/data_parallel.hpp>
#include <tessera/train/optimizer.hpp>

#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

namespace data_parallel {

namespace ts = tessera;

/// One level of a U-Net.
template <class Space>
class Network final : public ts::nn::Module<3, float, Space> {
 public:
  using typename ts::nn::Module<3, float, Space>::Tensor;
  using Block = ts::nn::SparseConvBlock<3, float, Space>;
  using Options = ts::ConvOptions<3>;

  explicit Network(ts::Execution<Space> const& exec)
      : enter_{Options(1, 16, 3), exec},
        down_{Options(16, 32, 2).stride(2), exec},
        up_{Options(32, 16, 2).stride(2).transposed(), exec},
        classify_{Options(32, ts::num_scene_classes, 1).bias(true), exec}
  {
    this->register_child("enter", enter_);
    this->register_child("down", down_);
    this->register_child("up", up_);
    this->register_child("classify", classify_);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, ts::Execution<Space> const& exec) override
  {
    auto const fine = enter_(x, exec);
    return classify_(up_(down_(fine, exec), exec), fine, exec);
  }

 private:
  Block enter_, down_, up_;
  ts::nn::Conv<3, float, Space> classify_;
};

[[nodiscard]] inline ts::PointCloud augmented(ts::PointCloud const& scan, ts::SampleIndex const& at)
{
  return ts::augment_points(scan, ts::AugmentOptions::lidar(), at.seed);
}

/// Trains for some steps; the loss of each, which is that of all ranks together.
template <class Space>
std::vector<float> train(ts::train::Communicator<Space> const& ranks, int steps,
                         ts::Execution<Space> const& exec)
{
  ts::LidarOptions scanner;
  scanner.beams = 16;
  scanner.azimuth_steps = 180;
  ts::SimulatedScans const scans{1, scanner};
  ts::QuantizeOptions<3> const voxels{0.4F};

  // [parallel]
  Network<Space> network{exec};
  network.train();
  ts::train::ParameterArena<float, Space> arena{network, exec};
  ts::train::Optimizer optimizer{arena, ts::train::AdamW{}, ts::train::Schedule::constant(3e-3), exec};
  ts::Tape<Space> tape;
  tape.watch(network);
  ts::train::DataParallel<float, Space> parallel{ranks, network, arena, tape, exec};

  // every rank takes its share of the order
  auto const order = ts::ScanOrder(scans.size()).shard(ranks.rank(), ranks.size());
  auto loader = ts::make_loader(scans, order, {}, augmented);
  // [parallel]

  std::vector<float> losses;
  for (int step = 0; step < steps; ++step) {
    // [step]
    auto const batch = ts::upload_batch(loader.next_batch(2), exec);
    auto quantized = ts::sparse_quantize(batch.view(), voxels, exec);
    auto const labels = ts::vote_labels(quantized, batch.points.labels.data(), -1, exec);

    ts::SparseTensor<3, float, Space> const x{quantized.coordinates, std::move(quantized.features)};

    optimizer.zero_grad(exec);
    auto const recorded = exec.with_recorder(tape);
    auto const logits = network(x, recorded);
    ts::CrossEntropyOptions<float> options;
    auto count = ts::loss_weight(logits, labels, options, exec);  // labelled voxels of this rank,
    ranks.all_reduce_sum(count.data(), 1, exec);                  // of all of them
    auto const loss = ts::cross_entropy(logits, labels, options.normalizer(count.data()), recorded);
    parallel.backward(loss, exec);  // and the sums of the gradients of all ranks
    optimizer.step(exec);           // the same on every rank
    // [step]
    auto total = ts::copy(loss.data(), 1, exec);
    ranks.all_reduce_sum(total.data(), 1, exec);
    losses.push_back(ts::download(total, exec).front());
    if (ranks.rank() == 0) {
      std::printf("step %d of %d ranks: loss %.4f\n", step, ranks.size(), static_cast<double>(losses.back()));
    }
  }

  // Every rank has the same parameters, bit by bit.
  auto const mine = ts::download(arena.masters(), arena.size(), exec);
  auto sent = ts::copy(arena.masters(), arena.size(), exec);
  ranks.broadcast(sent.data(), sent.size(), 0, exec);
  if (ts::download(sent, exec) != mine) { losses.clear(); }
  return losses;
}

}  // namespace data_parallel
