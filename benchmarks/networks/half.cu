// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "networks.cuh"

void bench::measure_half(Session& session)
{
  measure_networks<__half>(session, ts::MathMode::exact);
}
