// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// The fastest way to carry out each convolution of a network on this machine, found by timing, written to a
// file and read by another run. On the GPU it is the same with ts::Device, a stream and
// <tessera/tessera.cuh>.

#include <tessera/tessera.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace ts = tessera;

namespace {

using Tensor = ts::SparseTensor<3, float, ts::Host>;
using Network = ts::models::MinkUNet<3, float, ts::Host>;
using Fused = ts::nn::TracedModel<Tensor>;

int failures = 0;

void expect(bool held, char const* what)
{
  if (!held) {
    std::printf("FAILED: %s\n", what);
    ++failures;
  }
}

Tensor voxelize(std::uint64_t seed, ts::Execution<ts::Host> const& exec)
{
  ts::LidarOptions options;
  options.seed = seed;
  ts::PointCloud const scan = ts::simulate_lidar(options);
  auto const positions = ts::upload_matrix(scan.positions, 3, exec);
  auto const intensity = ts::upload_matrix(scan.features, scan.channels, exec);
  auto voxels =
      ts::sparse_quantize(ts::PointsView<float>{positions, intensity}, ts::QuantizeOptions<3>(1.0F), exec);
  return {voxels.coordinates, std::move(voxels.features)};
}

/// Whether the outputs of two networks on `x` are one but for rounding.
bool agree(Fused const& a, Fused const& b, Tensor const& x, ts::Execution<ts::Host> const& exec)
{
  auto const first = a.forward(x, exec).features_on_host(exec);
  auto const second = b.forward(x, exec).features_on_host(exec);
  float largest = 0;
  float apart = 0;
  for (std::size_t i = 0; i < first.size(); ++i) {
    largest = std::fmax(largest, std::fabs(first[i]));
    apart = std::fmax(apart, std::fabs(first[i] - second[i]));
  }
  return first.size() == second.size() && apart <= 1e-4F * largest;
}

}  // namespace

int main()
{
  ts::Execution<ts::Host> const exec;
  auto const options = ts::MinkUNetOptions(1, 19).width(0.25);
  std::string const path = (std::filesystem::temp_directory_path() / "tessera_example_tuning.json").string();
  std::string const trace = (std::filesystem::temp_directory_path() / "tessera_example_trace.json").string();
  std::filesystem::remove(path);

  // [tune]
  Network net(options, exec);
  std::vector<Tensor> samples{voxelize(1, exec), voxelize(2, exec)};  // scans like those to come

  auto fast = ts::nn::fuse(net, samples[0], exec);                  // what is tuned is what will run
  ts::nn::Tuning const tuning = ts::nn::tune(fast, samples, exec);  // one line per group on stderr
  ts::io::save_tuning(path, tuning);
  std::printf("convolutions: %.1f ms, were %.1f ms\n", 1e3 * tuning.seconds, 1e3 * tuning.seconds_before);
  // [tune]

  // [load]
  auto again = ts::nn::fuse(net, samples[0], exec);
  auto const loaded = ts::io::load_tuning<float>(path, exec);  // throws if there is none for this device
  ts::nn::TuningReport const report = ts::nn::apply_tuning(again, loaded, exec);
  for (auto const& layer : report.unknown) { std::printf("not tuned: %s\n", layer.c_str()); }
  // [load]

  // [profile]
  ts::nn::Profile const profile = ts::nn::profile(fast, samples[0], exec);
  std::fputs(profile.table().c_str(), stdout);
  ts::io::save_trace(trace, profile);  // for chrome://tracing or Perfetto
  // [profile]

  // [options]
  auto const thorough = ts::TuneOptions()
                            .for_plan(false)  // eager calls: pair lists may be used
                            .splits({1, 2})   // numbers of splits to try
                            .kernels({ts::GemmKernel::automatic, ts::GemmKernel::block})
                            .margin(0.05)    // what a change must gain, 5 %
                            .repetitions(3)  // timings of which the median counts
                            .quiet();        // or .progress(f), f being called with a TuneProgress
  // [options]

  expect(tuning.not_run.empty(), "every layer runs");
  expect(report.unknown.empty() && report.applied.size() == 49, "every layer is tuned from the file");
  Fused const untuned = ts::nn::fuse(net, samples[0], exec);
  expect(agree(untuned, fast, samples[0], exec), "a tuned network computes what it did");
  expect(agree(untuned, again, samples[1], exec), "so does one tuned from the file");

  ts::nn::Sequential<3, float, ts::Host> small;
  small.add<ts::nn::Conv<3, float, ts::Host>>(ts::ConvOptions<3>(1, 8, 3), exec);
  ts::nn::Tuning const of_small = ts::nn::tune(small, samples, thorough, exec);
  expect(of_small.groups.size() == 1 && of_small.seconds <= of_small.seconds_before, "options act");

  // [gradients]
  // data gradients too, which are convolutions of other channels, and over other maps where layers are strided
  auto const for_training = ts::TuneOptions().gradients().splits({1, 2}).repetitions(1).quiet();
  ts::nn::Tuning const both = ts::nn::tune(net, samples, for_training, exec);
  // [gradients]
  auto const& last = both.groups.back();
  expect(
      both.groups.size() == 2 * tuning.groups.size() && last.group.operation == ts::Operation::backward_data,
      "data gradients have groups of their own");

  expect(profile.operations.size() >= 49 && profile.seconds() > 0, "every operation is timed");
  expect(std::filesystem::file_size(trace) > 0, "the trace is written");

  std::filesystem::remove(path);
  std::filesystem::remove(trace);
  std::puts(failures == 0 ? "ok" : "FAILED");
  return failures == 0 ? 0 : 1;
}
