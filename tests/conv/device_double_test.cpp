// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "device_cases.hpp"

TEST_CASE("device convolution of double: equals its definition, unsorted, sorted and fetched on demand")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::equals_the_definition<double>(device_cases::Part::whole);
}

TEST_CASE("device convolution of double: equals its definition in two and three splits")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::equals_the_definition<double>(device_cases::Part::few_splits);
}

TEST_CASE("device convolution of double: equals its definition in more splits and by gather-scatter")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::equals_the_definition<double>(device_cases::Part::more_splits);
}

TEST_CASE("device convolution of double: gives the same bits for any order of input and output rows")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::does_not_depend_on_the_order_of_rows<double>();
}

TEST_CASE("device convolution of double: a NaN reaches only the rows that read it")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::keeps_a_nan_where_it_is_read<double>();
}

TEST_CASE("device convolution of double: rows without neighbours are the bias or 0, and no rows are legal")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::is_the_bias_where_nothing_is_read<double>();
}

TEST_CASE("device convolution of double: gives the same bits in every tile")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::has_the_same_bits_in_every_tile<double>();
}

TEST_CASE("device convolution of double: residual and activation are applied before the one rounding")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::applies_the_epilogue<double>();
}

TEST_CASE("device convolution of double: equals its definition whatever tiles are asked for")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::equals_the_definition_in_all_tiles<double>();
}

TEST_CASE("device convolution of double: tiles are those asked for, or the next that can be")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::takes_the_tiles_asked_for_or_the_next<double>();
}

TEST_CASE("device convolution of double: input channels come from two matrices in the tiles asked for")
{
  if (test::skipped<tessera::Device>()) { return; }
  device_cases::reads_two_matrices_in_the_tiles_asked_for<double>();
}
