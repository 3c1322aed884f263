# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""What PyTorch is told of the operators: opcheck, gradcheck, autocast, torch.compile, torch.export."""

import unittest

import torch
import torch.fx.experimental.proxy_tensor
from torch.library import opcheck

from definitions import scene
from support import DEVICE, ON_CPU, cpu_only
from tessera_torch import ops
from test_ops import draw, make_map

T = torch.ops.tessera


def samples():
    """Arguments of every operator, by its name."""
    coordinates, made, shape = make_map("strided", stride=2, padding=1)
    same = ops.kernel_map(coordinates, "submanifold", 3, shape=shape, batch_size=2)
    flow = tuple(ops.Dataflow())
    back = made.transposed().out_in
    x, w, b = (draw(*size, dtype=torch.float32) for size in ((len(coordinates), 4), (27, 4, 3), (3,)))
    y, z = draw(made.num_out, 3, dtype=torch.float32), draw(made.num_out, 4, dtype=torch.float32)
    of_map, of_same = ([3, 3, 3], -1, False), ([3, 3, 3], 13, True)
    points = torch.rand(50, 5)
    axes, box = list(shape), [3] * 3
    geometry = (box, [2] * 3, [1] * 3, [1] * 3)
    tiles = T.tile_map(same.out_in, same.mask_keys, *of_same[:2], 16, True, 1)
    rest = ("tessera", "hashmap_on_the_fly", "spconv")
    grid = ([0.2] * 3, [0.0] * 3, [1.0] * 3)
    full = ops.dense(x, coordinates, shape, 2)
    return {
        "kernel_map": [
            (coordinates, "strided", *geometry, [0] * 3, axes, 2, *rest),
            (coordinates, "submanifold", box, [1] * 3, [1] * 3, [1] * 3, [0] * 3, [], 0, *rest),
        ],
        "pair_map": [(coordinates, made.coordinates, *geometry, axes, list(made.shape), 2, rest[1])],
        "transpose_map": [(made.out_in, made.num_in)],
        "tile_rows": [(x, w, made.num_out, -1, "forward", 1, "exact")],
        "tile_map": [(same.out_in, same.mask_keys, *of_same[:2], 16, True, 1),
                     (made.out_in, made.mask_keys, *of_map[:2], 32, False, 4)],
        "convolution": [
            (x, w, b, made.out_in, None, *of_map, [], [], *flow),
            (x, w, None, made.out_in, back, *of_map, [], [], *flow),
            (x, w.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_(), b, same.out_in, None,
             *of_same, list(tiles), list(tiles), *flow),
        ],
        "convolution_backward": [
            (y.detach(), x.detach(), w.detach(), made.out_in, back, *of_map, [], [], *flow, [True, True, False]),
            (y.detach(), x.detach(), w.detach().permute(1, 2, 0).contiguous().permute(2, 0, 1), made.out_in, back, *of_map,
             [], list(T.pair_list(made.out_in, made.num_in)), *flow, [False, True, True]),
        ],
        "pair_list": [(made.out_in, made.num_in)],
        "pool": [(x, made.out_in, back, mode, False) for mode in ("max", "average", "sum")]
        + [(x, made.out_in, None, "max", True)],
        "pool_backward": [(z.detach(), x.detach(), made.out_in, back, "max", False)],
        "global_pool": [(x, coordinates, 2, mode) for mode in ("max", "average")],
        "global_pool_backward": [(draw(2, 4, dtype=torch.float32, grad=False), x.detach(), coordinates, "average")],
        "dense": [(x, coordinates, axes, 2, first) for first in (True, False)],
        "dense_backward": [(full.detach().requires_grad_(), coordinates, True)],
        "sparse": [(full.detach().requires_grad_(), True)],
        "hard_voxelize": [(points, None, 1, *grid, 2, 20, "zyx")],
        "dynamic_voxelize": [(points, torch.zeros(50, dtype=torch.int32), 1, *grid, "mean", "xyz")],
        "unite": [(coordinates, made.coordinates)],
        "find_rows": [(coordinates, made.coordinates)],
        "check_coordinates": [(coordinates, axes, 2)],
    }  # fmt: skip


class Registrations(unittest.TestCase):
    def test_opcheck_accepts_every_operator(self):
        known = samples()
        names = {str(name).split("::")[1] for name in torch._C._dispatch_get_all_op_names() if name.startswith("tessera::")}
        self.assertEqual(names, set(known))
        for name, calls in known.items():
            for number, call in enumerate(calls):
                with self.subTest(operator=name, call=number):
                    tests = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
                    if name == "tile_rows":  # of eager calls alone: it returns no tensor
                        tests = tests[:2]
                    if name == "pair_list" and not ON_CPU:  # past its pairs nothing is written
                        tests = tests[:3]
                    opcheck(getattr(T, name).default, call, test_utils=tests)

    def test_opcheck_accepts_halfs_and_calls_without_rows(self):
        def half(x):
            is_wide = isinstance(x, torch.Tensor) and x.is_floating_point()
            return x.detach().half().requires_grad_(x.requires_grad) if is_wide else x

        for name, calls in samples().items():
            if name not in ("tile_rows", "pair_list") and "voxelize" not in name:
                with self.subTest(operator=name):
                    opcheck(getattr(T, name).default, tuple(half(x) for x in calls[0]))
        none, x, w = torch.empty((0, 4), dtype=torch.int32), draw(0, 4, dtype=torch.float32), draw(27, 4, 3, dtype=torch.float32)
        made = ops.kernel_map(none, "strided", 3, 2, shape=(4, 4, 4), batch_size=1)
        grid, no_points = ([1.0] * 3, [0.0] * 3, [4.0] * 3), torch.empty(0, 4)
        for name, call in {
            "kernel_map": (none, "strided", [3] * 3, [2] * 3, [1] * 3, [1] * 3, [0] * 3, [4] * 3, 1, "tessera",
                           "hashmap_on_the_fly", "spconv"),
            "transpose_map": (made.out_in, 0), "pool": (x, made.out_in, None, "max", False),
            "convolution": (x, w, None, made.out_in, None, [3] * 3, -1, False, [], [], *ops.Dataflow()),
            "global_pool": (x, none, 2, "max"), "dense": (x, none, [4] * 3, 1, True),
            "sparse": (torch.zeros(1, 2, 2, 2, 3, requires_grad=True), False), "unite": (none, none), "find_rows": (none, none),
            "hard_voxelize": (no_points, None, 1, *grid, 2, 3, "zyx"),
            "dynamic_voxelize": (no_points, None, 1, *grid, "mean", "zyx"),
        }.items():  # fmt: skip
            with self.subTest(operator=name, rows=0):
                opcheck(getattr(T, name).default, call)

    @cpu_only
    def test_gradients_are_those_of_finite_differences(self):
        for kind in ("submanifold", "strided"):
            coordinates, made, _ = make_map(kind, extent=3, share=0.5, stride=1 if kind == "submanifold" else 2)
            x, w, b = draw(len(coordinates), 2), draw(27, 2, 3), draw(3)
            self.assertTrue(torch.autograd.gradcheck(lambda *t: ops.convolution(*t, made), (x, w, b)))
        back = made.transposed()
        y = draw(made.num_out, 3)
        self.assertTrue(torch.autograd.gradcheck(lambda a, c: ops.convolution(a, c, None, back), (y, draw(27, 3, 2))))
        for mode in ("max", "average", "sum"):
            self.assertTrue(torch.autograd.gradcheck(lambda t: ops.pool(t, made, mode), (x,)))
        for mode in ("max", "average"):
            self.assertTrue(torch.autograd.gradcheck(lambda t: ops.global_pool(t, coordinates, 2, mode), (x,)))
        self.assertTrue(torch.autograd.gradcheck(lambda t: ops.dense(t, coordinates, (3, 3, 3), 2), (x,)))
        other = scene(3, 3, 2, 0.5, 9)
        both = (x, draw(len(other), 2, seed=5))
        self.assertTrue(
            torch.autograd.gradcheck(lambda s, t: ops.add_by_coordinate(s, coordinates, t, other)[0], both)
        )

    def test_gradients_of_gradients_are_refused_with_a_sentence(self):
        coordinates, made, _ = make_map()
        x, w = draw(len(coordinates), 2), draw(27, 2, 3)
        calls = [
            lambda: ops.convolution(x, w, None, made),
            lambda: ops.pool(x, made, "max"),
            lambda: ops.global_pool(x, coordinates, 2, "average"),
        ]
        for call in calls:
            (grad,) = torch.autograd.grad(call().square().sum(), x, create_graph=True)
            with self.assertRaisesRegex(RuntimeError, "no gradients of gradients"):
                grad.sum().backward()

    def test_dense_tensors_have_gradients_of_gradients(self):
        coordinates, _, shape = make_map(extent=3, share=0.4)
        for first in (True, False):
            x = draw(len(coordinates), 2)
            if ON_CPU:
                self.assertTrue(torch.autograd.gradgradcheck(lambda t: ops.dense(t, coordinates, shape, 2, first), (x,)))
            full = ops.dense(x.detach(), coordinates, shape, 2, first).requires_grad_()
            (grad,) = torch.autograd.grad(ops.sparse(full, first)[0].pow(3).sum(), full, create_graph=True)
            (second,) = torch.autograd.grad(grad.sum(), full)
            self.assertTrue(torch.allclose(second, 6 * full))

    def test_derivatives_in_forward_mode_are_refused_with_a_sentence(self):
        coordinates, made, shape = make_map()
        x, w = draw(len(coordinates), 2, grad=False), draw(27, 2, 3)
        for call in (
            lambda t: ops.convolution(t, w.detach(), None, made),
            lambda t: ops.convolution(t, w, None, made),
            lambda t: ops.pool(t, made, "max"),
            lambda t: ops.global_pool(t, coordinates, 2, "max"),
            lambda t: ops.dense(t, coordinates, shape, 2),
            lambda t: ops.sparse(t[:, :, None].contiguous(), True)[0],
        ):
            with self.assertRaisesRegex(RuntimeError, "no derivatives in forward mode"):
                torch.func.jvp(call, (x,), (x,))
            with torch.autograd.forward_ad.dual_level():
                call(x)  # where nothing has a tangent
                with self.assertRaisesRegex(RuntimeError, "no derivatives in forward mode"):
                    call(torch.autograd.forward_ad.make_dual(x, x))

    def test_what_traces_sees_the_operators(self):
        coordinates, made, _ = make_map("strided", stride=2)
        x, w = draw(len(coordinates), 2), draw(27, 2, 3)
        calls = [lambda t: ops.convolution(t, w, None, made).square().sum(), lambda t: ops.pool(t, made, "max").sum()]
        for call in calls:
            seen = torch.fx.experimental.proxy_tensor.make_fx(call)(x.detach())
            names = [str(node.target) for node in seen.graph.nodes if node.op == "call_function"]
            self.assertTrue(any(name.startswith("tessera.") for name in names), names)

    def test_autocast_computes_in_its_type_and_keeps_the_parameters(self):
        coordinates, made, _ = make_map()
        x, w, b = (draw(*s, dtype=torch.float32) for s in ((len(coordinates), 4), (27, 4, 3), (3,)))
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast(DEVICE.type, dtype=dtype):
                y = ops.convolution(x, w, b, made)
            self.assertEqual(y.dtype, dtype)
            narrow = ops.convolution(x.to(dtype), w.to(dtype), b.to(dtype), made)
            self.assertTrue(torch.equal(y, narrow))
            grads = torch.autograd.grad(y.float().square().sum(), [x, w, b])
            self.assertEqual([g.dtype for g in grads], [torch.float32] * 3)
        with torch.autocast(DEVICE.type, enabled=False):
            self.assertEqual(ops.convolution(x, w, b, made).dtype, torch.float32)

    def test_compiled_and_exported_networks_give_the_same(self):
        coordinates = scene(3, 6, 2, 0.3, 3)
        features = draw(len(coordinates), 4, dtype=torch.float32)

        class Network(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.first = torch.nn.Parameter(draw(27, 4, 8, dtype=torch.float32, seed=2).detach())
                self.second = torch.nn.Parameter(draw(27, 8, 3, dtype=torch.float32, seed=3).detach())

            def forward(self, features, coordinates):
                same = ops.kernel_map(coordinates, "submanifold", 3, shape=(6, 6, 6), batch_size=2)
                down = ops.kernel_map(coordinates, "strided", 3, 2, 1, shape=(6, 6, 6), batch_size=2)
                y = torch.relu(ops.convolution(features, self.first, None, same))
                y = ops.convolution(y, self.second, None, down)
                return ops.dense(y, down.coordinates, (3, 3, 3), 2)

        network = Network()
        expected = network(features, coordinates)
        want = torch.autograd.grad(expected.square().sum(), list(network.parameters()))
        with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
            compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
            y = compiled(features, coordinates)
            got = torch.autograd.grad(y.square().sum(), list(network.parameters()))
        self.assertTrue(torch.equal(y, expected))
        for a, b in zip(got, want):
            self.assertTrue(torch.equal(a, b))
        rows = torch.export.Dim("rows", min=2)
        program = torch.export.export(
            network, (features.detach(), coordinates), dynamic_shapes=({0: rows}, {0: rows})
        )
        self.assertTrue(torch.equal(program.module()(features, coordinates), expected))
        fewer = coordinates[:40].contiguous()
        self.assertTrue(torch.equal(program.module()(features[:40], fewer), network(features[:40], fewer)))


if __name__ == "__main__":
    unittest.main()
