"""Writes torch checkpoints by hand, in both formats: what the tests read needs no torch."""

import io
import struct
import zipfile

import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
}
MAGIC = 0x1950A86A20F9469CFC6C


def name(module: str, attribute: str) -> bytes:
    """The opcode that refers to a name."""
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    """The opcode for a string."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    """The opcode for an integer."""
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + data


def sequence(*items: bytes) -> bytes:
    """The opcodes for a tuple."""
    return b"(" + b"".join(items) + b"t"


ORDERED = name("collections", "OrderedDict") + b")R"


def pickled(content: bytes) -> bytes:
    """A whole pickle."""
    return b"\x80\x02" + content + b"."


def tensor(
    key: str,
    array: np.ndarray,
    *,
    dtype: str | None = None,
    legacy: bool = False,
    offset: int = 0,
    shape: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> bytes:
    """The opcodes for a tensor over the storage ``key``, by default all of it, row by row."""
    shape = array.shape if shape is None else shape
    if strides is None:
        strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    storage = name("torch", STORAGES[dtype or array.dtype.name])
    identity = [text("storage"), storage, text(key), text("cpu"), number(array.size)]
    if legacy:
        identity.append(b"N")
    return (
        name("torch._utils", "_rebuild_tensor_v2")
        + sequence(
            sequence(*identity) + b"Q",
            number(offset),
            sequence(*map(number, shape)),
            sequence(*map(number, strides)),
            b"\x89",  # requires_grad=False
            ORDERED,
        )
        + b"R"
    )


def dictionary(items: dict[str, bytes]) -> bytes:
    """The opcodes for an OrderedDict, with the attribute that torch's state dicts have."""
    pairs = b"".join(text(key) + value for key, value in items.items())
    metadata = b"}(" + text("_metadata") + ORDERED + b"u"
    return ORDERED + b"(" + pairs + b"u" + metadata + b"b"


def zip_file(
    content: bytes, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A checkpoint as torch writes it since 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(content))
        archive.writestr("archive/byteorder", "little")
        for key, raw in storages.items():
            archive.writestr(f"archive/data/{key}", raw)
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def legacy_file(content: bytes, storages: dict[str, tuple[int, bytes]]) -> bytes:
    """A checkpoint as torch wrote it before: storages are (count of numbers, bytes)."""
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    system = b"}(" + text("little_endian") + b"\x88" + b"u"
    header = [pickled(part) for part in (number(MAGIC), number(1001), system, content, keys)]
    data = [struct.pack("<q", count) + raw for count, raw in storages.values()]
    return b"".join(header + data)


def state_file(state: dict[str, np.ndarray], *, legacy: bool = False, wrap: str = "") -> bytes:
    """A checkpoint that holds arrays by name, under the key ``wrap`` if one is given."""
    tensors = {
        key: tensor(str(i), array, legacy=legacy) for i, (key, array) in enumerate(state.items())
    }
    content = dictionary(tensors)
    if wrap:
        content = b"}(" + text("epoch") + number(5) + text(wrap) + content + b"u"
    raw = [np.ascontiguousarray(array).tobytes() for array in state.values()]
    if legacy:
        sizes = [array.size for array in state.values()]
        return legacy_file(
            content, {str(i): item for i, item in enumerate(zip(sizes, raw, strict=True))}
        )
    return zip_file(content, {str(i): data for i, data in enumerate(raw)})
