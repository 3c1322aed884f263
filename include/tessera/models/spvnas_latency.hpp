// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/models/spvnas.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/ops/work.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The sets of the five levels of a U-Net over `voxels`.
template <int Dim, class Space>
[[nodiscard]] std::array<CoordinateSetPointer<Dim, Space>, 5> unet_levels(
    CoordinateSetPointer<Dim, Space> const& voxels, ConvConfig const& config, Execution<Space> const& exec)
{
  ConvolutionGeometry<Dim> halve;
  halve.kernel_size = 2;
  halve.stride = 2;
  std::array<CoordinateSetPointer<Dim, Space>, 5> levels{voxels};
  for (std::size_t i = 1; i < levels.size(); ++i) {
    levels[i] = kernel_map(config, *levels[i - 1], ConvolutionKind::strided, halve, exec).coordinates;
  }
  return levels;
}

}  // namespace detail

namespace models {

/// How much a scan gives the layers of an SPVNAS network to do, each voxel being a point too.
/// @throws invalid_argument  there are no voxels, and what kernel_map() throws
/// Cost: every kernel map of the network, and a pass over each.
/// Stream: enqueues on `exec`, waits for the numbers.
template <int Dim, class Space>
[[nodiscard]] SPVNASWorkload measure_workload(CoordinateSetPointer<Dim, Space> const& voxels,
                                              ConvConfig const& config, Execution<Space> const& exec)
{
  detail::expects(voxels != nullptr, "measure_workload: there are no voxels");
  auto const levels = detail::unet_levels(voxels, config, exec);
  ConvolutionGeometry<Dim> block;
  block.kernel_size = 3;
  ConvolutionGeometry<Dim> halve;
  halve.kernel_size = 2;
  halve.stride = 2;
  SPVNASWorkload work;
  auto const pairs = [&](auto const& set, ConvolutionKind kind, ConvolutionGeometry<Dim> const& geometry) {
    return detail::count_pairs(*detail::kernel_map(config, *set, kind, geometry, exec).map, exec);
  };
  for (std::size_t i = 0; i < levels.size(); ++i) {
    work.voxels[i] = levels[i]->num_rows();
    work.block_pairs[i] = pairs(levels[i], ConvolutionKind::submanifold, block);
    if (i + 1 < levels.size()) { work.down_pairs[i] = pairs(levels[i], ConvolutionKind::strided, halve); }
  }
  work.points = work.voxels[0];
  return work;
}

/// Milliseconds of the layers of SPVNAS networks on one scan, each measured where it is first asked for.
///
/// The latency of a network is the sum over its layers, plus what the smallest network of the space takes
/// beyond its own: norms, activations, and what points and voxels exchange.
template <int Dim, class Scalar, class Space = Device>
class SPVNASLatencyTable {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  struct Entry {
    SPVNASLayer layer;
    double milliseconds;
  };

  /// @param scan  whose voxels the layers run on; its features are not read
  /// @param runs  a time is the median of so many
  /// @throws invalid_argument  no coordinates, fewer than one run
  /// Stream: makes the coordinates of all levels; waits for their numbers of rows.
  SPVNASLatencyTable(Tensor const& scan, Execution<Space> const& exec,
                     std::optional<ConvConfig> const& config = {}, int runs = 5)
      : exec_{exec.without_recorder()}, config_{config ? *config : thread_conv_config()}, runs_{runs}
  {
    detail::expect_coordinates(scan, "SPVNASLatencyTable");
    detail::expects(runs >= 1, "SPVNASLatencyTable: ", runs, " runs; at least 1");
    levels_ = detail::unet_levels(scan.coordinates(), config_, exec_);
  }

  /// Milliseconds of one layer.
  /// Cost: where it is not in the table, `runs + 1` runs of it, for which it waits.
  [[nodiscard]] double milliseconds(SPVNASLayer const& layer)
  {
    auto const at =
        std::find_if(entries_.begin(), entries_.end(), [&](auto const& e) { return e.layer == layer; });
    if (at != entries_.end()) { return at->milliseconds; }
    entries_.push_back({layer, measure(layer)});
    return entries_.back().milliseconds;
  }
  /// Milliseconds of a network: the sum over its layers and overhead().
  [[nodiscard]] double operator()(SPVNASConfig const& config)
  {
    double sum = overhead_;
    for (auto const& layer : layers_of(config)) { sum += milliseconds(layer); }
    return sum;
  }

  /// Measures what a network takes beyond its layers, from now on a part of every latency.
  /// @param config  of a network of the space, best the smallest
  /// @throws invalid_argument  a configuration that is none
  void measure_overhead(SPVNASConfig const& config)
  {
    SPVNAS<Dim, Scalar, Space> network{config, exec_, config_};
    auto const x = tensor(0, config.in_channels);
    auto const fused = nn::fuse(network, x, exec_);
    double const whole = median_of([&] { static_cast<void>(fused.forward(x, exec_)); });
    overhead_ = 0;
    overhead_ = std::max(0.0, whole - (*this)(config));
  }
  [[nodiscard]] double overhead() const noexcept { return overhead_; }

  /// What has been measured; to keep, and to enter() into the table of another run.
  [[nodiscard]] std::vector<Entry> const& entries() const noexcept { return entries_; }
  /// Takes a time that is known already.
  void enter(Entry const& entry) { entries_.push_back(entry); }

 private:
  [[nodiscard]] Tensor tensor(std::size_t level, int channels) const
  {
    auto const& set = levels_[level];
    Buffer<Scalar, Space> features{set->capacity() * channels, exec_};
    fill_bytes(features, 0, exec_);
    return {set, Matrix<Scalar, Space>{std::move(features), set->capacity(), channels}};
  }

  [[nodiscard]] double measure(SPVNASLayer const& layer) const
  {
    using Kind = SPVNASLayer::Kind;
    auto const x = tensor(static_cast<std::size_t>(layer.level), layer.in_channels);
    if (layer.kind == Kind::point) {
      nn::Linear<Dim, Scalar, Space> linear{
          LinearOptions{layer.in_channels, layer.out_channels}.math(config_.math), exec_};
      return median_of([&] { static_cast<void>(linear.forward(x, exec_)); });
    }
    int const size = layer.kind == Kind::block ? 3 : layer.kind == Kind::shortcut ? 1 : 2;
    auto options = ConvOptions<Dim>{layer.in_channels, layer.out_channels, size}.config(config_);
    if (size == 2) { options.stride(2); }
    if (layer.kind == Kind::up) { options.transposed(); }
    nn::Conv<Dim, Scalar, Space> conv{options, exec_};
    return median_of([&] { static_cast<void>(conv.forward(x, exec_)); });
  }

  /// The median time of a call, the first not counted.
  template <class Call>
  [[nodiscard]] double median_of(Call const& call) const
  {
    using Clock = std::chrono::steady_clock;
    std::vector<double> times;
    call();
    for (int i = 0; i < runs_; ++i) {
      exec_.wait();
      auto const begin = Clock::now();
      call();
      exec_.wait();
      times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    }
    std::nth_element(times.begin(), times.begin() + runs_ / 2, times.end());
    return times[static_cast<std::size_t>(runs_ / 2)];
  }

  Execution<Space> exec_;
  ConvConfig config_;
  int runs_;
  std::array<CoordinateSetPointer<Dim, Space>, 5> levels_;
  std::vector<Entry> entries_;
  double overhead_ = 0;
};

}  // namespace models
}  // namespace v0
}  // namespace tessera
