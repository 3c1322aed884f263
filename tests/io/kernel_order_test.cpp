// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "convert_cases.hpp"

#include <tessera/io/convert.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace tessera;
using namespace convert_cases;

TEST_CASE("convert: a norm called bn beside a kernel is no norm of MinkowskiEngine's")
{
  auto const line = [](Made const& made) { return io::convert_checkpoint(made.state, "f").report.front(); };
  auto const order = [](Made const& made) {
    auto const values = io::convert_checkpoint(made.state, "f").tensors.to_float(made.state.tensors[0].first);
    std::vector<int> result;
    for (std::size_t k = 0; k < 8; ++k) { result.push_back(static_cast<int>(values[6 * k]) / 6); }
    return result;
  };
  std::vector<int> const unchanged{0, 1, 2, 3, 4, 5, 6, 7};
  std::vector<int> const first_axis_fastest{0, 4, 2, 6, 1, 5, 3, 7};
  for (std::string const block : {"down.", ""}) {
    CAPTURE(block);
    Made made;  // self.conv, self.bn = spnn.Conv3d(...), spnn.BatchNorm(...)
    made.add(block + "conv.kernel", {8, 2, 3}).norm(block + "bn", 3);
    CHECK(line(made).layout == "torchsparse");
    CHECK(order(made) == unchanged);
    // MinkowskiEngine's is one level below, with nothing beside it.
    Made wrapped;
    wrapped.add(block + "conv.kernel", {8, 2, 3}).norm(block + "bn.bn", 3);
    CHECK(line(wrapped).layout == "minkowski");
    CHECK(order(wrapped) == first_axis_fastest);
    // A norm of another width follows another layer, and says nothing.
    Made other;
    other.add(block + "conv.kernel", {8, 2, 3}).norm(block + "bn", 5);
    CHECK(line(other).warning);
    CHECK(test::has(line(other).reason, "nothing tells which of them wrote it"));
    CHECK(order(other) == unchanged);
  }
  // What speaks for both is not guessed.
  Made both;
  both.add("a.conv.kernel", {8, 2, 3}).norm("a.bn", 3).norm("first.bn", 2);
  CHECK(line(both).warning);
  CHECK(order(both) == unchanged);
}

TEST_CASE(
    "convert: a dense head's norm says nothing of the kernels, a norm or bias of shape [1, channels] does")
{
  auto const line = [](Made const& made) { return io::convert_checkpoint(made.state, "f").report.front(); };
  Made instance;
  instance.add("conv.kernel", {8, 2, 3}).add("norm.weight", {1, 3}).add("norm.bias", {1, 3});
  instance.add("head.0.weight", {3, 3}).add("head.0.bias", {3}).norm("head.1", 3);
  CHECK(line(instance).layout == "minkowski");
  CHECK(io::convert_checkpoint(instance.state, "f").tensors.to_float("conv.kernel")[6] == 24.0F);
  Made head;
  head.add("conv.kernel", {8, 2, 3}).add("head.0.weight", {3, 3}).add("head.0.bias", {3}).norm("head.1", 3);
  CHECK(line(head).warning);
  CHECK(test::has(line(head).reason, "nothing tells which of them wrote it"));
  // A linear layer of one channel out has a weight [1, channels] too.
  Made single;
  single.add("conv.kernel", {8, 2, 3}).add("head.weight", {1, 3}).add("head.bias", {1});
  CHECK(line(single).warning);
  // A kernel's own bias or norm of as many channels is TorchSparse's.
  Made ours;
  ours.add("conv.kernel", {8, 2, 3}).add("conv.bias", {3}).add("head.weight", {1, 3});
  CHECK_FALSE(line(ours).warning);
  CHECK(line(ours).layout == "torchsparse");
}

TEST_CASE("convert: a kernel of three dimensions that may be a dense one's is marked")
{
  auto const warns = [](std::vector<std::int64_t> const& shape, ConvertOptions const& options = {}) {
    Made made;
    made.add("c.weight", shape).add("c.bias", {shape[0]});
    auto const line = io::convert_checkpoint(made.state, "f", options).report.front();
    CHECK(line.warning == test::has(line.reason, "a dense convolution may have this shape as well"));
    return line.warning;
  };
  CHECK(warns({16, 3, 3, 3, 3}));
  CHECK(warns({16, 1, 3, 3, 3}));
  CHECK_FALSE(warns({16, 3, 3, 3, 10}));
  CHECK_FALSE(warns({16, 3, 3, 3, 3}, ConvertOptions().kernel_size("c.weight", {3, 3, 3})));
  CHECK_FALSE(warns({16, 3, 3, 3, 3}, ConvertOptions().layout(WeightLayout::krsc)));
  // Also where the other kernels of the file decide.
  Made made;
  made.add("a.weight", {16, 3, 3, 3, 12}).add("b.weight", {3, 3, 3, 3, 3});
  auto const line = io::convert_checkpoint(made.state, "f").report.back();
  CHECK(line.warning);
  CHECK(test::has(line.reason, "as 1 other kernel of the file; a dense convolution may"));
}

}  // namespace
