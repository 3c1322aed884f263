// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// One network and the scans of a batch, trained by one rank or by several that share the batch.

#include "../support/device.hpp"

#include <tessera/autograd/tape.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/ops/loss/cross_entropy.hpp>
#include <tessera/train/data_parallel.hpp>
#include <tessera/train/optimizer.hpp>
#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#include <tessera/train/gradient_reducer.cuh>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace test {

/// Down and up again: convolutions of three kinds, batch norms, a concatenation, a bias.
template <class Scalar, class Space>
class ParallelNetwork final : public tessera::nn::Module<3, Scalar, Space> {
 public:
  using typename tessera::nn::Module<3, Scalar, Space>::Tensor;
  using Block = tessera::nn::SparseConvBlock<3, Scalar, Space>;
  using Conv = tessera::nn::Conv<3, Scalar, Space>;
  using Options = tessera::ConvOptions<3>;

  explicit ParallelNetwork(tessera::Execution<Space> const& exec)
      : enter_{Options(3, 8, 3), exec},
        down_{Options(8, 8, 2).stride(2), exec},
        up_{Options(8, 8, 2).stride(2).transposed(), exec},
        classify_{Options(16, 4, 1).bias(true), exec}
  {
    this->register_child("enter", enter_);
    this->register_child("down", down_);
    this->register_child("up", up_);
    this->register_child("classify", classify_);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, tessera::Execution<Space> const& exec) override
  {
    auto const fine = enter_(x, exec);
    auto const up = up_(down_(fine, exec), exec);
    return classify_(up, fine, exec);
  }

 private:
  Block enter_, down_, up_;
  Conv classify_;
};

/// Scans [first, last) as a batch; each is the same whatever batch it is in.
struct Scans {
  std::vector<std::int32_t> coordinates;  // [rows, 4]
  std::vector<double> features;           // [rows, 3]
  std::vector<std::int32_t> labels;       // [rows] of 4 classes, -1: not known

  Scans(int first, int last)
  {
    for (int scan = first; scan < last; ++scan) {
      std::mt19937 random{static_cast<unsigned>(scan + 1)};
      std::normal_distribution<double> normal;
      int const rows = 40 + 17 * scan;
      for (int row = 0; row < rows; ++row) {
        for (int const c : {scan - first, row % 5, row / 5 % 5, row / 25}) { coordinates.push_back(c); }
        for (int c = 0; c < 3; ++c) { features.push_back(normal(random) + c); }
        labels.push_back(static_cast<std::int32_t>(random() % 5) - 1);
      }
    }
  }
};

template <class T>
std::vector<T> cast_to(std::vector<double> const& values)
{
  std::vector<T> result;
  for (auto const value : values) { result.push_back(static_cast<T>(value)); }
  return result;
}

/// What a rank has after a few steps.
struct Trained {
  std::vector<double> losses;      // of each step, over all ranks
  std::vector<double> gradients;   // of the first step
  std::vector<double> parameters;  // after the last one, running statistics too
};

/// `steps` steps on scans [0, num_scans), of which each rank takes its share; every rank begins with other weights than
/// rank 0's, as if seeded by its number.
template <class Scalar, class Space>
Trained train_parallel(tessera::train::Communicator<Space> const& ranks, int num_scans, int steps,
                       tessera::DataParallelOptions const& options, tessera::Execution<Space> const& exec)
{
  namespace ts = tessera;
  ParallelNetwork<Scalar, Space> network{exec};
  network.train();
  unsigned seed = 7 + 1000 * static_cast<unsigned>(ranks.rank());
  for (auto& parameter : network.writable_parameters()) {
    if (parameter.role == ts::nn::ParameterRole::buffer) { continue; }
    std::mt19937 random{++seed};
    std::normal_distribution<double> normal{0.0, 0.3};
    std::vector<Scalar> values;
    for (std::int64_t i = 0; i < parameter.size; ++i) {
      values.push_back(static_cast<Scalar>(normal(random)));
    }
    auto& typed = parameter.template as<Scalar, Space>();
    ts::detail::Transfer<Space>::from_host(typed.write(), values.data(), values.size() * sizeof(Scalar),
                                           exec);
  }
  ts::train::ParameterArena<Scalar, Space> arena{network, exec};
  ts::train::Optimizer<ts::train::Sgd, Scalar, Space> optimizer{arena, ts::train::Sgd{},
                                                                ts::train::Schedule::constant(0.01), exec};
  ts::Tape<Space> tape;
  tape.watch(network);
  ts::train::DataParallel<Scalar, Space> parallel{ranks, network, arena, tape, exec, options};

  int const share = num_scans / ranks.size();
  Scans const scans{ranks.rank() * share, (ranks.rank() + 1) * share};
  auto const coordinates = upload_matrix(scans.coordinates, 4, exec);
  auto const features = upload_matrix(cast_to<Scalar>(scans.features), 3, exec);
  auto const labels = upload(scans.labels, exec);
  Trained result;
  auto const as_doubles = [&](Scalar const* from, std::int64_t n) {
    std::vector<double> values;
    for (auto const value : download(from, n, exec)) { values.push_back(static_cast<double>(value)); }
    return values;
  };
  for (int step = 0; step < steps; ++step) {
    arena.zero_grad(exec);
    ts::SparseTensor<3, Scalar, Space> const x{coordinates.view(), features.view(), exec};
    auto const y = network.forward(x, exec.with_recorder(tape));
    ts::CrossEntropyOptions<Scalar> loss_options;
    auto weight = loss_weight(y, labels, loss_options, exec);  // divided by what all ranks have
    ranks.all_reduce_sum(weight.data(), 1, exec);
    auto const loss =
        cross_entropy(y, labels, loss_options.normalizer(weight.data()), exec.with_recorder(tape));
    parallel.backward(loss, exec);
    auto total = copy(loss.data(), 1, exec);
    ranks.all_reduce_sum(total.data(), 1, exec);
    result.losses.push_back(as_doubles(total.data(), 1)[0]);
    if (step == 0) { result.gradients = as_doubles(arena.gradients().data, arena.gradient_size()); }
    optimizer.step(exec);
  }
  result.parameters = as_doubles(arena.masters(), arena.size());
  return result;
}

/// Largest difference, by the largest magnitude of `expected`.
inline double relative_difference(std::vector<double> const& values, std::vector<double> const& expected)
{
  if (values.size() != expected.size()) { return INFINITY; }
  double largest = 0;
  double difference = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    largest = std::max(largest, std::fabs(expected[i]));
    if (!(std::fabs(values[i] - expected[i]) <= difference)) {
      difference = std::fabs(values[i] - expected[i]);
    }
  }
  return difference / largest;
}

}  // namespace test
