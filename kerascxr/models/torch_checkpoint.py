"""Reads torch checkpoints without torch, and without running the pickle inside them.

A checkpoint is a pickle, and a pickle is a small program that may call anything. This reader lists
its opcodes and works them on a stack that can only hold plain values and *descriptions* of
tensors: there is nothing in it that could be called. Both of torch's formats are read:

* zip (since torch 1.6): ``NAME/data.pkl``, and one uncompressed entry ``NAME/data/KEY`` a storage;
* legacy: a magic number, the protocol, the machine's byte order, the pickle and the storages' keys,
  each a pickle of its own, then each storage as an int64 length and its raw bytes.
"""

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

MAX_BYTES = 1 << 30  # of a checkpoint; the backbones here have under 30 MB
MAX_OPCODES = 1_000_000  # of one pickle; theirs has some 10,000

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

_DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class _Global(NamedTuple):
    """A name that the pickle refers to, e.g. "torch FloatStorage"."""

    module: str
    name: str


class _Storage(NamedTuple):
    """A run of numbers, kept elsewhere in the file."""

    dtype: str
    key: str
    length: int


class _Tensor(NamedTuple):
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_Load = Callable[[_Storage], np.ndarray]
_MARK = object()
_FINE = {
    _Global("collections", "OrderedDict"),
    _Global("torch._utils", "_rebuild_tensor_v2"),
    _Global("torch._utils", "_rebuild_parameter"),
    *(_Global("torch", storage) for storage in _DTYPES),
}


class _NotPlainError(ValueError):
    """The pickle asks for more than tensors in dictionaries."""


def read_torch_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Reads a state dict.

    Args:
        path: A ``.pth`` or ``.pt`` file that holds a state dict, or a dictionary with one under
            "state_dict". A "module." before every name (``DataParallel``) is taken off.

    Returns:
        Parameter names to arrays in torch's layout, in the file's order; bfloat16 as float32.

    Raises:
        ValueError: If the file is truncated or damaged, or refers to anything but tensors.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} must be a checkpoint of at most {MAX_BYTES >> 20} MiB.")
    data = path.read_bytes()
    try:
        content, load = (_read_zip if data[:2] == b"PK" else _read_legacy)(data)
        return {name: _array(tensor, load) for name, tensor in _state_dict(content).items()}
    except _NotPlainError as error:
        raise ValueError(f"{path} is not a plain checkpoint of tensors: {error}.") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    except (EOFError, OverflowError, MemoryError, RuntimeError) as error:
        reason = str(error) or type(error).__name__
    except (struct.error, zipfile.BadZipFile, NotImplementedError) as error:
        reason = str(error) or type(error).__name__
    raise ValueError(
        f"{path} must be a whole torch checkpoint; it is truncated, damaged or another kind of "
        f"file ({reason}). Fetch it again."
    )


def _state_dict(content: Any) -> dict[str, _Tensor]:
    """Finds the tensors in what the pickle holds."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise _NotPlainError("it holds no dictionary of tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise _NotPlainError(f"it holds something that is not a tensor under {name!r:.80}")
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): value for name, value in content.items()}
    return content


def _read_zip(data: bytes) -> tuple[Any, _Load]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = {info.filename: info for info in archive.infolist()}
    pickled = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
    if len(pickled) != 1:
        raise ValueError(f"a zip file with {len(pickled)} entries NAME/data.pkl instead of one")
    root = pickled[0].removesuffix("data.pkl")

    def read(name: str) -> bytes:
        info = entries[root + name]
        # torch never compresses, so that nothing here can unfold to more than the file's size.
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data):
            raise ValueError(f"the entry {root + name} is compressed")
        return archive.read(info)

    order: Literal["<", ">"] = "<"
    if root + "byteorder" in entries and read("byteorder") == b"big":
        order = ">"

    def load(storage: _Storage) -> np.ndarray:
        return _numbers(read(f"data/{storage.key}"), storage, order)

    return _unpickle(io.BytesIO(read("data.pkl"))), load


def _read_legacy(data: bytes) -> tuple[Any, _Load]:
    file = io.BytesIO(data)
    if _unpickle(file) != _LEGACY_MAGIC:
        raise ValueError("no torch magic number")
    if (protocol := _unpickle(file)) != 1001:
        raise ValueError(f"protocol {protocol} instead of 1001")
    order: Literal["<", ">"] = "<" if _unpickle(file)["little_endian"] else ">"
    storages: dict[str, _Storage] = {}
    content = _unpickle(file, storages)
    raw: dict[str, bytes] = {}
    for key in _unpickle(file):
        (length,) = struct.unpack("<q", file.read(8))
        if length != storages[key].length:
            raise ValueError(f"the storage {key} has {length} numbers")
        raw[key] = file.read(length * _item_size(storages[key].dtype))
    return content, lambda storage: _numbers(raw[storage.key], storage, order)


def _item_size(dtype: str) -> int:
    return 2 if dtype == "bf16" else np.dtype(dtype).itemsize


def _numbers(raw: bytes, storage: _Storage, order: Literal["<", ">"]) -> np.ndarray:
    """Turns a storage's bytes to its one-dimensional array."""
    if len(raw) != storage.length * _item_size(storage.dtype):
        raise ValueError(f"the storage {storage.key} has {len(raw)} bytes")
    if storage.dtype != "bf16":
        return np.frombuffer(raw, np.dtype(storage.dtype).newbyteorder(order))
    halves = np.frombuffer(raw, np.dtype("u2").newbyteorder(order))
    return (halves.astype(np.uint32) << 16).view(np.float32)  # bfloat16 is float32's upper half


def _array(tensor: _Tensor, load: _Load) -> np.ndarray:
    """Copies a view out of its storage, once its bounds are known to lie inside."""
    storage, offset, shape, strides = tensor
    sizes = (offset, *shape, *strides)
    if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in sizes):
        raise ValueError(f"a tensor of shape {shape} and strides {strides}")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    # The product bounds what a stride of 0 could unfold.
    count = math.prod([*shape])
    if count > storage.length or (count and last >= storage.length):
        raise ValueError(f"a tensor of shape {shape} beyond its storage of {storage.length}")
    if not count:
        return np.zeros(shape, np.float32)
    numbers = load(storage)
    byte_strides = [stride * numbers.itemsize for stride in strides]
    view = np.lib.stride_tricks.as_strided(numbers[offset:], shape, byte_strides, writeable=False)
    return view.astype(view.dtype.newbyteorder("="), order="C")


def _unpickle(file: io.BytesIO, storages: dict[str, _Storage] | None = None) -> Any:
    """Reads one pickle as data and leaves ``file`` behind it.

    Args:
        file: At the pickle's beginning.
        storages: Filled with the storages that the pickle refers to, by key.

    Raises:
        _NotPlainError: If it refers to a name that is not a tensor's, or uses another opcode.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        at = len(stack) - 1 - stack[::-1].index(_MARK)
        items = stack[at + 1 :]
        del stack[at:]
        return items

    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count > MAX_OPCODES:
            raise ValueError(f"more than {MAX_OPCODES} opcodes")
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(_MARK)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(opcode.name[-1])
                stack[-size:] = [tuple(stack[-size:])]
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "APPENDS":
                items = since_mark()
                stack[-1].extend(items)
            case "SETITEM":
                key, value = stack[-2:]
                del stack[-2:]
                stack[-1][key] = value
            case "SETITEMS":
                items = since_mark()
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_known(*argument.split(" ", maxsplit=1)))
            case "STACK_GLOBAL":
                stack[-2:] = [_known(*stack[-2:])]
            case "BINPERSID":
                storage = _storage(stack.pop())
                stack.append(storage)
                if storages is not None and storages.setdefault(storage.key, storage) != storage:
                    raise ValueError(f"two storages under the key {storage.key}")
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_rebuild(stack.pop(), arguments))
            case "BUILD":  # a state dict's _metadata: versions of modules, of no use here
                stack.pop()
            case "STOP":
                return stack.pop()
            case name if name.startswith(("BININT", "INT", "LONG", "BINFLOAT", "FLOAT")):
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "UNICODE":
                stack.append(argument)
            case name:
                raise _NotPlainError(f"its pickle uses {name}")
    raise ValueError("a pickle without an end")


def _known(module: Any, name: Any) -> _Global:
    """Returns the name, if it is one that tensors need."""
    found = _Global(module, name)
    if found not in _FINE:
        raise _NotPlainError(f"it refers to {f'{module}.{name}':.200}")
    return found


def _storage(persistent_id: Any) -> _Storage:
    """Reads ("storage", type, key, device, length) and, in the legacy format, a view."""
    kind, storage_type, key, _, length, *view = persistent_id
    if kind != "storage" or storage_type not in _FINE or storage_type.name not in _DTYPES:
        raise _NotPlainError(f"it refers to a {kind!r:.80} outside the pickle")
    if view not in ([], [None]):
        raise _NotPlainError("it holds a view of a storage, as torch before 0.4 wrote")
    if type(length) is not int or length < 0 or not isinstance(key, str):
        raise ValueError(f"a storage of {length!r:.80} numbers")
    return _Storage(_DTYPES[storage_type.name], key, length)


def _rebuild(function: Any, arguments: tuple) -> Any:
    """Does what the few known names would do, on descriptions."""
    if function == _Global("collections", "OrderedDict"):
        return dict(*arguments)
    if function == _Global("torch._utils", "_rebuild_tensor_v2"):
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, _Storage):
            raise _NotPlainError("it holds a tensor without a storage")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))
    if function == _Global("torch._utils", "_rebuild_parameter"):
        return arguments[0]
    raise _NotPlainError(f"it calls {function!r:.80}")
