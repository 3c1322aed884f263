// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "operations.hpp"

#include <tessera/ops/channels_to_space.hpp>
#include <tessera/ops/grouped_convolution.hpp>
#include <tessera/ops/layer_norm.hpp>

using namespace tessera;
using namespace differentiated;

namespace {

/// Calls `visit(problem, run)` for grouped convolutions, kernels of other shapes, and channels to space.
template <class Visit>
void for_each_layer(Visit const& visit)
{
  auto const grouped = [&](char const* name, ConvolutionGeometry<3> const& shape, int in, int out,
                           int groups) {
    auto const kind = all_equal(shape.stride, 1) ? Kind::submanifold : Kind::strided;
    visit(Problem{name, {in}, {{shape.volume(), in / groups, out}, {out}}}, [=](auto const& o,
                                                                                auto const& exec) {
      return grouped_convolution(o.x[0], o.w[0], o.w[1], {groups, out, kind, shape, ConvConfig{}}, exec);
    });
  };
  grouped("depthwise", geometry(3), 4, 4, 4);
  grouped("depthwise, even", geometry(2), 2, 2, 2);
  grouped("depthwise, strided", geometry(3, 2), 3, 3, 3);
  grouped("grouped", geometry(3), 4, 6, 2);
  grouped("several outputs a channel", geometry(2, 2), 2, 4, 2);

  auto cross = geometry(3);
  cross.shape = KernelShape<3>::cross();
  visit(Problem{"cross", {2}, weight_and_bias(7, 2, 3)}, [=](auto const& o, auto const& exec) {
    return convolve(o, Kind::submanifold, cross, ConvConfig{}, exec);
  });
  auto listed = geometry(1);
  listed.shape = KernelShape<3>::offsets({{0, 1, 0}, {0, 0, 0}, {0, -1, 0}, {1, 1, -1}, {-1, -1, 1}});
  visit(Problem{"listed offsets with a mirror", {2}, weight_and_bias(5, 2, 3)},
        [=](auto const& o, auto const& exec) {
          return convolve(o, Kind::submanifold, listed, ConvConfig{}, exec);
        });
  auto lopsided = geometry(1);
  lopsided.shape = KernelShape<3>::offsets({{0, 1, 0}, {2, 0, 0}});
  visit(Problem{"listed offsets without", {2}, weight_and_bias(2, 2, 3)},
        [=](auto const& o, auto const& exec) {
          return convolve(o, Kind::submanifold, lopsided, ConvConfig{}, exec);
        });

  for (auto const order : {ChildOrder::last_axis_fastest, ChildOrder::first_axis_fastest}) {
    visit(Problem{"space to channels and back", {2}, {}}, [=](auto const& o, auto const& exec) {
      auto const coarse = space_to_channels(o.x[0], order, exec);
      return channels_to_space_like(tanh(coarse, exec), o.x[0], order, exec);
    });
    visit(Problem{"channels to space by a mask", {16}, {}, 2}, [=](auto const& o, auto const& exec) {
      std::vector<std::uint8_t> mask;
      for (std::int64_t i = 0; i < o.x[0].capacity(); ++i) {
        mask.push_back(static_cast<std::uint8_t>(37 * i));
      }
      auto const fine = channels_to_space(o.x[0], upload_matrix(mask, 1, exec), order, exec);
      return add(fine, channels_to_space_like(tanh(o.x[0], exec), fine, order, exec), exec);
    });
  }
}

}  // namespace

TEST_CASE_TEMPLATE(
    "gradients of grouped convolution, kernel shapes, layer norm and channels to space agree with finite "
    "differences",
    Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_each_layer([&](Problem const& problem, auto const& run) { check_differences(problem, run, exec); });
  Problem const norm{"layer_norm", {5}, {{5}, {5}}};  // whose parameters are in float, of 16 bits too
  check_differences(
      norm, [](auto const& o, auto const& own) { return layer_norm(o.x[0], o.w[0], o.w[1], 1e-3, own); },
      exec);
}

#ifdef __CUDACC__

TEST_CASE_TEMPLATE("gradients of these layers on the device are those on the host", Scalar, float, __half,
                   __nv_bfloat16)
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{};
  for_each_layer([&](Problem const& problem, auto const& run) { check_spaces<Scalar>(problem, run, exec); });
}

#endif
