# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""mmdetection3d's own networks on Tessera's layers: its checkpoints load unchanged and give its outputs."""

import contextlib
import importlib.util
import io
import json
import sys
import types
import pathlib
import tempfile
import unittest
from unittest import mock

import torch
from torch import nn

import stubs
from support import by_coordinate, distance, read_safetensors, recorded
from tessera_torch import convert, spconv, torchsparse
from tessera_torch import mmdet3d as tessera_mmdet3d


class Networks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for package in ("mmdet3d", "mmdet", "mmengine", "mmcv"):
            if importlib.util.find_spec(package) is None:
                raise unittest.SkipTest(f"{package} is not installed")
        stubs.install()
        hook = spconv.SparseModule._load_from_state_dict  # mmdetection3d assigns its own
        cls.addClassCleanup(setattr, spconv.SparseModule, "_load_from_state_dict", hook)
        tessera_mmdet3d.register()
        from mmdet3d.registry import MODELS

        import mmdet3d.models  # noqa: F401

        cls.models = MODELS

    def build(self, config: dict, prefix: str, conv_type=None) -> tuple[nn.Module, nn.Module]:
        """(the encoder, a module that holds it under its name in a detector)."""
        if "order" in config:  # JSON has lists where a configuration has tuples
            config["order"] = tuple(config["order"])
        with changed_type(conv_type):
            encoder = self.models.build(config)
        detector = holder = nn.Module()
        *path, last = prefix.strip(".").split(".")
        for name in path:
            child = nn.Module()
            holder.add_module(name, child)
            holder = child
        holder.add_module(last, encoder)
        return encoder.eval(), detector.eval()

    def load(self, detector: nn.Module, checkpoint: dict) -> None:
        """As a detector loads it; heads that are not there are not missed."""
        missing, unexpected = detector.load_state_dict(checkpoint["state_dict"], strict=False)
        self.assertEqual(missing, [])

    def outputs(self, encoder, tensors) -> dict:
        """What the encoder's sparse layers gave, by hooks, and the dense map."""
        seen = {}
        last = encoder.conv_out if hasattr(encoder, "conv_out") else None
        handle = last.register_forward_hook(lambda module, inputs, output: seen.update(last=output)) if last else None
        coords = tensors["input.coords"]
        with torch.no_grad():
            seen["result"] = encoder(tensors["input.feats"], coords, int(coords[:, 0].max()) + 1)
        if handle:
            handle.remove()
        return seen

    def check(self, x, tensors, metadata):
        order = by_coordinate(x.indices)
        self.assertTrue(torch.equal(x.indices[order], tensors["output.coords"]))
        step = int(metadata["output_rows"].split()[1].rstrip("."))
        self.assertLess(distance(x.features[order][::step], tensors["output.feats"]), 1e-4)
        self.assertEqual(x.spatial_shape, json.loads(metadata["output_shape"]))

    def recorded_network(self, name):
        checkpoint = torch.load(recorded(f"golden/spconv/{name}.pth"), map_location="cpu", weights_only=False)
        tensors, metadata = read_safetensors(recorded(f"golden/spconv/{name}.safetensors"))
        return checkpoint, tensors, metadata, json.loads(metadata["config"])

    def test_second_loads_its_checkpoint_unchanged_and_gives_the_recorded_outputs(self):
        checkpoint, tensors, metadata, config = self.recorded_network("second_kitti")
        encoder, detector = self.build(config, "middle_encoder.")
        self.load(detector, checkpoint)
        seen = self.outputs(encoder, tensors)
        self.check(seen["last"], tensors, metadata)
        self.assertTrue(torch.equal(seen["result"].view(-1), seen["last"].dense().view(-1)))

    def test_centerpoint_loads_its_checkpoint_unchanged_and_gives_the_recorded_outputs(self):
        checkpoint, tensors, metadata, config = self.recorded_network("centerpoint_nuscenes")
        encoder, detector = self.build(config, "pts_middle_encoder.")
        self.load(detector, checkpoint)
        self.check(self.outputs(encoder, tensors)["last"], tensors, metadata)

    def test_part_a2_loads_its_checkpoint_unchanged_and_gives_the_recorded_outputs(self):
        checkpoint, tensors, metadata, config = self.recorded_network("parta2_kitti")
        encoder, detector = self.build(config, "middle_encoder.")
        self.load(detector, checkpoint)
        seen = self.outputs(encoder, tensors)
        self.check(seen["last"], tensors, metadata)
        self.assertLess(distance(seen["result"]["seg_features"], tensors["seg_features"]), 1e-4)

    def test_minkunet_loads_its_checkpoint_unchanged_and_gives_the_recorded_outputs(self):
        checkpoint, tensors, metadata, config = self.recorded_network("minkunet_mmdet3d")
        network, detector = self.build(config, "backbone.")
        self.load(detector, checkpoint)
        with torch.no_grad():
            features = network(tensors["input.feats"], tensors["input.coords"])
        self.assertLess(distance(features, tensors["point_order.feats"]), 1e-4)

    def test_second_can_be_exported(self):
        checkpoint, tensors, _, config = self.recorded_network("second_kitti")
        encoder, detector = self.build(config, "middle_encoder.")
        self.load(detector, checkpoint)
        voxels = (tensors["input.feats"], tensors["input.coords"])
        rows, entries = torch.export.Dim("rows", min=2), int(voxels[1][:, 0].max()) + 1
        with torch.no_grad():
            program = torch.export.export(encoder, (*voxels, entries), dynamic_shapes=({0: rows}, {0: rows}, None)).module()
            for call in (voxels, tuple(v[::2].contiguous() for v in voxels)):
                self.assertTrue(torch.equal(program(*call, entries), encoder(*call, entries)))

    def test_bevfusion_converted_from_spconv_2_0_gives_the_recorded_outputs(self):
        self.need_program()
        _, tensors, metadata, config = self.recorded_network("bevfusion_nuscenes")
        config["type"] = "SparseEncoder"  # BEVFusion's differs in the axes of its last layer
        encoder, _ = self.build(config, "encoder.")
        from mmdet3d.models.layers import make_sparse_convmodule

        encoder.conv_out = make_sparse_convmodule(
            config["encoder_channels"][-1][-1], config["output_channels"], kernel_size=(1, 1, 3), stride=(1, 1, 2),
            norm_cfg=dict(type="BN1d", eps=1e-3, momentum=0.01), padding=0, indice_key="spconv_down2",
            conv_type="SparseConv3d").eval()  # fmt: skip
        state, _ = convert.convert(recorded("golden/spconv/bevfusion_nuscenes.pth"))
        self.assertEqual(encoder.load_state_dict(state, strict=False).missing_keys, [])
        x = self.outputs(encoder, tensors)["last"]
        self.check(x, tensors, metadata)
        dense = x.dense().permute(0, 1, 4, 2, 3)
        bev = dense.reshape(dense.shape[0], -1, *dense.shape[3:])
        entry, row, column = tensors["bev.cells"].long().t()
        self.assertLess(distance(bev[entry, :, row, column], tensors["bev.values"]), 1e-4)

    def test_changing_the_type_to_torchsparse_and_converting_the_checkpoint_gives_the_same_bits(self):
        self.need_program()
        for name, prefix in (("second_kitti", "middle_encoder."), ("centerpoint_nuscenes", "pts_middle_encoder.")):
            with self.subTest(network=name):
                checkpoint, tensors, _, config = self.recorded_network(name)
                encoder, detector = self.build(config, prefix)
                self.load(detector, checkpoint)
                other, other_detector = self.build(config, prefix, "TorchSparseConv3d")
                kinds = {type(m).__name__ for m in other.modules()}
                self.assertTrue("Conv3d" in kinds and "SubMConv3d" not in kinds and "SparseConv3d" not in kinds)
                with tempfile.TemporaryDirectory() as folder:
                    target = pathlib.Path(folder) / "converted.pth"
                    source = str(recorded(f"golden/spconv/{name}.pth"))
                    with contextlib.redirect_stdout(io.StringIO()):
                        status = convert.main([source, str(target), "--to", "torchsparse", "--add-prefix", prefix])
                    self.assertEqual(status, 0)
                    self.load(other_detector, torch.load(target, weights_only=True))
                one, two = self.outputs(encoder, tensors), self.outputs(other, tensors)
                self.assertTrue(torch.equal(one["last"].indices, two["last"].indices))
                self.assertTrue(torch.equal(one["last"].features, two["last"].features))
                self.assertTrue(torch.equal(one["result"], two["result"]))

    def test_the_names_of_mmdetection3d_configurations_mean_the_layers_of_this_package(self):
        from mmcv.cnn import build_conv_layer, build_norm_layer

        for name in ("SubMConv3d", "SparseConv3d", "SubMConv2d", "SparseConv4d", "SparseConvTranspose3d"):
            layer = build_conv_layer(dict(type=name, indice_key="k"), 4, 8, 3, stride=1, padding=1, bias=False)
            self.assertIs(type(layer), tessera_mmdet3d.NAMES[name])
        inverse = build_conv_layer(dict(type="SparseInverseConv3d", indice_key="k"), 4, 8, 3, bias=False)
        self.assertEqual(inverse.indice_key, "k")
        layer = build_conv_layer(dict(type="TorchSparseConv3d"), 4, 8, 3, stride=2, padding=1, bias=False)
        self.assertEqual(list(layer.kernel.shape), [27, 4, 8])
        self.assertEqual(type(build_norm_layer(dict(type="TorchSparseBatchNorm"), 8)[1]).__module__.split(".")[0], "tessera_torch")
        for name in ("TorchSparseGroupNorm", "TorchSparseGN"):
            norm = build_norm_layer(dict(type=name, num_groups=2, eps=1e-3), 8)[1]
            self.assertEqual((norm.num_groups, norm.num_channels, norm.eps), (2, 8, 1e-3))
            self.assertIsInstance(norm, torchsparse.nn.GroupNorm)
            self.assertIsInstance(self.models.build(dict(type=name, num_groups=2, num_channels=8)), type(norm))

    def test_registering_after_mmdetection3d_was_made_for_another_library_is_refused(self):
        with mock.patch.dict(sys.modules, {"spconv": types.ModuleType("spconv")}):
            with self.assertRaisesRegex(ImportError, "register\\(\\) before"):
                tessera_mmdet3d.register()

    def need_program(self):
        try:
            convert.find_program()
        except FileNotFoundError as error:
            self.skipTest(str(error))


class changed_type:
    """While an encoder is built: every sparse convolution of it gets another type string."""

    def __init__(self, conv_type):
        self.conv_type = conv_type

    def __enter__(self):
        if self.conv_type:
            from mmdet3d.models.layers import sparse_block
            from mmdet.models.backbones import resnet  # of which mmdetection3d's blocks are made

            self.modules, self.original = (sparse_block, resnet), sparse_block.build_conv_layer
            for module in self.modules:
                module.build_conv_layer = lambda cfg, *a, **k: self.original({**cfg, "type": self.conv_type}, *a, **k)

    def __exit__(self, *exception):
        if self.conv_type:
            for module in self.modules:
                module.build_conv_layer = self.original


if __name__ == "__main__":
    unittest.main()
