// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "complete.hpp"

namespace complete_shape {

Completed complete_on_host(Task const& task)
{
  return complete<ts::Host>(task, program::host_execution(task.options->threads));
}

}  // namespace complete_shape
