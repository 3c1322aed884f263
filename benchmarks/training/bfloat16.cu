// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "training.cuh"

void bench::train_bfloat16(Session& session)
{
  train_networks<__nv_bfloat16>(session);
}
