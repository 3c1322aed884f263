# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""spconv's single layers, recorded with their gradients, through the classes."""

import json
import unittest

import torch

from support import by_coordinate, read_metadata, read_safetensors, recorded, relative
from tessera_torch import SparseConvTensor, spconv

FILE = "golden/spconv/layers.safetensors"
LAYER_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation")


def build(config: dict, tensors: dict, name: str):
    """The network of a case, and its recorded parameters by the name of their recorded gradient."""
    dim, kind = config["dim"], config["layer"]
    arguments = {k: config[k] for k in LAYER_ARGUMENTS if k in config}
    if "Global" in kind:
        return spconv.SparseSequential(getattr(spconv, kind)()), {}
    if "Pool" in kind:
        return spconv.SparseSequential(getattr(spconv, kind)(**arguments)), {}
    weight = tensors[name + ".weight"]
    cin, cout = weight.shape[-1], weight.shape[0]
    if kind == "inverse":
        down_weight = tensors[name + ".down.weight"]
        down = getattr(spconv, f"SparseConv{dim}d")(down_weight.shape[-1], down_weight.shape[0], **arguments, bias=False,
                                                   indice_key="down")  # fmt: skip
        up = getattr(spconv, f"SparseInverseConv{dim}d")(cin, cout, config["kernel_size"], indice_key="down")
        net = spconv.SparseSequential(down, up)
        state = {"0.weight": down_weight, "1.weight": weight, "1.bias": tensors[name + ".bias"]}
        wanted = {"grad_weight": up.weight}
    else:
        layer = getattr(spconv, kind)(cin, cout, **arguments)
        net = spconv.SparseSequential(layer)
        state = {"0.weight": weight, "0.bias": tensors[name + ".bias"]}
        wanted = {"grad_weight": layer.weight}
    net.load_state_dict(state)
    return net, wanted


class RecordedLayers(unittest.TestCase):
    def test_every_recorded_layer_and_its_gradients_are_reproduced(self):
        path = recorded(FILE)
        tensors, metadata = read_safetensors(path)
        self.assertGreater(len(metadata), 0)
        for name, text in sorted(metadata.items()):
            with self.subTest(case=name):
                self.check(name, json.loads(text), tensors)

    def check(self, name, config, tensors):
        coords, features = (tensors[f"input.{config['dim']}d.{what}"] for what in ("coords", "feats"))
        features = features.clone().requires_grad_()
        net, parameters = build(config, tensors, name)
        x = SparseConvTensor(features, coords, config["spatial_shape"], int(coords[:, 0].max()) + 1)
        y = net(x)
        want = tensors[name + ".out_feats"]
        if "Global" in config["layer"]:
            got = y[:, 0] if want.dim() == 1 else y  # spconv's global average keeps channel 0 alone
            self.assertEqual(list(y.shape), [x.batch_size, features.shape[1]])
            self.assertLess(relative(got, want), 1e-4)
            return
        order = by_coordinate(y.indices)
        if name + ".out_coords" in tensors:
            self.assertTrue(torch.equal(y.indices[order], tensors[name + ".out_coords"]))
        self.assertEqual(y.spatial_shape, config["out_spatial_shape"])
        self.assertLess(relative(y.features[order], want), 1e-4)
        y.features.backward(tensors[name + ".grad_out"][torch.argsort(order)])
        if "AvgPool" not in config["layer"]:  # its gradient in spconv is wrong; test_ops has the right one
            self.assertLess(relative(features.grad, tensors[name + ".grad_in"]), 1e-4)
        for key, parameter in parameters.items():
            self.assertLess(relative(parameter.grad, tensors[f"{name}.{key}"]), 1e-4)

    def test_another_file_of_recorded_layers_tells_its_cases_itself(self):
        for text in read_metadata(recorded(FILE)).values():
            self.assertTrue({"layer", "dim", "spatial_shape"} <= json.loads(text).keys())


if __name__ == "__main__":
    unittest.main()
