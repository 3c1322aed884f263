// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "engines.hpp"

namespace label_scans {

std::unique_ptr<Engine> make_host_engine(Task const& task)
{
  return make_engine<tessera::Host, float>(task, program::host_execution(task.threads));
}

}  // namespace label_scans
