// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Forward and backward passes of whole networks, maps included, layer by layer and as one CUDA graph with the
// optimizer's step; and the gradients of single layers.

#include "training.cuh"

int main(int argc, char** argv)
{
  return bench::run_benchmark("bench_training",
                              "Times training: forward and backward pass of whole networks on one batch, "
                              "whole steps eager and as a plan, "
                              "and the gradients of single layers.",
                              {"fp16", "bf16"}, argc, argv, [](bench::Session& session) {
                                bench::layer_gradients(session);
                                if (session.options().precision == "fp16") {
                                  bench::train_half(session);
                                } else {
                                  bench::train_bfloat16(session);
                                }
                              });
}
