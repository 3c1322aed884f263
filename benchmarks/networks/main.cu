// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Whole networks over one scan, maps included: layer by layer, with layers joined, and as one CUDA graph.

#include "networks.cuh"

int main(int argc, char** argv)
{
  return bench::run_benchmark(
      "bench_networks",
      "Times whole networks on one scan: eager, fused, and as a plan (ten times as many calls).",
      {"fp16", "bf16", "fp32", "tf32"}, argc, argv, [](bench::Session& session) {
        auto const& precision = session.options().precision;
        if (precision == "fp16") { bench::measure_half(session); }
        if (precision == "bf16") { bench::measure_bfloat16(session); }
        if (precision == "fp32") { bench::measure_float(session, tessera::MathMode::exact); }
        if (precision == "tf32") { bench::measure_float(session, tessera::MathMode::tf32); }
        bench::measure_points(session);
        bench::measure_decoder(session);
      });
}
