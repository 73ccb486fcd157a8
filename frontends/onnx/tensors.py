"""From a TensorProto to a numpy array, believing nothing it says: sizes, types, and files outside the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from bnnc.frontends.onnx.problems import TOO_LARGE, Problem, malformed, unsupported
from bnnc.frontends.onnx.values import Value, elements, known

LARGEST = 2**31
ELEMENT_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.BOOL: "bool",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
    TensorProto.INT16: "int16",
    TensorProto.UINT16: "uint16",
    TensorProto.INT32: "int32",
    TensorProto.UINT32: "uint32",
    TensorProto.INT64: "int64",
    TensorProto.UINT64: "uint64",
    TensorProto.INT4: "int4",
    TensorProto.UINT4: "uint4",
}
_BITS = {"float32": 32, "float16": 16, "float64": 64, "bfloat16": 16, "bool": 8, "int4": 4, "uint4": 4}
_FIELDS = {
    "float32": "float_data",
    "float64": "double_data",
    "int64": "int64_data",
    "uint64": "uint64_data",
    "uint32": "uint64_data",
}


def element_type(number: int) -> str:
    """The name of an ONNX element type. Raises Problem for those that no network for bnnc has."""
    if number in ELEMENT_TYPES:
        return ELEMENT_TYPES[number]
    names = {value: name for name, value in TensorProto.DataType.items()}
    raise unsupported(f"has values of type {names.get(number, f'number {number}')}")


def tensor_value(tensor: onnx.TensorProto, folder: Path) -> Value:
    """The constant in a TensorProto. Raises Problem: B0408 (damaged), B0413 (too large), B0401 (element type)."""
    name = tensor.name
    dtype = element_type(tensor.data_type)
    shape = tuple(tensor.dims)
    if any(n < 0 for n in shape):
        raise malformed(f"reads `{name}`, which has a negative size: {list(shape)}")
    count = elements(shape)
    if count > LARGEST:
        raise Problem(TOO_LARGE, f"reads `{name}` of shape {list(shape)}: {count} elements are too many")
    if tensor.HasField("segment"):
        raise unsupported(f"reads `{name}`, which is stored in segments")
    bits = _BITS.get(dtype) or int(dtype.lstrip("uint"))
    size = (count * bits + 7) // 8
    if tensor.data_location == TensorProto.EXTERNAL:
        tensor = _with_external_data(tensor, folder, size)
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != size:
            raise malformed(
                f"reads `{name}`: shape {list(shape)} needs {size} bytes, the file has {len(tensor.raw_data)}"
            )
    else:
        field = getattr(tensor, _FIELDS.get(dtype, "int32_data"))
        stored = (count + 1) // 2 if bits == 4 else count
        if len(field) != stored:
            raise malformed(f"reads `{name}`: shape {list(shape)} needs {stored} values, the file has {len(field)}")
    if bits in (8, 32, 64) and tensor.HasField("raw_data") and dtype != "bool":
        array = np.frombuffer(tensor.raw_data, np.dtype(dtype).newbyteorder("<")).reshape(shape)
    else:
        array = np.asarray(numpy_helper.to_array(tensor)).reshape(shape)
        if dtype == "bfloat16":
            array = array.astype(np.float32)
    if dtype == "uint64" and count and int(array.max()) > 2**63 - 1:
        raise unsupported(f"reads `{name}`, which has unsigned values above 2^63")
    return known(array, dtype, name=name)


def _with_external_data(tensor: onnx.TensorProto, folder: Path, size: int) -> onnx.TensorProto:
    """The tensor with its bytes read from the file beside the model, which must lie in the model's folder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if not location or "\0" in location:
        raise malformed(f"reads `{tensor.name}`, whose weights are outside the file, but does not say where")
    root = folder.resolve()
    try:
        path = (root / location).resolve()
        inside = path.is_relative_to(root) and not Path(location).is_absolute()
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        raise malformed(f"reads `{tensor.name}` from `{location}`, which is outside the model's folder: refused")
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or size)
    except ValueError:
        raise malformed(f"reads `{tensor.name}` from `{location}` with a damaged offset or length") from None
    if length != size or offset < 0:
        raise malformed(
            f"reads `{tensor.name}` from `{location}`: its shape needs {size} bytes, "
            f"offset {offset} and length {length} do not fit"
        )
    try:
        if not path.is_file():
            raise Problem(
                "B0407",
                f"reads `{tensor.name}` from `{location}`, and there is no such file beside the model",
                helps=(f"copy `{location}` into the model's folder",),
            )
        available = path.stat().st_size
        if offset + size > available:
            raise malformed(
                f"reads `{tensor.name}` from `{location}`: bytes {offset} to {offset + size} of a file of {available}"
            )
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
    except OSError as reason:
        raise Problem("B0407", f"reads `{tensor.name}` from `{location}`: {reason.strerror or reason}") from None
    filled = onnx.TensorProto()
    filled.name, filled.data_type = tensor.name, tensor.data_type
    filled.dims.extend(tensor.dims)
    filled.raw_data = content
    return filled
