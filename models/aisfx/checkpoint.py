"""Reads the tensors of a PyTorch checkpoint without PyTorch, and without running anything the pickle names.

A .pth file is a zip with a pickled index and raw little-endian storages. The index may only name the few functions
below, each replaced here by a plain record of its arguments; anything else is refused.
"""

import collections
import io
import math
import pickle
import zipfile

import numpy as np

STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
INERT = {("numpy.core.multiarray", "scalar"), ("numpy", "dtype"), ("_codecs", "encode")}


class Inert:
    """Stands for an object of the index that is not a tensor."""

    def __init__(self, *args):
        self.args = args

    def __setstate__(self, state):
        pass

    def __hash__(self):
        return 0


class Index(pickle.Unpickler):
    def __init__(self, data, storage):
        super().__init__(io.BytesIO(data))
        self.storage = storage

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return rebuild
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) in INERT:
            return Inert
        raise pickle.UnpicklingError(f"the checkpoint names {module}.{name}, which is not allowed")

    def persistent_load(self, key):
        kind, dtype, name, _device, length = key
        data = np.frombuffer(self.storage(name), dtype)
        if kind != "storage" or len(data) != length:
            raise pickle.UnpicklingError(f"storage {name}: {length} values expected, {len(data)} found")
        return data


def rebuild(storage, offset, shape, stride, *_):
    """A contiguous tensor of a storage (the only layout a saved state_dict has here)."""
    size = math.prod(shape)
    contiguous = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    if tuple(stride) != contiguous or offset < 0 or offset + size > len(storage):
        raise pickle.UnpicklingError(f"tensor {shape} with stride {stride} at {offset} is not contiguous in its storage")
    return storage[offset : offset + size].reshape(shape)


def read(data):
    """Tensors by name of the checkpoint `data` (bytes): the first object of the pickled pair (state_dict, data sets)."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        index = Index(archive.read("archive/data.pkl"), lambda name: archive.read(f"archive/data/{name}"))
        state, _datasets = index.load()
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, np.ndarray)}
