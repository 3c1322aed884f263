// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Gradients on the device are those on the host, in each scalar, and have the same bits on every run.

#include "operations.hpp"

#ifdef __CUDACC__

using namespace tessera;
using namespace differentiated;

TEST_CASE_TEMPLATE("gradients of every operation on the device are those on the host", Scalar, float, __half,
                   __nv_bfloat16)
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{};
  auto const check = [&](Problem const& problem, auto const& run) {
    check_spaces<Scalar>(problem, run, exec);
  };
  for_each_kind(check);
  for_each_dataflow(check);
  for_each_epilogue(check);
  for_each_linear(check);
  for_each_elementwise(check);
}

#endif
