// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Gradients of convolutions against the definition, written as loops over the map, against differences of the
// loss, and against TorchSparse's.

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/golden.hpp"
#include "../support/small.hpp"
#include "../support/ways.hpp"
#include "gradient_cases.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/conv/convolution_backward.hpp>

#include <random>

using namespace tessera;
using namespace gradient_cases;

TEST_CASE_TEMPLATE("convolution: a weight in any order of memory gives the bits of the plain one", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  std::mt19937 random{95};
  auto const voxels = random_voxels(8, 3, random);
  auto const c = make_case({"submanifold", Kind::submanifold, 3, 1, 1, 16, 24}, voxels, random);
  Operands<float, Space> const operands{c, voxels, exec};
  auto arguments =
      detail::make_arguments(operands.view.data, static_cast<float const*>(nullptr), 24, MathMode::exact);
  arguments.features = operands.x.data();
  arguments.in_channels = 16;
  auto const run = [&](auto dataflow) {
    Buffer<float, Space> y{operands.grad.size(), exec};
    fill_bytes(y, 0xff, exec);
    arguments.output = y.data();
    decltype(dataflow)::forward(arguments, *operands.map, exec);
    return download(y, exec);
  };
  auto const check = [&](auto dataflow) {
    auto const plain_arguments = arguments;
    auto const expected = run(dataflow);
    // [out, volume, in], as spconv stores it, and [in, out, volume] from the last offset to the first.
    auto const weight = rounded<float>(c.weight);
    std::vector<float> krsc(weight.size());
    std::vector<float> mirrored(weight.size());
    for (std::size_t k = 0; k < 27; ++k) {
      for (std::size_t i = 0; i < 16; ++i) {
        for (std::size_t o = 0; o < 24; ++o) {
          krsc[(o * 27 + k) * 16 + i] = weight[(k * 16 + i) * 24 + o];
          mirrored[(i * 24 + o) * 27 + 26 - k] = weight[(k * 16 + i) * 24 + o];
        }
      }
    }
    auto const krsc_there = upload(krsc, exec);
    arguments.weight = krsc_there.data();
    arguments.weight_steps = {16, 1, 27 * 16};
    CHECK(same_bits(run(dataflow), expected));
    auto const mirrored_there = upload(mirrored, exec);
    WeightView<float> const view{mirrored_there.data(), 27, 16, 24, 1, 24 * 27, 27};
    arguments.weight = view.mirrored().data;
    arguments.weight_steps = view.mirrored().steps();
    CHECK(same_bits(run(dataflow), expected));
    arguments = plain_arguments;
  };
  check(ConvMode<0>{});
  check(ConvMode<1>{});
  check(ConvMode<2>{});
  check(GatherScatter{});
  check(FetchOnDemand{});
  check(ImplicitGemm<true, 1, Tile<64, 32, 16, 2>>{});
}
