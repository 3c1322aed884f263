// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// One translation unit of everything, compiled for other architectures: what an older or a newer one
// than that of the tests refuses shows here. Templates are instantiated explicitly, so that their kernels are
// compiled.
#include <tessera/tessera.cuh>

using tessera::Device;
using tessera::Execution;

template class tessera::nn::Conv<3, float>;
template class tessera::nn::Conv<3, double>;
template class tessera::nn::Conv<3, __nv_bfloat16>;
template class tessera::nn::Conv<
    2, float, Device,
    tessera::ConvPolicy<tessera::ConvMode<2>, tessera::Hashmap, tessera::MinkowskiDownsample>>;
template class tessera::models::MinkUNet<3, __half>;
template class tessera::nn::MaxPool<3, __half>;
template class tessera::nn::AveragePool<4, double>;

template tessera::Matrix<__half, Device> tessera::global_average_pool(tessera::SparseTensor<3, __half> const&,
                                                                      Execution<Device> const&);

int main() {}
