// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/dropout.hpp>
#include <tessera/nn/spvconv.hpp>
#include <tessera/ops/point_voxel.hpp>

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The way of SPVCNN and SPVNAS through a U-Net of four levels: points and voxels meet after the stem, at the
/// bottom, halfway up and at the end. Returns what the points hold then.
///
/// `z0 = v2p(stem)`, `z1 = v2p(x4) + transform0(z0)`, `z2 = v2p(y2) + transform1(z1)`, `z3 = v2p(y4) +
/// transform2(z2)`; y1 begins with p2v(z1) and y3 with p2v(z2).
///
/// @param unet        has stem(), encode() and decode()
/// @param transforms  three of them
/// @param dropouts    of what the points bring to y1 and y3: two, since one drops the same in both where it is
///                    seeded by steps
/// @param voxels      the input of the stem
/// @param points      the same as points; their features are not read
template <class UNet, int Dim, class Scalar, class Space>
[[nodiscard]] PointTensor<Dim, Scalar, Space> point_unet(
    UNet& unet, std::vector<std::unique_ptr<nn::PointTransform<Dim, Scalar, Space>>> const& transforms,
    std::array<nn::Dropout<Dim, Scalar, Space>, 2>& dropouts, SparseTensor<Dim, Scalar, Space> voxels,
    PointTensor<Dim, Scalar, Space> points, Compatibility compat, Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  constexpr std::size_t levels = 4;
  std::array<Tensor, levels> skips;
  skips[0] = unet.stem(std::exchange(voxels, {}), exec);
  points = voxel_to_point(skips[0], points, exec);
  Tensor x = point_to_voxel(points, skips[0], exec, compat);
  for (std::size_t level = 0; level < levels; ++level) {
    x = unet.encode(level, x, exec);
    if (level + 1 < levels) { skips[level + 1] = x; }
  }
  auto const meet = [&](std::size_t k) {
    points = add(voxel_to_point(x, points, exec), transforms[k]->forward(points, exec), exec);
  };
  meet(0);
  for (std::size_t level = 0; level < levels; ++level) {
    if (level % 2 == 0) { x = dropouts[level / 2].forward(point_to_voxel(points, x, exec, compat), exec); }
    x = unet.decode(level, std::exchange(x, {}), std::exchange(skips[levels - 1 - level], {}), exec);
    if (level % 2 == 1) { meet(1 + level / 2); }
  }
  return points;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
