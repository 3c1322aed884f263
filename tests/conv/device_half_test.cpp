// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "device_cases.hpp"

TEST_CASE("device convolution of half: equals its definition, unsorted, sorted and fetched on demand")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::equals_the_definition<device_cases::Half>(device_cases::Part::whole);
}

TEST_CASE("device convolution of half: equals its definition in two and three splits")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::equals_the_definition<device_cases::Half>(device_cases::Part::few_splits);
}

TEST_CASE("device convolution of half: equals its definition in more splits and by gather-scatter")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::equals_the_definition<device_cases::Half>(device_cases::Part::more_splits);
}

TEST_CASE("device convolution of half: gives the same bits for any order of input and output rows")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::does_not_depend_on_the_order_of_rows<device_cases::Half>();
}

TEST_CASE("device convolution of half: a NaN reaches only the rows that read it")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::keeps_a_nan_where_it_is_read<device_cases::Half>();
}

TEST_CASE("device convolution of half: rows without neighbours are the bias or 0, and no rows are legal")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::is_the_bias_where_nothing_is_read<device_cases::Half>();
}

TEST_CASE("device convolution of half: gives the same bits in every tile")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::has_the_same_bits_in_every_tile<device_cases::Half>();
}

TEST_CASE("device convolution of half: many rows give what gather-scatter gives, to one rounding")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::agrees_with_gather_scatter_on_many_rows<device_cases::Half>();
}

TEST_CASE("device convolution of half: many rows read the weight that is packed before there are rows")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::reads_the_weight_packed_for_any_number_of_rows<device_cases::Half>();
}

TEST_CASE("device convolution of half: residual and activation are applied before the one rounding")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::applies_the_epilogue<device_cases::Half>();
}

TEST_CASE("device convolution of half: input channels come from two matrices, and weights laid out before")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::reads_two_matrices_as_one<device_cases::Half>();
}

TEST_CASE("device convolution of half: equals its definition whatever tiles are asked for")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::equals_the_definition_in_all_tiles<device_cases::Half>();
}

TEST_CASE("device convolution of half: tiles are those asked for, or the next that can be")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::takes_the_tiles_asked_for_or_the_next<device_cases::Half>();
}

TEST_CASE("device convolution of half: input channels come from two matrices in the tiles asked for")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::reads_two_matrices_in_the_tiles_asked_for<device_cases::Half>();
}
