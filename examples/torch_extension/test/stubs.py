# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""mmdetection3d from PyPI without what its encoders never call: mmcv's compiled operators and libraries for data sets.

Whatever is imported from a stubbed module is an object that does nothing; a decorator among them returns its function.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types

NAMES = ("mmcv._ext", "numba", "nuscenes", "lyft_dataset_sdk", "trimesh", "open3d", "shapely", "pycocotools",
         "terminaltables", "skimage", "pyquaternion", "scipy", "matplotlib", "plyfile", "pandas", "tensorboard",
         "requests", "tqdm", "six", "MinkowskiEngine")  # fmt: skip


class _Nothing:
    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else _Nothing()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing()

    def __getitem__(self, key):
        return _Nothing()

    def __mro_entries__(self, bases):
        return (object,)


class _Module(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing()


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names):
        self.names = names

    def find_spec(self, fullname, path=None, target=None):
        if any(fullname == name or fullname.startswith(name + ".") for name in self.names):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        module = _Module(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


def _is_missing(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return name not in sys.modules


def install(never: tuple = ("MinkowskiEngine",)) -> None:
    """Stubs for what is not installed; names of `never` stay missing, since importing them means something."""
    sys.meta_path.append(_Finder([name for name in NAMES if name not in never and _is_missing(name)]))
