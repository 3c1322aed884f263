// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/cluster_sort_kernel.cuh>
#include <tessera/core/detail/per_device.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/launch.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// One cluster of `blocks` blocks with the most shared memory.
[[nodiscard]] inline cudaLaunchConfig_t cluster_config(int blocks, std::size_t shared_bytes,
                                                       cudaLaunchAttribute& attribute)
{
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(blocks);
  attribute.val.clusterDim.y = 1;
  attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(ClusterSort::threads);
  config.dynamicSmemBytes = shared_bytes;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return config;
}

/// Blocks of a cluster that the device runs this kernel with, at most 16: none if the program holds no code
/// of it for sm_90 or newer.
template <class Task, bool SegmentIds>
[[nodiscard]] int ask_blocks_of_cluster_sort(int device)
{
  DeviceGuard const guard{device};
  auto const kernel = cluster_sort_kernel<Task, SegmentIds>;
  auto const allow = [&](cudaFuncAttribute attribute, int value) {
    return cudaFuncSetAttribute(kernel, attribute, value) == cudaSuccess;
  };
  cudaFuncAttributes attributes{};
  int blocks = 0;
  if (cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess && attributes.ptxVersion >= 90 &&
      allow(cudaFuncAttributeMaxDynamicSharedMemorySize, ClusterSort::most_shared_bytes)) {
    blocks = ClusterSort::portable_blocks;
    cudaLaunchAttribute attribute{};
    auto const larger = cluster_config(ClusterSort::most_blocks, ClusterSort::most_shared_bytes, attribute);
    int clusters = 0;
    if (allow(cudaFuncAttributeNonPortableClusterSizeAllowed, 1) &&
        cudaOccupancyMaxActiveClusters(&clusters, kernel, &larger) == cudaSuccess && clusters >= 1) {
      blocks = ClusterSort::most_blocks;
    }
  }
  static_cast<void>(cudaGetLastError());
  return blocks;
}

/// The same, asked once per device.
template <class Task, bool SegmentIds>
[[nodiscard]] int blocks_of_cluster_sort(Execution<Device> const& exec)
{
  static PerDevice<int> known;
  return known.get(exec.device(),
                   [&] { return ask_blocks_of_cluster_sort<Task, SegmentIds>(exec.device()); });
}

/// Sorts by one cluster, where the device can and its shared memory holds the items.
/// Stream: enqueues one kernel.
template <bool SegmentIds, class Task>
[[nodiscard]] bool sort_by_cluster(Task const& task, std::int64_t count, int bits,
                                   Execution<Device> const& exec)
{
  using Key = typename Task::KeyType;
  auto blocks = blocks_of_cluster_sort<Task, SegmentIds>(exec);
  if (blocks == 0) { return false; }
  if (count <= ClusterSort::few) { blocks = ClusterSort::portable_blocks; }
  auto const items = static_cast<std::size_t>(ClusterSort::items_of_block(count, blocks));
  auto const shared_bytes = sizeof(ClusterSortShared) + 2 * items * (sizeof(Key) + sizeof(std::int32_t));
  if (shared_bytes > std::size_t{ClusterSort::most_shared_bytes}) { return false; }
  auto const passes = ceil_div(bits, ClusterSort::digit_bits);
  Buffer<Key, Device> keys{count * std::clamp(passes - 1, 0, 2), exec};
  Buffer<std::int32_t, Device> numbers{keys.size(), exec};
  auto* const second_keys = passes > 2 ? keys.data() + count : nullptr;
  auto* const second_numbers = passes > 2 ? numbers.data() + count : nullptr;
  SortBuffers<Key> const buffers{{keys.data(), second_keys}, {numbers.data(), second_numbers}};
  DeviceGuard const guard{exec.device()};
  cudaLaunchAttribute attribute{};
  auto config = cluster_config(blocks, shared_bytes, attribute);
  config.stream = exec.stream();
  cuda_check(cudaLaunchKernelEx(&config, cluster_sort_kernel<Task, SegmentIds>, task, buffers, count, bits));
  return true;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
