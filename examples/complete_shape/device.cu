// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/stream.cuh"
#include "complete.hpp"

#include <tessera/tessera.cuh>

namespace complete_shape {

Completed complete_on_device(Task const& task)
{
  program::Stream const stream;
  return complete<ts::Device>(task, ts::Execution<>{stream.get()});
}

}  // namespace complete_shape
