// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "networks.cuh"

void bench::measure_bfloat16(Session& session)
{
  measure_networks<__nv_bfloat16>(session, ts::MathMode::exact);
}
