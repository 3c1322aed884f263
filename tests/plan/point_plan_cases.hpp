// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/allocations.hpp"
#include "../support/device.hpp"

// Plans are CUDA graphs; a build without CUDA has none.
#ifdef __CUDACC__
#include "plan_cases.hpp"

#include <tessera/ops/bev.hpp>
#include <tessera/ops/cast.hpp>
#include <tessera/plan/plan.cuh>

#include <limits>
#include <random>
#include <vector>

namespace point_plan_cases {

using namespace tessera;
using namespace plan_cases;

/// The smallest network: its logits are the features. What a plan does around layers shows as well with it.
struct Identity {
  using Tensor = SparseTensor<3, float>;
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Device> const&) { return x; }
};
struct IdentityHalf {
  using Tensor = SparseTensor<3, __half>;
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Device> const&) { return x; }
};
/// An encoder without layers.
struct Flattening {
  struct Options {
    int in_channels = 4;
  };
  using Tensor = SparseTensor<3, float>;
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Device> const&) { return x; }
  template <class Out = void>
  [[nodiscard]] auto forward_bev(Tensor const& x, Execution<Device> const& exec, DenseLayout layout)
  {
    return bev<Out>(x, BevOptions().layout(layout), exec);
  }
  [[nodiscard]] Options options() const { return {}; }
};

/// Points [count, 4] of [-extent, extent), some equal, some not finite; the last number is a feature.
inline std::vector<float> random_points(unsigned seed, int count, float extent)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> uniform{-extent, extent};
  std::vector<float> points;
  for (int i = 0; i < count; ++i) {
    for (int axis = 0; axis < 4; ++axis) {
      bool const repeats = i > 0 && axis < 3 && random() % 2 == 0;
      points.push_back(repeats ? points[points.size() - 4] : uniform(random));
    }
    if (random() % 17 == 0) { points[points.size() - 3] = std::numeric_limits<float>::quiet_NaN(); }
  }
  return points;
}

inline std::vector<float> columns_of(std::vector<float> const& points, std::size_t first, std::size_t end)
{
  std::vector<float> result;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i % 4 >= first && i % 4 < end) { result.push_back(points[i]); }
  }
  return result;
}

/// What is not planned: points to labels, stage by stage.
struct Eager {
  std::vector<Coordinate<3>> rows;
  std::vector<std::int32_t> labels;
};
inline Eager eager_labels(std::vector<float> const& points, QuantizeOptions<3> const& options,
                          Execution<Device> const& exec)
{
  auto const positions = Matrix<float, Device>{upload(columns_of(points, 0, 3), exec),
                                               static_cast<std::int64_t>(points.size() / 4), 3};
  auto const features = Matrix<float, Device>{upload(points, exec), positions.rows(), 4};
  auto const voxels = sparse_quantize(PointsView<float>{positions.view(), features.view()}, options, exec);
  auto const logits = cast<__half>(voxels.features.view(), exec);
  Eager result;
  result.rows = download(voxels.coordinates->data(), voxels.num_voxels(), exec);
  result.labels = download(gather(argmax(logits.view(), exec), voxels.inverse, -1, exec), exec);
  return result;
}

template <class T>
class Pinned {
 public:
  explicit Pinned(std::size_t size)
  {
    void* memory = nullptr;
    detail::cuda_check(cudaMallocHost(&memory, size * sizeof(T) + 1));
    data_ = static_cast<T*>(memory);
  }
  Pinned(Pinned const&) = delete;
  Pinned& operator=(Pinned const&) = delete;
  ~Pinned() { static_cast<void>(cudaFreeHost(data_)); }
  [[nodiscard]] T* data() noexcept { return data_; }

 private:
  T* data_ = nullptr;
};

inline QuantizeOptions<3> grid_of_half_metres()
{
  return QuantizeOptions<3>(0.5F).origin(GridOrigin::lowest_voxel).range({-9, -9, -9}, {9, 9, 9});
}

}  // namespace point_plan_cases
#endif
