// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// The checks of the device's convolution, which device_<scalar>_test.cpp run for one scalar each.

#include "../support/small.hpp"
#include "../support/spaces.hpp"

#include <doctest/doctest.h>

#ifdef __CUDACC__

#include "device_dataflow_cases.hpp"
#include "device_tile_cases.hpp"

#else

#include <tessera/conv/policies.hpp>

namespace device_cases {

// Where there is no nvcc the test cases are still there, and skip themselves before they call these.
struct Half;
struct BFloat16;
enum class Part { whole, few_splits, more_splits };
template <class Scalar>
void equals_the_definition(Part, tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void does_not_depend_on_the_order_of_rows(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void keeps_a_nan_where_it_is_read(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void is_the_bias_where_nothing_is_read(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void has_the_same_bits_in_every_tile(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void agrees_with_gather_scatter_on_many_rows()
{}
template <class Scalar>
void reads_the_weight_packed_for_any_number_of_rows()
{}
template <class Scalar>
void applies_the_epilogue(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void reads_two_matrices_as_one(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void equals_the_definition_in_all_tiles(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void takes_the_tiles_asked_for_or_the_next(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void reads_two_matrices_in_the_tiles_asked_for(tessera::MathMode = tessera::MathMode::exact)
{}

}  // namespace device_cases

#endif
