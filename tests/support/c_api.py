"""An export run by TensorFlow's C library, as TF Serving runs it."""

import ctypes
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

STRING_BYTES, STRING_TYPE = 24, 7


class Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def run_in_c(folder: Path, files: list[bytes]) -> np.ndarray:
    """Loads an export by TF_LoadSessionFromSavedModel and runs it on string tensors.

    Args:
        folder: One version of an export.
        files: Image files' bytes.

    Returns:
        serving_default's probabilities, float32 (n, n_classes).

    Raises:
        RuntimeError: If the library says that something failed.
    """
    library = ctypes.CDLL(str(Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2"))
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    names = saved.meta_graphs[0].signature_def["serving_default"]
    pointers = (
        *("TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_LoadSessionFromSavedModel"),
        *("TF_GraphOperationByName", "TF_AllocateTensor", "TF_TensorData", "TF_Message"),
    )
    for name in pointers:
        getattr(library, name).restype = ctypes.c_void_p
    library.TF_TensorByteSize.restype = ctypes.c_size_t
    library.TF_Message.restype = ctypes.c_char_p

    def pointer(value: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(value)

    status = pointer(library.TF_NewStatus())

    def check() -> None:
        if library.TF_GetCode(status) != 0:
            raise RuntimeError(library.TF_Message(status).decode())

    graph = pointer(library.TF_NewGraph())
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = pointer(
        library.TF_LoadSessionFromSavedModel(
            *(pointer(library.TF_NewSessionOptions()), None, str(folder).encode(), tags, 1),
            *(graph, None, status),
        )
    )
    check()

    def output(name: str) -> Output:
        operation, _, index = name.partition(":")
        found = library.TF_GraphOperationByName(graph, operation.encode())
        if not found:
            raise RuntimeError(f"no operation {operation}")
        return Output(found, int(index))

    dimensions = (ctypes.c_int64 * 1)(len(files))
    size = ctypes.c_size_t(STRING_BYTES * len(files))
    tensor = pointer(library.TF_AllocateTensor(STRING_TYPE, dimensions, 1, size))
    start = library.TF_TensorData(tensor)
    for index, data in enumerate(files):
        place = pointer(start + STRING_BYTES * index)
        library.TF_StringInit(place)
        library.TF_StringCopy(place, data, ctypes.c_size_t(len(data)))
    feeds = (Output * 1)(output(names.inputs["images"].name))
    fetches = (Output * 1)(output(names.outputs["probabilities"].name))
    values, results = (ctypes.c_void_p * 1)(tensor.value), (ctypes.c_void_p * 1)()
    library.TF_SessionRun(
        *(session, None, feeds, values, 1, fetches, results, 1, None, 0, None, status)
    )
    check()
    result = ctypes.c_void_p(results[0])
    raw = ctypes.string_at(library.TF_TensorData(result), library.TF_TensorByteSize(result))
    return np.frombuffer(raw, np.float32).reshape(len(files), -1)
