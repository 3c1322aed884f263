// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "networks.cuh"

void bench::measure_float(Session& session, ts::MathMode math)
{
  measure_networks<float>(session, math);
}
