// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/golden.hpp"

#include <tessera/conv/convolution.hpp>
#include <tessera/kmap/build.hpp>

using namespace tessera;

TEST_CASE_TEMPLATE("kernel map: every recorded map of TorchSparse is reproduced, order of rows included",
                   Space, TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/kmaps.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  Execution<Space> const exec{};
  auto const input = test::coordinates_of(file.to<std::int32_t>("input.coords"));
  auto const cases = test::golden_maps(file);
  REQUIRE_FALSE(cases.empty());

  for (auto const& golden : cases) {
    CAPTURE(golden.name);
    CoordinateSetOptions<3> options;
    options.spatial_range = golden.spatial_range;
    auto const set = make_coordinate_set(input, options, exec);
    auto const mapped = detail::kernel_map(golden.config, *set, golden.kind(), golden.geometry, exec);

    auto const expected = test::coordinates_of(file.to<std::int32_t>(golden.name + ".out_coords"));
    REQUIRE(mapped.coordinates->num_rows() == static_cast<std::int64_t>(expected.size()));
    auto const found = download(mapped.coordinates->data(), mapped.coordinates->num_rows(), exec);
    CHECK(found == expected);

    auto const recorded = file.to<std::int32_t>(golden.name + ".out_in_map");
    auto const& map = *mapped.map;
    auto const volume = golden.geometry.volume();
    REQUIRE(static_cast<std::int64_t>(recorded.size()) == map.num_out() * volume);
    auto const out_in = download(map.out_in(exec), map.num_out() * volume, exec);
    std::int64_t different = 0;
    for (std::size_t i = 0; i < recorded.size(); ++i) {
      auto const row = i / static_cast<std::size_t>(volume);
      auto const k = test::torchsparse_offset(static_cast<int>(i % static_cast<std::size_t>(volume)),
                                              golden.geometry.kernel_size);
      if (out_in[i] != recorded[row * static_cast<std::size_t>(volume) + static_cast<std::size_t>(k)]) {
        ++different;
      }
    }
    CHECK(different == 0);
    set->check(exec);
  }
}
