// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Gradients: a network learns the classes of a simulated scan. The tape, what it watches, blocks that are computed again,
// operations of one's own, and training without modules.

#include <tessera/tessera.hpp>

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace ts = tessera;

namespace {

using Space = ts::Host;  // or ts::Device, compiled by nvcc
using Scalar = float;    // or __half, __nv_bfloat16, double
using Exec = ts::Execution<Space>;
using Tensor = ts::SparseTensor<3, Scalar, Space>;

constexpr int classes = 3;

/// Two levels: down, up, and a skip between.
class Network final : public ts::nn::Module<3, Scalar, Space> {
  using Conv = ts::nn::Conv<3, Scalar, Space>;
  using Options = ts::ConvOptions<3>;

 public:
  Network(int in_channels, Exec const& exec)
      : stem_{Options(in_channels, 16, 3).seed(1), exec},
        norm_{16, exec},
        down_{Options(16, 16, 2).stride(2).seed(2), exec},
        block_{Options(16, 16, 3).seed(3), exec},
        up_{Options(16, 16, 2).stride(2).transposed().seed(4), exec},
        head_{Options(32, classes, 1).bias(true).seed(5), exec}
  {
    this->register_child("stem", stem_);
    this->register_child("norm", norm_);
    this->register_child("down", down_);
    this->register_child("block", block_);
    this->register_child("up", up_);
    this->register_child("head", head_);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, Exec const& exec) override
  {
    auto const fine = ts::relu(norm_(stem_(x, exec), exec), exec);
    auto const coarse = ts::relu(down_(fine, exec), exec);
    // [checkpoint]
    auto const deep = ts::add(coarse, ts::checkpoint(exec, block_, coarse), exec);
    // [checkpoint]
    return head_(ts::cat({up_(deep, exec), fine}, exec), exec);
  }

  [[nodiscard]] Conv& stem() noexcept { return stem_; }

 private:
  Conv stem_;
  ts::nn::BatchNorm<3, Scalar, Space> norm_;
  Conv down_;
  Conv block_;
  Conv up_;
  Conv head_;
};

// [custom]
/// A computation of one's own, x^2 of each element, and its gradient, 2 x dy.
struct Square {
  [[nodiscard]] Tensor operator()(Tensor const& x, Exec const& exec) const
  {
    return ts::multiply(x, x, exec);
  }
};
struct TwiceTimes {
  Scalar const* x;
  Scalar const* dy;
  Scalar* dx;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { dx[i] = 2 * x[i] * dy[i]; }
};
struct SquareBackward {
  [[nodiscard]] ts::Matrix<Scalar, Space> operator()(ts::MatrixView<Scalar const> const& dy,
                                                     Tensor const& /*y*/, Tensor const& x,
                                                     Exec const& exec) const
  {
    ts::Matrix<Scalar, Space> dx{dy.rows, dy.columns, exec};
    ts::for_each(dy.size(), TwiceTimes{x.features().data, dy.data, dx.data()}, exec);
    return dx;
  }
};
// [custom]

struct Fill {
  Scalar* to;
  Scalar value;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { to[i] = value; }
};

int failures = 0;

void expect(bool held, char const* what)
{
  if (!held) {
    std::printf("not so: %s\n", what);
    ++failures;
  }
}

/// The class of a voxel by its height.
std::vector<std::int32_t> labels_by_height(ts::CoordinateSet<3, Space> const& set, Exec const& exec)
{
  std::vector<std::int32_t> labels;
  for (auto const& row : ts::download(set.data(), set.num_rows(), exec)) {
    labels.push_back(row.position[2] < -1 ? 0 : row.position[2] < 1 ? 1 : 2);
  }
  labels.front() = 255;  // nobody knows
  return labels;
}

}  // namespace

int main()
{
  Exec const exec;
  ts::PointCloud const scan = ts::simulate_lidar();
  auto const positions = ts::upload_matrix(scan.positions, 3, exec);
  auto const intensity = ts::upload_matrix(scan.features, scan.channels, exec);
  auto voxels =
      ts::sparse_quantize(ts::PointsView<float>{positions, intensity}, ts::QuantizeOptions<3>(1.0F), exec);
  Tensor const x{voxels.coordinates, std::move(voxels.features)};
  auto const labels = ts::upload(labels_by_height(*x.coordinates(), exec), exec);

  // [step]
  Network net{scan.channels, exec};
  net.train();
  ts::train::ParameterArena<Scalar, Space> arena{net, exec};
  ts::train::Optimizer optimizer{arena, ts::train::AdamW{}, ts::train::Schedule::constant(1e-2), exec};

  ts::Tape<Space> tape;
  tape.watch(net);                                  // parameters, but buffers and frozen ones
  auto const recording = exec.with_recorder(tape);  // what runs with it is recorded
  auto const options = ts::CrossEntropyOptions<float>().ignore(255);
  auto const step = [&] {
    optimizer.zero_grad(exec);
    auto const loss = ts::cross_entropy(net(x, recording), labels, options, recording);
    tape.backward(loss, exec);  // adds to the gradient of each parameter, and leaves the tape empty
    optimizer.step(exec);
    return ts::download(loss.data(), 1, exec)[0];
  };
  // [step]
  auto const first = step();
  auto last = first;
  for (int i = 0; i < 15; ++i) { last = step(); }
  std::printf("cross entropy %.3f, was %.3f\n", last, first);
  expect(last < first / 2, "the loss has fallen");

  // [parameters]
  tape.expect_gradient("stem.kernel");  // throws where the loss did not depend on it
  for (auto const& name : tape.unreached_parameters()) { std::printf("no gradient: %s\n", name.c_str()); }
  net.stem().weight().freeze();  // and watch() again: it is left out, as by optimizers
  tape.watch(net);
  // [parameters]
  expect(tape.unreached_parameters().empty(), "every parameter has a gradient");

  // [values]
  tape.watch(x);  // an input, or a value in between, for the next backward()
  auto const y = net(x, recording);
  auto const target = ts::Matrix<Scalar, Space>{
      ts::upload(std::vector<Scalar>(static_cast<std::size_t>(y.features().size()), 1), exec), y.capacity(),
      y.channels()};
  tape.backward(y, target.view(), exec);   // of any value, from its gradient
  auto const saliency = tape.gradient(x);  // [rows, channels]
  // [values]
  expect(saliency.rows() == x.capacity() && saliency.columns() == x.channels(), "the input has a gradient");

  // [constant]
  {
    ts::Tape<Space>::Pause const pause{tape};
    static_cast<void>(net(x, recording));  // not recorded
  }
  auto const fixed = y.detached();  // the same features, at which gradients stop
  // [constant]
  expect(tape.num_operations() == 0 && fixed.id() != y.id(), "nothing was recorded");

  // [functions]
  ts::nn::Parameter<Scalar, Space> weight{{27, scan.channels, classes}, exec};
  ts::for_each(weight.size(), Fill{weight.write(), 0.1F}, exec);
  tape.watch(weight, "my weight");
  auto const z = ts::convolution(x, weight, nullptr, classes, ts::ConvolutionKind::submanifold, {},
                                 ts::ConvConfig{}, recording);
  auto const squared = ts::ops::differentiable("square", recording, Square{}, SquareBackward{}, z);
  tape.backward(ts::cross_entropy(squared, labels, options, recording), exec);
  // [functions]
  expect(weight.grad() != nullptr, "a parameter without a module has a gradient");

  // [errors]
  auto const loss = ts::cross_entropy(net(x, recording), labels, options, recording);
  optimizer.step(exec);  // too early: the gradients read the weights
  try {
    tape.backward(loss, exec);
  } catch (ts::invalid_argument const& error) {
    std::printf("%s\n", error.what());  // and no gradient was changed
  }
  tape.reset();  // forgets what was recorded
  // [errors]
  expect(tape.num_operations() == 0, "the tape is empty");
  return failures == 0 ? 0 : 1;
}
