// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Points and voxels side by side: SPVConv as a block of a network, SPVCNN, and a subnet of SPVNAS.

#include <tessera/tessera.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace ts = tessera;

namespace {

using Exec = ts::Execution<ts::Host>;

int failures = 0;

void expect(bool held, char const* what)
{
  if (!held) {
    std::printf("not so: %s\n", what);
    ++failures;
  }
}

/// (batch, x, y, z) of points on a wavy floor, in metres.
std::vector<float> make_positions(int points)
{
  std::vector<float> rows;
  for (int i = 0; i < points; ++i) {
    float const x = 0.037F * static_cast<float>(i % 97);
    float const y = 0.041F * static_cast<float>(i / 97);
    rows.insert(rows.end(), {0, x, y, 0.3F + 0.2F * std::sin(3 * x) * std::cos(2 * y)});
  }
  return rows;
}

// [network]
/// Two blocks of points and voxels, and a class for each point.
class TwoBlocks final : public ts::nn::ModuleBase {
 public:
  using Points = ts::PointTensor<3, float, ts::Host>;

  TwoBlocks(int in_channels, int classes, Exec const& exec)
      : first_{ts::ConvOptions<3>(in_channels, 16, 3), exec},
        second_{make_branch(exec), ts::LinearOptions(16, 32), exec},
        classify_{ts::LinearOptions(32, classes), exec}
  {
    this->register_child("first", first_);
    this->register_child("second", second_);
    this->register_child("classify", classify_);
  }

  /// @param z  positions in metres
  [[nodiscard]] Points forward(Points const& z, Exec const& exec)
  {
    auto const made = ts::initial_voxelize(z, 1, 0.1F, exec);  // from metres to voxels of 0.1 m
    auto points = first_.forward(made.points, made.voxels, exec);
    points = second_.forward(points, made.voxels, exec);
    return classify_.forward(points, exec);
  }

 private:
  using Branch = ts::nn::Sequential<3, float, ts::Host>;

  /// Any module from voxels to voxels; this one ends on voxels twice as large.
  static std::unique_ptr<Branch> make_branch(Exec const& exec)
  {
    auto branch = std::make_unique<Branch>();
    branch->add<ts::nn::SparseConvBlock<3, float, ts::Host>>(ts::ConvOptions<3>(16, 32, 2).stride(2), exec);
    branch->add<ts::nn::SparseResBlock<3, float, ts::Host>>(ts::ConvOptions<3>(32, 32, 3), exec);
    return branch;
  }

  ts::nn::SPVConv<3, float, ts::Host> first_;
  ts::nn::SPVConv<3, float, ts::Host> second_;
  ts::nn::Linear<3, float, ts::Host> classify_;
};
// [network]

void build_a_network(std::vector<float> const& rows, std::vector<float> const& intensity, Exec const& exec)
{
  // [points]
  auto const n = static_cast<std::int64_t>(intensity.size());
  // rows of (batch, x, y, z), and a feature of each point
  ts::PointTensor<3, float, ts::Host> const z{{rows.data(), n, 4}, {intensity.data(), n, 1}, exec};
  // [points]
  TwoBlocks net{1, 5, exec};
  auto const logits = net.forward(z, exec);
  expect(logits.num_points() == n && logits.channels() == 5, "a row of logits for each point");
  expect(net.parameters().front().name == "first.voxel_branch.0.kernel", "names of parameters");

  // [operations]
  auto const made = ts::initial_voxelize(z, 1, 0.1F, exec);           // voxels with the mean of their points
  auto const x = ts::point_to_voxel(made.points, made.voxels, exec);  // the same again
  auto const back = ts::voxel_to_point(x, made.points, exec);         // trilinear, at every point
  auto const nearest = ts::voxel_to_point(x, made.points, exec, ts::Interpolation::nearest);
  // [operations]
  expect(x.features_on_host(exec) == made.voxels.features_on_host(exec), "voxels of the same points");
  expect(back.num_points() == n && nearest.num_points() == n, "a value for each point");

  // [gradients]
  auto const map =
      made.points.points()->map_to(x.coordinates(), ts::PointCells::corners, ts::compat::none, exec);
  // of voxel_to_point(): from a gradient for each point to one for each voxel
  auto const for_voxels = ts::devoxelize_features_backward<float>(back.features(), *map, exec);
  // [gradients]
  expect(for_voxels.rows() == x.num_rows(), "a gradient for each voxel");
}

void run_spvcnn(std::vector<float> const& rows, std::vector<float> const& intensity, Exec const& exec)
{
  auto const n = static_cast<std::int64_t>(intensity.size());
  std::vector<float> features;  // x, y, z, intensity
  for (std::size_t i = 0; i < intensity.size(); ++i) {
    features.insert(features.end(), {rows[4 * i + 1], rows[4 * i + 2], rows[4 * i + 3], intensity[i]});
  }
  ts::PointTensor<3, float, ts::Host> const z{{rows.data(), n, 4}, {features.data(), n, 4}, exec};
  // [spvcnn]
  auto const options = ts::SPVCNNOptions(4, 19).width(0.25).voxel_size(1, 0.1F);  // metres; voxels of 0.1 m
  ts::models::SPVCNN<3, float, ts::Host> net{options, exec};
  auto const labels = ts::argmax(net.forward(z, exec).features(), exec);  // of each point
  // [spvcnn]
  expect(labels.size() == n, "a label for each point");
}

// [cost]
struct MacsOf {
  ts::models::SPVNASWorkload work;  // of a scan

  std::int64_t operator()(ts::models::SPVNASConfig const& config) const
  {
    return ts::models::num_macs(config, work);
  }
};
// [cost]

/// Here the number of parameters; in earnest the accuracy of the subnet: `supernet.select(config, exec)`, then
/// `supernet.forward()` of scans with labels.
double score_of(ts::models::SPVNASConfig const& config)
{
  return static_cast<double>(ts::models::num_parameters(config));
}

void print_progress(ts::models::EvolutionProgress const& progress)
{
  std::printf("generation %d of %d: %.0f\n", progress.generation, progress.num_generations,
              progress.best.score);
}

void search(std::vector<float> const& rows, Exec const& exec)
{
  ts::PointsView<float> view;
  view.positions = {rows.data() + 1, static_cast<std::int64_t>(rows.size() / 4), 3, 4};
  auto const set = ts::sparse_quantize(view, ts::QuantizeOptions<3>(0.1F), exec).coordinates;
  // [supernet]
  auto const space = ts::models::SPVNASSpace(4, 19).channels({16, 32, 32, 48, 64, 64, 48, 32, 32},
                                                             {16, 16, 16, 16, 32, 32, 16, 16, 16});
  ts::models::SPVNASSupernet<3, float, ts::Host> supernet{space, exec};
  // io::load(supernet, "supernet.safetensors", io::TorchSparse{}, exec);

  auto const work =
      ts::models::measure_workload(set, ts::ConvConfig{}, exec);  // pairs of every map of a scan
  MacsOf const macs{work};
  auto const limit = 0.6 * static_cast<double>(macs(space.largest()));
  auto const options = ts::EvolutionOptions().population(50).generations(5);
  auto const best = ts::models::evolve(space, score_of, macs, limit, options, print_progress);
  auto const subnet =
      supernet.extract(best.config, exec);  // a network of its own with the supernet's weights
  auto const text = ts::io::spvnas_config_text(best.config);  // SPVNAS's net.config
  // [supernet]
  expect(best.cost <= limit, "a network within the limit");
  expect(ts::io::parse_spvnas_config(text, space) == best.config, "the text reads back");
  expect(subnet->config() == best.config, "the subnet is that network");
}

}  // namespace

int main()
{
  Exec const exec;
  auto const rows = make_positions(2000);
  std::vector<float> intensity;
  for (int i = 0; i < 2000; ++i) { intensity.push_back(0.01F * static_cast<float>(i % 100)); }
  build_a_network(rows, intensity, exec);
  run_spvcnn(rows, intensity, exec);
  search(rows, exec);
  std::printf(failures == 0 ? "ok\n" : "%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
