"""Reads torch checkpoints without torch, and without calling what the pickle inside them names.

A pickle is a program that can call any function. This reader unpickles with a ``find_class`` that
returns descriptions of a few known names and refuses all others. Before that, it checks each opcode
against a list, and bounds their number, so that a hostile file can neither run code nor take long.
Both of torch's formats are read:

* zip (since torch 1.6): ``NAME/data.pkl``, and one uncompressed entry ``NAME/data/KEY`` a storage;
* legacy: a magic number, the protocol, the machine's byte order, the pickle and the storages' keys,
  each a pickle of its own, then each storage as an int64 length and its raw bytes.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

MAX_BYTES = 1 << 30  # of a checkpoint; the backbones here have under 30 MB
MAX_OPCODES = 200_000  # of one pickle; those of the backbones have some 10,000
MAX_INTEGER_BITS = 128  # torch's magic number has 77

# Kinds of values on the pickle's stack. Only texts and integers of 64 bits may be keys of
# dictionaries: of others, a file could hold thousands with one hash, or one whose hash takes hours.
_KEYS = ("text", "number")
_NUMBERS = ("NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
_PUT = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GET = ("GET", "BINGET", "LONG_BINGET")
_ALLOWED = {
    "PROTO", "FRAME", "STOP", "MARK", "NONE", *_NUMBERS, "FLOAT", "BINFLOAT",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "APPEND", "APPENDS", "SETITEM", "SETITEMS", *_PUT, *_GET,
    "GLOBAL", "STACK_GLOBAL", "BINPERSID", "REDUCE", "BUILD",
}  # fmt: skip

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

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

    def __call__(self, *arguments: Any) -> Any:
        """Does what the few known functions would do, on descriptions."""
        match self.name:
            case "OrderedDict":
                return _ordered(*arguments)
            case "_rebuild_parameter":
                return arguments[0]
            case "_rebuild_tensor_v2":
                storage, offset, shape, strides = arguments[:4]
                if not isinstance(storage, _Storage):
                    raise _NotPlainError("it holds a tensor without a storage")
                return _Tensor(storage, offset, tuple(shape), tuple(strides))
        raise _NotPlainError(f"it calls {self.module}.{self.name}")


class _Dictionary(dict[Any, Any]):
    """An OrderedDict; torch sets an attribute, the versions of modules, on it."""


@dataclass(frozen=True, eq=False)
class _Storage:
    """Numbers that are stored elsewhere in the file."""

    dtype: str
    key: str
    length: int


@dataclass(frozen=True, eq=False)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_Load = Callable[[_Storage], np.ndarray]
_KNOWN = {
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
            "state_dict". A prefix "module." of all names (``DataParallel``) is removed.

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
    except (struct.error, zipfile.BadZipFile, NotImplementedError, pickle.PickleError) as error:
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
        # torch never compresses, so that no entry can be larger than the file.
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
    if _unpickle(file) != _LEGACY_PROTOCOL:
        raise ValueError(f"a protocol other than {_LEGACY_PROTOCOL}")
    order: Literal["<", ">"] = "<" if _unpickle(file)["little_endian"] else ">"
    storages: dict[str, _Storage] = {}
    content = _unpickle(file, storages)
    raw: dict[str, bytes] = {}
    for key in _unpickle(file):
        if not isinstance(key, str) or key not in storages:
            raise ValueError("a list of other storages than those used")
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
    """Copies a view out of its storage, after a check that it lies inside."""
    storage, offset, shape, strides = tensor.storage, tensor.offset, tensor.shape, tensor.strides
    if any(type(n) is not int for n in (offset, *shape, *strides)):
        raise ValueError("a tensor of shape or strides that are not integers")
    if len(shape) != len(strides) or min((offset, *shape, *strides)) < 0:
        raise ValueError(f"a tensor of shape {shape} and strides {strides}")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    # The product bounds tensors with strides of 0, which repeat numbers.
    count = math.prod([*shape])
    if count > storage.length or (count and last >= storage.length):
        raise ValueError(f"a tensor of shape {shape} beyond its storage of {storage.length}")
    if not count:
        return np.zeros(shape, np.float32)
    numbers = load(storage)
    byte_strides = [stride * numbers.itemsize for stride in strides]
    view = np.lib.stride_tricks.as_strided(numbers[offset:], shape, byte_strides, writeable=False)
    return view.astype(view.dtype.newbyteorder("="), order="C")


def _known(module: str, name: str) -> _Global:
    found = _Global(module, name)
    if found not in _KNOWN:
        raise _NotPlainError(f"it refers to {f'{module}.{name}':.200}")
    return found


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows no name but those of ``_KNOWN``, and calls none.

    Args:
        file: The pickle.
        storages: Filled with the storages that the pickle refers to, by key.
    """

    def __init__(self, file: io.BytesIO, storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        """Returns the description of a name.

        Raises:
            _NotPlainError: If it is not one that tensors need.
        """
        return _known(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns a storage: ("storage", type, key, device, length) and, in the old format, a view.

        Raises:
            _NotPlainError: If it is something else.
            ValueError: If its key is another storage's, or its length is not one.
        """
        kind, storage_type, key, _, length, *view = pid
        known = isinstance(storage_type, _Global) and storage_type.name in _DTYPES
        if kind != "storage" or not known:
            raise _NotPlainError("it refers to something outside the pickle that is no storage")
        if view not in ([], [None]):
            raise _NotPlainError("it holds a view of a storage, as torch before 0.4 wrote")
        if type(length) is not int or length < 0 or not isinstance(key, str):
            raise ValueError("a storage without a name or a length")
        dtype = _DTYPES[storage_type.name]
        found = self._storages.setdefault(key, _Storage(dtype, key, length))
        if (found.dtype, found.length) != (dtype, length):
            raise ValueError(f"two storages under the key {key:.80}")
        return found


def _unpickle(file: io.BytesIO, storages: dict[str, _Storage] | None = None) -> Any:
    """Reads one pickle and leaves ``file`` behind it.

    Args:
        file: At the pickle's first byte.
        storages: Filled with the storages that the pickle refers to, by key.

    Raises:
        _NotPlainError: If it refers to a name that is not a tensor's, or uses another opcode.
        ValueError: If it is damaged or too long.
    """
    begin = file.tell()
    _check_opcodes(file)
    program = io.BytesIO(file.getvalue()[begin : file.tell()])
    return _Unpickler(program, {} if storages is None else storages).load()


def _check_opcodes(file: io.BytesIO) -> None:
    """Checks a pickle without running it, in a time proportional to its length."""
    kinds: list[str] = []  # of the values on the stack
    memo: dict[int, str] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        name = opcode.name
        if name not in _ALLOWED:
            raise _NotPlainError(f"its pickle uses {name}")
        if count >= MAX_OPCODES:
            raise ValueError(f"more than {MAX_OPCODES} opcodes")
        if isinstance(argument, int) and argument.bit_length() > MAX_INTEGER_BITS:
            raise ValueError(f"an integer of more than {MAX_INTEGER_BITS} bits")
        if name == "GLOBAL":
            _known(*str(argument).split(" ", maxsplit=1))
        if name in _PUT:
            place = len(memo) if argument is None else argument
            # The unpickler's memo is an array: a large index would take all memory.
            if place >= MAX_OPCODES:
                raise ValueError(f"a memo of more than {MAX_OPCODES} values")
            memo[place] = kinds[-1]
        elif name in _GET:
            kinds.append(memo[argument or 0])
        else:
            _step(kinds, opcode, argument)


def _step(kinds: list[str], opcode: pickletools.OpcodeInfo, argument: Any) -> None:
    """Does to the kinds of the values what an opcode does to the values."""
    needed = list(opcode.stack_before)
    if pickletools.markobject in needed:
        taken: list[str] = []
        while (kind := kinds.pop()) != "mark":
            taken.append(kind)
        taken.reverse()
        for _ in needed[: needed.index(pickletools.markobject)]:
            kinds.pop()
    else:
        taken = kinds[len(kinds) - len(needed) :]
        del kinds[len(kinds) - len(needed) :]
    if opcode.name in ("SETITEM", "SETITEMS"):
        pairs = taken[1:] if opcode.name == "SETITEM" else taken
        if not set(pairs[::2]) <= set(_KEYS):
            raise _NotPlainError("it holds a dictionary whose keys are not names")
    for pushed in opcode.stack_after:
        if pushed is pickletools.markobject:
            kinds.append("mark")
        elif isinstance(argument, int) and argument.bit_length() < 64:
            kinds.append("number")
        else:
            kinds.append("text" if pushed is pickletools.pyunicode else "value")


def _ordered(items: Iterable[tuple[Any, Any]] = ()) -> _Dictionary:
    found = _Dictionary()
    for key, value in items:
        if not isinstance(key, str | int):
            raise _NotPlainError("it holds a dictionary whose keys are not names")
        found[key] = value
    return found
