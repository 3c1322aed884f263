// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Losses: cross entropy and Lovász softmax of logits on voxels, as one loss on a tape and by hand, and a label that is no
// class. docs/losses.md explains.

#include <tessera/autograd/tape.hpp>
#include <tessera/tessera.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace ts = tessera;

namespace {

using Space = ts::Host;  // or ts::Device, compiled by nvcc
using Scalar = float;    // or __half on the device

constexpr int classes = 4;
constexpr int unlabelled = 255;

/// Rows on a grid of voxels, with numbers that are neither all alike nor random.
ts::SparseTensor<2, Scalar, Space> some_logits(int rows, ts::Execution<Space> const& exec)
{
  std::vector<ts::Coordinate<2>> voxels;
  std::vector<Scalar> values;
  for (int i = 0; i < rows; ++i) {
    voxels.push_back({0, {i % 16, i / 16}});
    for (int c = 0; c < classes; ++c) { values.push_back(std::sin(static_cast<Scalar>(5 * i + 3 * c))); }
  }
  return {ts::make_coordinate_set(voxels, {}, exec), ts::upload_matrix(values, classes, exec)};
}

std::vector<std::int32_t> some_labels(int rows)
{
  std::vector<std::int32_t> labels;
  for (int i = 0; i < rows; ++i) { labels.push_back(i % 7 == 0 ? unlabelled : i % (classes - 1)); }
  return labels;
}

float number(ts::Matrix<float, Space> const& loss, ts::Execution<Space> const& exec)
{
  return ts::download(loss.data(), 1, exec)[0];
}

}  // namespace

int main()
{
  ts::Execution<Space> const exec{};
  auto logits = some_logits(200, exec);
  auto labels = ts::upload(some_labels(200), exec);
  auto const class_weights = ts::upload(std::vector<float>{1, 2, 1, 4}, exec);

  // [loss]
  auto const entropy = ts::CrossEntropyOptions<float>()
                           .ignore(unlabelled)
                           .class_weights(class_weights.data())
                           .label_smoothing(0.1);
  auto const lovasz = ts::LovaszSoftmaxOptions<float>().ignore(unlabelled);
  // [loss]

  // [tape]
  ts::Tape<Space> tape;
  tape.watch(logits);
  auto const recorded = exec.with_recorder(tape);
  auto const loss = ts::add_losses(ts::cross_entropy(logits, labels, entropy, recorded), 1.0,
                                   ts::lovasz_softmax(logits, labels, lovasz, recorded), 0.5, recorded);
  tape.backward(loss, exec);
  auto const by_tape = tape.gradient(logits);  // [rows, classes]
  // [tape]

  // [by_hand]
  auto const whole_gradient = ts::upload_matrix(std::vector<float>{1}, 1, exec);
  auto const half_gradient = ts::upload_matrix(std::vector<float>{0.5F}, 1, exec);
  auto const of_entropy = ts::cross_entropy_backward(whole_gradient, logits, labels, entropy, exec);
  auto const of_lovasz = ts::lovasz_softmax_backward(half_gradient, logits, labels, lovasz, exec);
  // [by_hand]

  // The two ways agree, and a step down the gradient makes the loss smaller.
  auto const taped = ts::download(by_tape.data(), by_tape.size(), exec);
  auto const first = ts::download(of_entropy.data(), of_entropy.size(), exec);
  auto const second = ts::download(of_lovasz.data(), of_lovasz.size(), exec);
  auto values = logits.features_on_host(exec);
  bool agree = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    agree = agree && std::abs(taped[i] - first[i] - second[i]) <= 1e-6F;
    values[i] -= 20 * taped[i];
  }
  auto const before = number(loss, exec);
  auto const stepped = logits.with_features(ts::upload_matrix(values, classes, exec));
  auto const after = number(ts::cross_entropy(stepped, labels, entropy, exec), exec) +
                     number(ts::lovasz_softmax(stepped, labels, lovasz, exec), exec) / 2;
  std::printf("loss %.4f, after a step %.4f\n", static_cast<double>(before), static_cast<double>(after));

  // [bad_label]
  auto wrong = some_labels(200);
  wrong[17] = 9;
  auto const mistaken = ts::upload(wrong, exec);
  std::string said;
  try {
    static_cast<void>(ts::cross_entropy(logits, mistaken, entropy, exec));
    logits.coordinates()->check(exec);  // where the device is asked; the host throws above
  } catch (ts::invalid_argument const& error) {
    said = error.what();
  }
  std::printf("%s\n", said.c_str());
  // [bad_label]
  return agree && after < before && said.find("row 17") != std::string::npos ? 0 : 1;
}
