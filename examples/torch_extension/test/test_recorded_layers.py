# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Every recorded layer of spconv 2.3.8, its outputs and its gradients, by the operators."""

import json
import math
import unittest

import torch

from support import read_safetensors, recorded
from tessera_torch import ops


class RecordedLayers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tensors, metadata = read_safetensors(recorded("golden/spconv/layers.safetensors"))
        cls.cases = {name: json.loads(text) for name, text in metadata.items()}

    def near(self, got, want, what):
        error = (got.double() - want.double()).norm() / want.double().norm().clamp(min=1e-30)
        self.assertLess(error.item(), 1e-5, what)

    def weight(self, name, is_product):
        """[volume, in, out] and the parameter: spconv's [out, *size, in], of its products of rows [in, out]."""
        parameter = self.tensors[name].clone().requires_grad_()
        if is_product:
            return parameter.view(1, parameter.shape[-1], parameter.shape[0]), parameter
        return parameter.flatten(1, -2).permute(1, 2, 0), parameter

    def run_layer(self, name, case):
        dim, layer = case["dim"], case["layer"]
        coordinates = self.tensors[f"input.{dim}d.coords"].int().contiguous()
        features = self.tensors[f"input.{dim}d.feats"].clone().requires_grad_()
        parameters = {}
        if "Global" in layer:
            y = ops.global_pool(features, coordinates, 2, "max" if "Max" in layer else "average")
            return features, parameters, None, y[:, 0] if self.tensors[name + ".out_feats"].dim() == 1 else y
        size = case["kernel_size"]
        sizes = [size] * dim if isinstance(size, int) else size
        stride = case.get("stride", sizes if "Pool" in layer else 1)
        geometry = (size, stride, case.get("padding", 0), case.get("dilation", 1))
        grid = {"shape": case["spatial_shape"], "batch_size": 2}
        if "Pool" in layer:
            made = ops.kernel_map(coordinates, "strided", *geometry, **grid)
            y = ops.pool(features, made, "max" if "Max" in layer else "average", from_zero=True)
            return features, parameters, made, y
        is_product = math.prod(sizes) == 1 and (layer.startswith("SubM") or stride == 1)
        weight, parameters["weight"] = self.weight(name + ".weight", is_product)
        bias = self.tensors[name + ".bias"]
        if layer == "inverse":
            down = ops.kernel_map(coordinates, "strided", *geometry, **grid, rules="spconv")
            down_weight, parameters["down.weight"] = self.weight(name + ".down.weight", False)
            middle = ops.convolution(features, down_weight, None, down)
            made = down.transposed(coordinates, case["spatial_shape"])
            return features, parameters, made, ops.convolution(middle, weight, bias, made)
        kind = "expanding" if "Transpose" in layer else "submanifold" if layer.startswith("SubM") else "strided"
        if kind == "submanifold":
            geometry = (size, 1, 0, geometry[3])
        made = ops.kernel_map(coordinates, kind, *geometry, **grid, rules="spconv")
        return features, parameters, made, ops.convolution(features, weight, bias, made)

    def test_outputs_and_gradients_of_every_layer_are_the_recorded_ones(self):
        self.assertGreater(len(self.cases), 50)
        for name, case in self.cases.items():
            with self.subTest(layer=name):
                features, parameters, made, y = self.run_layer(name, case)
                order = slice(None)
                if made is not None:
                    rows = made.coordinates.tolist()
                    order = torch.tensor(sorted(range(len(rows)), key=rows.__getitem__))
                    self.assertTrue(torch.equal(made.coordinates[order], self.tensors[name + ".out_coords"]))
                    self.assertEqual(list(made.shape), case["out_spatial_shape"])
                self.near(y[order], self.tensors[name + ".out_feats"], name)
                grad = torch.zeros_like(y)
                grad[order] = self.tensors[name + ".grad_out"]
                wanted = [features, *parameters.values()]
                got = torch.autograd.grad(y, wanted, grad)
                if "AvgPool" not in case["layer"] or "Global" in case["layer"]:  # spconv multiplies where it should divide
                    self.near(got[0], self.tensors[name + ".grad_in"], name)
                for key, value in zip(parameters, got[1:]):
                    self.near(value, self.tensors[f"{name}.grad_{key}"], f"{name} {key}")


if __name__ == "__main__":
    unittest.main()
