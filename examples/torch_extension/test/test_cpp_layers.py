# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Layers computed by the C++ functions from equal weights: the operators give the same bits, gradients too.

The program cpp_layers wrote them; TESSERA_TORCH_CPP_LAYERS names it."""

import os
import subprocess
import tempfile
import unittest

import torch

from support import cpu_only
from tessera_torch import ops

PROGRAM = os.environ.get("TESSERA_TORCH_CPP_LAYERS")


@cpu_only
@unittest.skipUnless(PROGRAM, "TESSERA_TORCH_CPP_LAYERS does not name the program cpp_layers")
class CppLayers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from safetensors.torch import load_file

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "layers.safetensors")
            subprocess.run([PROGRAM, path], check=True)
            cls.tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}

    def same(self, got, name):
        self.assertTrue(torch.equal(got, self.tensors[name].reshape(got.shape)), name)

    def test_outputs_and_gradients_have_the_bits_of_the_cpp_functions(self):
        t = self.tensors
        coordinates = t["coordinates"]
        grid = {"shape": (9, 9, 9), "batch_size": 2}
        down = ops.kernel_map(coordinates, "strided", 3, 2, 1, **grid)
        layers = {
            "submanifold": (ops.kernel_map(coordinates, "submanifold", 3, **grid), t["features"], "weight", t["bias"]),
            "strided": (down, t["features"], "weight", t["bias"]),
            "expanding": (ops.kernel_map(coordinates, "expanding", 3, 2, 1, **grid), t["features"], "weight", t["bias"]),
            "inverse": (down.transposed(coordinates, (9, 9, 9)), t["strided.out"], "inverse_weight", None),
        }
        for name, (made, features, weight, bias) in layers.items():
            for strided in (False, True):  # the weight as spconv keeps it, and as the C++ functions have it
                with self.subTest(layer=name, strided=strided):
                    w = t[weight].permute(2, 0, 1).contiguous().permute(1, 2, 0) if strided else t[weight].clone()
                    inputs = [features.clone().requires_grad_(), w.requires_grad_()]
                    if bias is not None:
                        inputs.append(bias.clone().requires_grad_())
                    y = ops.convolution(*inputs, *([None] if bias is None else []), made)
                    self.same(made.coordinates, name + ".coordinates")
                    self.same(y, name + ".out")
                    grads = torch.autograd.grad(y, inputs, t[name + ".grad"])
                    for got, of in zip(grads, ("features", "weight", "bias")):
                        self.same(got, f"{name}.grad_{of}")
        for mode in ("max", "average"):
            features = t["features"].clone().requires_grad_()
            y = ops.pool(features, down, mode)
            self.same(y, mode + ".out")
            self.same(torch.autograd.grad(y, features, t[mode + ".grad"])[0], mode + ".grad_features")
            self.same(ops.global_pool(features, coordinates, 2, mode), "global_" + mode)
        self.same(ops.dense(t["features"], coordinates, (9, 9, 9), 2), "dense")


if __name__ == "__main__":
    unittest.main()
