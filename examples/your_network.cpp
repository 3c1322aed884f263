// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// A network of one's own: a small U-Net with a gated skip, its checkpoint, a batch, and what fuse() makes of
// it, compared with loops written by hand over the parameters by their names. docs/your_network.md explains.

#include <tessera/tessera.hpp>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ts = tessera;

namespace {

// [layer]
/// y[i, c] = weight[c] * x[i, c], for element number n of y.
template <class Scalar>
struct ScaleChannels {
  Scalar const* weight;  // [channels]
  Scalar const* x;       // [rows, channels]
  Scalar* y;             // [rows, channels]
  std::int64_t channels;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    y[n] = static_cast<Scalar>(static_cast<float>(weight[n % channels]) * static_cast<float>(x[n]));
  }
};

template <class Scalar>
struct Fill {
  Scalar* to;
  float value;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const { to[n] = static_cast<Scalar>(value); }
};

template <class Scalar, class Space>
class LayerScale final : public ts::nn::Module<3, Scalar, Space> {
 public:
  using typename ts::nn::Module<3, Scalar, Space>::Tensor;

  LayerScale(int channels, float start, ts::Execution<Space> const& exec) : weight_{{channels}, exec}
  {
    ts::for_each(channels, Fill<Scalar>{weight_.write(), start}, exec);
    this->register_parameter("weight", ts::nn::ParameterRole::weight, weight_);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, ts::Execution<Space> const& exec) override
  {
    if (x.channels() != weight_.size()) { throw ts::invalid_argument{"LayerScale: other channels"}; }
    return ts::ops::custom("layer_scale", exec, Scale{weight_.data()}, x);  // recorded as one operation
  }

 private:
  struct Scale {
    Scalar const* weight;  // a parameter stays where it is

    Tensor operator()(Tensor const& x, ts::Execution<Space> const& exec) const
    {
      ts::Matrix<Scalar, Space> y{x.capacity(), x.channels(), exec};
      ts::for_each(y.size(), ScaleChannels<Scalar>{weight, x.features().data, y.data(), x.channels()}, exec);
      return x.with_features(std::move(y));  // on the same voxels
    }
  };

  ts::nn::Parameter<Scalar, Space> weight_;
};
// [layer]

// [network]
template <class Scalar, class Space>
class SmallUNet final : public ts::nn::Module<3, Scalar, Space> {
 public:
  using typename ts::nn::Module<3, Scalar, Space>::Tensor;
  using Conv = ts::nn::Conv<3, Scalar, Space>;
  using Block = ts::nn::SparseConvBlock<3, Scalar, Space>;  // convolution, batch norm, relu
  using Options = ts::ConvOptions<3>;                       // in and out channels, kernel size

  SmallUNet(int in_channels, int classes, ts::Execution<Space> const& exec)
      : enter_{Options(in_channels, 16, 3), exec},
        gate_{Options(16, 16, 1).bias(true), exec},
        scale_{16, 0.5F, exec},
        down_{Options(16, 32, 2).stride(2), exec},
        middle_{Options(32, 32, 3), exec},
        up_{Options(32, 16, 2).stride(2).transposed(), exec},
        merge_{Options(32, 16, 3), exec},
        classify_{ts::LinearOptions(16, classes), exec}
  {
    this->register_child("enter", enter_);
    this->register_child("gate", gate_);
    this->register_child("scale", scale_);
    this->register_child("encoder.0", down_);
    this->register_child("encoder.1", middle_);
    this->register_child("up", up_);
    this->register_child("merge", merge_);
    this->register_child("classify", classify_);
  }

  [[nodiscard]] Tensor forward(Tensor const& x, ts::Execution<Space> const& exec) override
  {
    auto const fine = enter_(x, exec);                     // on the voxels of x
    auto const coarse = middle_(down_(fine, exec), exec);  // on new ones, twice as large
    auto const up = up_(coarse, exec);                     // on the voxels of x again
    auto const gate = ts::sigmoid(gate_(fine, exec), exec);
    auto const skip = scale_(ts::multiply(fine, gate, exec), exec);
    return classify_(merge_(up, skip, exec), exec);  // merge_ of cat({up, skip})
  }

 private:
  Block enter_;
  Conv gate_;
  LayerScale<Scalar, Space> scale_;
  Block down_, middle_, up_, merge_;
  ts::nn::Linear<3, Scalar, Space> classify_;
};
// [network]

using Network = SmallUNet<float, ts::Host>;
using Tensor = Network::Tensor;

/// Voxels of a simulated scan with a feature.
Tensor voxelize(std::uint64_t seed, ts::Execution<ts::Host> const& exec)
{
  ts::LidarOptions lidar;
  lidar.beams = 8;
  lidar.seed = seed;
  auto const scan = ts::simulate_lidar(lidar);
  auto const positions = ts::upload_matrix(scan.positions, 3, exec);
  auto const intensity = ts::upload_matrix(scan.features, scan.channels, exec);
  auto voxels =
      ts::sparse_quantize(ts::PointsView<float>{positions, intensity}, ts::QuantizeOptions<3>(1.0F), exec);
  return {voxels.coordinates, std::move(voxels.features)};
}

// ---- The same network in loops
// ------------------------------------------------------------------------------

using Voxel = std::vector<int>;  // batch, x, y, z
using Row = std::vector<double>;
using Rows = std::map<Voxel, Row>;
using Parameters = std::map<std::string, std::vector<float>>;

Parameters values_of(ts::nn::ModuleBase const& module)
{
  Parameters result;
  for (auto const& parameter : module.parameters()) {
    auto const* const values = parameter.as<float, ts::Host>().data();
    result[parameter.name].assign(values, values + parameter.size);
  }
  return result;
}

/// sum += row * matrix number `offset` of `kernel` [volume, in, out].
void add_product(Row& sum, Row const& row, std::vector<float> const& kernel, std::size_t offset)
{
  for (std::size_t i = 0; i < row.size(); ++i) {
    for (std::size_t o = 0; o < sum.size(); ++o) {
      sum[o] += row[i] * double{kernel[(offset * row.size() + i) * sum.size() + o]};
    }
  }
}

/// A kernel of 3 around every voxel.
Rows around(Rows const& x, std::vector<float> const& kernel, std::size_t channels)
{
  Rows y;
  for (auto const& [voxel, unused] : x) {
    auto& sum = y[voxel] = Row(channels);
    std::size_t offset = 0;
    for (int dx = -1; dx <= 1; ++dx) {
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dz = -1; dz <= 1; ++dz, ++offset) {
          auto const found = x.find({voxel[0], voxel[1] + dx, voxel[2] + dy, voxel[3] + dz});
          if (found != x.end()) { add_product(sum, found->second, kernel, offset); }
        }
      }
    }
  }
  return y;
}

/// The voxel twice as large that holds this one, and where in it this one is.
std::pair<Voxel, std::size_t> parent_of(Voxel const& voxel)
{
  Voxel parent{voxel[0]};
  std::size_t offset = 0;
  for (std::size_t i = 1; i < 4; ++i) {
    parent.push_back((voxel[i] - (voxel[i] & 1)) / 2);
    offset = 2 * offset + static_cast<std::size_t>(voxel[i] & 1);
  }
  return {parent, offset};
}

Rows halve(Rows const& x, std::vector<float> const& kernel, std::size_t channels)
{
  Rows y;
  for (auto const& [voxel, row] : x) {
    auto const [parent, offset] = parent_of(voxel);
    auto& sum = y[parent];
    sum.resize(channels);
    add_product(sum, row, kernel, offset);
  }
  return y;
}

Rows restore(Rows const& coarse, Rows const& fine, std::vector<float> const& kernel, std::size_t channels)
{
  Rows y;
  for (auto const& [voxel, unused] : fine) {
    auto const [parent, offset] = parent_of(voxel);
    add_product(y[voxel] = Row(channels), coarse.at(parent), kernel, offset);
  }
  return y;
}

Rows norm_relu(Rows x, Parameters const& all, std::string const& name)
{
  for (auto& [voxel, row] : x) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      auto const of = [&](char const* which) { return double{all.at(name + which)[c]}; };
      auto const scale = of(".weight") / std::sqrt(of(".running_var") + 1e-5);
      row[c] = std::fmax(0.0, (row[c] - of(".running_mean")) * scale + of(".bias"));
    }
  }
  return x;
}

Rows by_hand(Rows const& x, Parameters const& all)
{
  auto const fine = norm_relu(around(x, all.at("enter.0.kernel"), 16), all, "enter.1");
  auto const down = norm_relu(halve(fine, all.at("encoder.0.0.kernel"), 32), all, "encoder.0.1");
  auto const coarse = norm_relu(around(down, all.at("encoder.1.0.kernel"), 32), all, "encoder.1.1");
  auto merged = norm_relu(restore(coarse, fine, all.at("up.0.kernel"), 16), all, "up.1");
  for (auto& [voxel, row] : merged) {
    auto const& values = fine.at(voxel);
    auto const& bias = all.at("gate.bias");
    Row gate(bias.begin(), bias.end());
    add_product(gate, values, all.at("gate.kernel"), 0);
    for (std::size_t c = 0; c < 16; ++c) {
      row.push_back(double{all.at("scale.weight")[c]} * values[c] / (1 + std::exp(-gate[c])));
    }
  }
  auto logits = norm_relu(around(merged, all.at("merge.0.kernel"), 16), all, "merge.1");
  for (auto& [voxel, row] : logits) {
    auto const& bias = all.at("classify.bias");
    Row sum(bias.begin(), bias.end());
    add_product(sum, row, all.at("classify.weight"), 0);
    row = sum;
  }
  return logits;
}

Rows rows_of(Tensor const& x, ts::Execution<ts::Host> const& exec)
{
  Rows result;
  auto const voxels = x.coordinates_on_host(exec);
  auto const* row = x.features().data;
  for (auto const& c : voxels) {
    result[{c.batch, c.position[0], c.position[1], c.position[2]}] = {row, row + x.channels()};
    row += x.channels();
  }
  return result;
}

double largest_difference(Rows const& a, Rows const& b)
{
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (auto const& [voxel, row] : a) {
    auto const& other = b.at(voxel);
    for (std::size_t c = 0; c < row.size(); ++c) {
      worst = std::fmax(worst, std::fabs(row[c] - other[c]) / (1 + std::fabs(other[c])));
    }
  }
  return worst;
}

int failures = 0;

void expect(bool condition, char const* what)
{
  if (!condition) { std::printf("FAILED: %s\n", what), ++failures; }
}

}  // namespace

int main()
{
  ts::Execution<ts::Host> const exec;
  std::string const path =
      (std::filesystem::temp_directory_path() / "tessera_your_network.safetensors").string();

  // [batch]
  Tensor const first = voxelize(1, exec);  // batch entry 0, as every tensor of one scan
  Tensor const second = voxelize(2, exec);
  Tensor const batch = ts::sparse_collate(std::vector{first, second}, exec);  // entries 0 and 1
  // [batch]

  Network trained(1, 5, exec);
  ts::nn::calibrate(trained, batch, exec);  // norms that matter, in place of a training

  // [names]
  for (auto const& parameter : trained.parameters()) {
    std::printf("%-24s", parameter.name.c_str());
    for (auto const extent : parameter.shape) { std::printf(" %lld", static_cast<long long>(extent)); }
    std::puts("");
  }
  // [names]

  // [checkpoint]
  ts::io::save(trained, path, ts::io::Tessera{}, exec);

  Network net(1, 5, exec);
  ts::io::load(net, path, ts::io::Tessera{}, exec);  // throws unless names, shapes and types agree
  // [checkpoint]

  // [run]
  Tensor const logits = net(batch, exec);            // [voxels of both scans, 5]
  auto const fast = ts::nn::fuse(net, batch, exec);  // norms and activations inside the convolutions
  Tensor const fused = fast(batch, exec);            // the same but for rounding
  // [run]

  auto const expected = by_hand(rows_of(batch, exec), values_of(trained));
  auto const worst = largest_difference(rows_of(logits, exec), expected);
  auto const worst_fused = largest_difference(rows_of(fused, exec), expected);
  std::printf("%lld voxels; to the loops %g, fused %g\n", static_cast<long long>(batch.num_rows()), worst,
              worst_fused);
  expect(worst < 1e-4, "the network is the loops");
  expect(worst_fused < 1e-4, "so it is fused");
  auto alone = fast(first, exec).features_on_host(exec);
  for (float const value : fast(second, exec).features_on_host(exec)) { alone.push_back(value); }
  expect(fused.features_on_host(exec) == alone, "a batch is its scans one by one");

  // [head]
  using Conv = ts::nn::Conv<3, float, ts::Host>;
  using Norm = ts::nn::BatchNorm<3, float, ts::Host>;
  using Relu = ts::nn::ReLU<3, float, ts::Host>;
  using Pool = ts::nn::GlobalAveragePool<3, float, ts::Host>;
  using Linear = ts::nn::Linear<3, float, ts::Host>;
  ts::nn::Sequential classifier{
      std::make_unique<Conv>(ts::ConvOptions<3>(1, 32, 3).stride(2), exec),
      std::make_unique<Norm>(32, exec),
      std::make_unique<Relu>(),
      std::make_unique<Pool>(),  // from here on matrices: a row per batch entry
      std::make_unique<Linear>(ts::LinearOptions(32, 10), exec),
  };
  ts::Matrix<float, ts::Host> const classes = classifier(batch, exec);  // [2, 10]
  // [head]
  expect(classes.rows() == 2 && classes.columns() == 10, "a row per scan");
  expect(
      classifier.parameters().front().name == "0.kernel" && classifier.parameters().back().name == "4.bias",
      "names are those of PyTorch's Sequential");
  ts::io::save(classifier, path, ts::io::Tessera{}, exec);
  ts::nn::Sequential other{std::make_unique<Conv>(ts::ConvOptions<3>(1, 32, 3).stride(2).seed(9), exec),
                           std::make_unique<Norm>(32, exec), std::make_unique<Relu>(),
                           std::make_unique<Pool>(),
                           std::make_unique<Linear>(ts::LinearOptions(32, 10).seed(9), exec)};
  ts::io::load(other, path, ts::io::Tessera{}, exec);
  auto const same = other(batch, exec);
  expect(ts::download(same.data(), same.size(), exec) == ts::download(classes.data(), classes.size(), exec),
         "a head loads as it was saved");
  double mean = 0;
  auto const pooled = classifier.get<2>()(classifier.get<1>()(classifier.get<0>()(batch, exec), exec), exec);
  for (auto const& [voxel, row] : rows_of(pooled, exec)) { mean += voxel[0] == 1 ? row[3] : 0; }
  mean /= static_cast<double>(classifier.get<0>()(second, exec).num_rows());
  auto const found = double{ts::global_average_pool(pooled, exec).data()[32 + 3]};
  expect(std::fabs(found - mean) <= 1e-5 * (1 + std::fabs(mean)), "pooling is the mean of an entry");

  // [two_ways]
  Conv half(ts::ConvOptions<3>(1, 8, 2).stride(2), exec);
  Conv again(ts::ConvOptions<3>(8, 8, 2).stride(2), exec);
  Conv quarter(ts::ConvOptions<3>(1, 8, 4).stride(4), exec);
  auto const in_two_steps = again(half(batch, exec), exec);
  auto const in_one = quarter(batch, exec);  // the same voxels, but a set of its own
  auto const sum = ts::add_by_coordinate({in_two_steps, in_one}, ts::Join::left, exec);
  // [two_ways]
  expect(ts::same_voxels(in_two_steps.coordinates(), in_one.coordinates(), exec), "two ways lead there");
  expect(sum.coordinates() == in_two_steps.coordinates(), "the first tensor's set is kept");
  auto const a = rows_of(in_two_steps, exec);
  auto const b = rows_of(in_one, exec);
  for (auto const& [voxel, row] : rows_of(sum, exec)) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (std::fabs(row[c] - (a.at(voxel)[c] + b.at(voxel)[c])) > 1e-5) { ++failures; }
    }
  }

  std::filesystem::remove(path);
  std::puts(failures == 0 ? "ok" : "FAILED");
  return failures == 0 ? 0 : 1;
}
