// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Where maps are released a tile map takes the place of its kernel map, which host convolutions have rebuilt.

#include <tessera/kmap/tile_map.hpp>
#include <tessera/ops/convolution.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace ts = tessera;

namespace {

using Tensor = ts::SparseTensor<3, float, ts::Host>;

constexpr int side = 30;
constexpr std::size_t map_bytes = std::size_t{side} * side * 27 * sizeof(std::int32_t);

/// A tilted plane of side * side voxels with 2 channels, in a set of fixed capacity.
Tensor make_input(ts::Execution<ts::Host> const& exec)
{
  std::vector<ts::Coordinate<3>> rows;
  std::vector<float> features;
  for (int i = 0; i < side * side; ++i) {
    rows.push_back({0, {i / side, i % side, (i / side + i % side) / 3}});
    features.push_back(static_cast<float>(i % 11));
    features.push_back(static_cast<float>(i % 7));
  }
  ts::CoordinateSetOptions<3> options;
  options.fixed_capacity = ts::FixedCapacity{};
  options.fixed_capacity->releases_maps = true;
  return {make_coordinate_set(rows, options, exec), upload_matrix(features, 2, exec)};
}

void release_map(Tensor const& x, ts::Execution<ts::Host> const& exec)
{
  auto const mapped = kernel_map(*x.coordinates(), ts::ConvolutionKind::submanifold,
                                 ts::ConvolutionGeometry<3>{}, ts::Compatibility::none, exec);
  static_cast<void>(tile_map(*mapped.map, true, 1, 16, exec));
}

std::vector<float> convolve(Tensor const& x, ts::Dataflow dataflow, ts::Execution<ts::Host> const& exec)
{
  static std::vector<float> const weight(std::size_t{27} * 2 * 3, 0.25F);
  ts::ConvConfig config;
  config.dataflow = dataflow;
  float const* const no_bias = nullptr;
  return ts::convolution(x, weight.data(), no_bias, 3, ts::ConvolutionKind::submanifold,
                         ts::ConvolutionGeometry<3>{}, config, exec)
      .features_on_host(exec);
}

constexpr ts::Dataflow dataflows[] = {ts::Dataflow::implicit_gemm, ts::Dataflow::gather_scatter,
                                      ts::Dataflow::fetch_on_demand};

/// Counts the allocations of one size, each of which takes long enough for other threads to ask too.
class SlowMemory final : public ts::MemoryResource {
 public:
  explicit SlowMemory(std::size_t bytes) : bytes_{bytes} {}

  void* allocate(std::size_t bytes, ts::StreamHandle stream) override
  {
    if (bytes == bytes_) {
      ++count_;
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    return heap_.allocate(bytes, stream);
  }
  void deallocate(void* pointer, std::size_t bytes, ts::StreamHandle stream) noexcept override
  {
    heap_.deallocate(pointer, bytes, stream);
  }
  [[nodiscard]] int count() const { return count_; }

 private:
  ts::HostMemoryResource heap_;
  std::size_t bytes_;
  std::atomic<int> count_{0};
};

}  // namespace

TEST_CASE("released map: the host rebuilds it once, on one thread, and keeps it")
{
  SlowMemory memory{map_bytes};
  ts::Execution<ts::Host> const exec{4, &memory};
  for (auto const dataflow : dataflows) {
    CAPTURE(static_cast<int>(dataflow));
    auto const expected = convolve(make_input(exec), dataflow, exec);
    auto const x = make_input(exec);
    release_map(x, exec);
    auto const before = memory.count();
    CHECK(convolve(x, dataflow, exec) == expected);
    CHECK(memory.count() == before + 1);
    CHECK(convolve(x, dataflow, exec) == expected);
    CHECK(memory.count() == before + 1);
  }
}

TEST_CASE("released map: threads that share a map, some of which release it, get right results")
{
  ts::Execution<ts::Host> const exec{2};
  for (auto const dataflow : dataflows) {
    CAPTURE(static_cast<int>(dataflow));
    auto const expected = convolve(make_input(exec), dataflow, exec);
    for (int round = 0; round < 20; ++round) {
      auto const x = make_input(exec);
      std::vector<std::vector<float>> results(4);
      std::vector<std::thread> threads;
      for (std::size_t i = 0; i < results.size(); ++i) {
        threads.emplace_back([&, i] {
          if (i % 2 == 0) { release_map(x, exec); }
          results[i] = convolve(x, dataflow, exec);
        });
      }
      for (auto& thread : threads) { thread.join(); }
      for (auto const& result : results) { CHECK(result == expected); }
    }
  }
}

TEST_CASE("released map: one whose entries were given out stays where it is")
{
  ts::Execution<ts::Host> const exec{1};
  auto const x = make_input(exec);
  auto const map = kernel_map(*x.coordinates(), ts::ConvolutionKind::submanifold,
                              ts::ConvolutionGeometry<3>{}, ts::Compatibility::none, exec)
                       .map;
  auto const* const entries = map->out_in(exec);
  release_map(x, exec);
  CHECK_FALSE(ts::detail::access(*map).is_releasable());
  CHECK(map->out_in(exec) == entries);

  auto const other = make_input(exec);
  auto const released = kernel_map(*other.coordinates(), ts::ConvolutionKind::submanifold,
                                   ts::ConvolutionGeometry<3>{}, ts::Compatibility::none, exec)
                            .map;
  CHECK(ts::detail::access(*released).is_releasable());
  release_map(other, exec);
  auto const size = map->num_out() * map->volume();
  CHECK(std::equal(entries, entries + size, released->out_in(exec), released->out_in(exec) + size));
}
