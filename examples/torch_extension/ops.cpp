// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The schemas of the operators; tessera_torch/ops.py says what they do, cpu.cpp and cuda.cu implement them.

#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(tessera, library)
{
  library.def(
      "kernel_map(Tensor coordinates, str kind, int[] kernel_size, int[] stride, int[] padding, int[] "
      "dilation, "
      "int[] output_padding, SymInt[] shape, SymInt batch_size, str rules, str kmap, str downsample) -> "
      "(Tensor out_coordinates, Tensor out_in, Tensor mask_keys)");
  library.def(
      "pair_map(Tensor coordinates, Tensor out_coordinates, int[] kernel_size, int[] stride, int[] padding, "
      "int[] dilation, SymInt[] shape, SymInt[] out_shape, SymInt batch_size, str kmap) -> "
      "(Tensor out_in, Tensor mask_keys)");
  library.def("transpose_map(Tensor out_in, SymInt num_in) -> Tensor");
  library.def(
      "tile_rows(Tensor features, Tensor weight, SymInt num_out, int centre, str operation, int splits, str "
      "math) -> "
      "int");
  library.def(
      "tile_map(Tensor out_in, Tensor mask_keys, int[] kernel_size, int centre, int tile_rows, bool sort, "
      "int splits) -> (Tensor order, Tensor map, Tensor masks)");
  library.def("pair_list(Tensor out_in, SymInt num_in) -> (Tensor inputs, Tensor outputs, Tensor begins)");

  library.def(
      "convolution(Tensor features, Tensor weight, Tensor? bias, Tensor out_in, Tensor? in_out, int[] "
      "kernel_size, "
      "int centre, bool symmetric, Tensor[] tiles, Tensor[] gradient_tiles, str dataflow, bool sort, int "
      "splits, "
      "str math) -> Tensor");
  library.def(
      "convolution_backward(Tensor grad, Tensor features, Tensor weight, Tensor out_in, Tensor? in_out, "
      "int[] kernel_size, int centre, bool symmetric, Tensor[] gradient_tiles, Tensor[] pairs, str dataflow, "
      "bool sort, int splits, str math, bool[] wanted) -> (Tensor grad_features, Tensor grad_weight, Tensor "
      "grad_bias)");

  library.def("pool(Tensor features, Tensor out_in, Tensor? in_out, str mode, bool from_zero) -> Tensor");
  library.def(
      "pool_backward(Tensor grad, Tensor features, Tensor out_in, Tensor in_out, str mode, bool from_zero) "
      "-> "
      "Tensor");
  library.def("global_pool(Tensor features, Tensor coordinates, SymInt batch_size, str mode) -> Tensor");
  library.def("global_pool_backward(Tensor grad, Tensor features, Tensor coordinates, str mode) -> Tensor");

  library.def(
      "dense(Tensor features, Tensor coordinates, SymInt[] shape, SymInt batch_size, bool channels_first) -> "
      "Tensor");
  library.def("dense_backward(Tensor grad, Tensor coordinates, bool channels_first) -> Tensor");
  library.def("sparse(Tensor dense, bool channels_first) -> (Tensor features, Tensor coordinates)");

  library.def(
      "hard_voxelize(Tensor points, Tensor? batch, SymInt batch_size, float[] voxel_size, float[] lower, "
      "float[] upper, int max_points, int max_voxels, str order) -> (Tensor voxels, Tensor coordinates, "
      "Tensor num_points, Tensor means)");
  library.def(
      "dynamic_voxelize(Tensor points, Tensor? batch, SymInt batch_size, float[] voxel_size, float[] lower, "
      "float[] upper, str reduce, str order) -> (Tensor features, Tensor coordinates, Tensor inverse)");

  library.def("unite(Tensor a, Tensor b) -> (Tensor coordinates, Tensor rows)");
  library.def("find_rows(Tensor coordinates, Tensor queries) -> Tensor");
  library.def("check_coordinates(Tensor coordinates, SymInt[] shape, SymInt batch_size) -> ()");
}
