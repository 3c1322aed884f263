// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "training.cuh"

void bench::train_half(Session& session)
{
  train_networks<__half>(session);
}
