"""The container `.bnnm`: an uncompressed zip of module.ir, the arrays and meta.json. Equal modules give equal bytes.

Members in order: `module.ir`, `arrays/DIGEST`, `extra/NAME`, `meta.json` (format version and the SHA-256 of each other
member). Dates and attributes are fixed. Nothing in it is executed, and no size in it is believed before it is checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bnnc.diagnostics import BnncError, error
from bnnc.ir import text
from bnnc.ir.module import Module
from bnnc.ir.packing import PackingError, pack, unpack
from bnnc.ir.syntax import digest
from bnnc.ir.verify import verify

VERSION = 1
MAX_MEMBERS = 1 << 16
MAX_BYTES = 1 << 32
MAX_META = 1 << 24
_EXTRA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_HELP = "compile or export the model again, or fetch the file again"


@dataclass(frozen=True)
class Container:
    """What a `.bnnm` file holds: the module, and what others stored beside it (training state, for example)."""

    module: Module
    extra: Mapping[str, bytes | np.ndarray]


def dumps(module: Module, extra: Mapping[str, bytes | np.ndarray] | None = None) -> bytes:
    """The container of a module. `extra` names are letters, digits, `_`, `.` and `-`; its arrays are stored as arrays.

    Raises ValueError for another name, or an array of a dtype that a module cannot hold.
    """
    members: dict[str, bytes] = {"module.ir": text.print_module(module).encode()}
    for name, array in text.arrays(module).items():
        members[f"arrays/{name}"] = pack(array)
    for name, content in sorted((extra or {}).items()):
        if not _EXTRA_NAME.fullmatch(name):
            raise ValueError(f"`{name}` cannot name a part of a container")
        if isinstance(content, bytes):
            members[f"extra/bytes/{name}"] = content
        else:
            members[f"extra/array/{name}"] = pack(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    meta = {"format": "bnnm", "version": VERSION, "sha256": sums}
    members["meta.json"] = json.dumps(meta, indent=1).encode() + b"\n"
    return _zip(members)


def _zip(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return stream.getvalue()


def loads(data: bytes, file: str = "model.bnnm") -> Module:
    """The module in a container. Raises BnncError: B0420 not a container, B0421 another version, B0422 damaged,
    B0423 its module.ir is wrong."""
    return load_container(data, file).module


def load_container(data: bytes, file: str = "model.bnnm") -> Container:
    """The module and the extra parts; errors as for `loads`."""
    members = _checked_members(data, file)
    arrays: dict[str, np.ndarray] = {}
    extra: dict[str, bytes | np.ndarray] = {}
    for name, content in members.items():
        folder, _, last = name.rpartition("/")
        try:
            if folder == "arrays":
                arrays[last] = unpack(content)
            elif folder == "extra/array":
                extra[last] = unpack(content)
            elif folder == "extra/bytes":
                extra[last] = content
            elif name != "module.ir":
                raise _not_a_container(file, f"it holds an unknown member `{name}`")
        except PackingError as fault:
            raise _damaged(file, f"array `{name}`: {fault}") from None
        if folder == "arrays" and digest(arrays[last]) != last:
            raise _damaged(file, f"array `{name}` does not have the content its name stands for")
    try:
        source = members["module.ir"].decode()
    except UnicodeDecodeError:
        raise _damaged(file, "module.ir is not text") from None
    module = text.parse_module(source, arrays, file)
    unread = arrays.keys() - text.arrays(module).keys()
    if unread:
        raise _not_a_container(file, f"its array `{min(unread)}` belongs to no op")
    try:
        verify(module)
    except BnncError as fault:
        raise error("B0423", f"`{file}` is not a module of bnnc: {fault.diagnostics[0].message}") from None
    return Container(module, extra)


def _not_a_container(file: str, reason: str) -> BnncError:
    return error("B0420", f"`{file}` is not a .bnnm file: {reason}", helps=(_HELP,))


def _damaged(file: str, reason: str) -> BnncError:
    return error("B0422", f"`{file}` is damaged: {reason}", helps=(_HELP,))


def _checked_members(data: bytes, file: str) -> dict[str, bytes]:
    """Every member but meta.json, with version and checksums verified."""
    members = _unzip(data, file)
    meta = _meta(members.pop("meta.json", b""), file)
    sums = meta.get("sha256")
    if not isinstance(sums, dict) or set(sums) != set(members) or "module.ir" not in members:
        raise _damaged(file, "meta.json does not list its members")
    for name, content in members.items():
        if hashlib.sha256(content).hexdigest() != sums[name]:
            raise _damaged(file, f"`{name}` does not match its checksum")
    return members


def _meta(content: bytes, file: str) -> dict[str, object]:
    if not content or len(content) > MAX_META:
        raise _not_a_container(file, "it has no meta.json")
    try:
        meta = json.loads(content)
    except (ValueError, RecursionError):
        raise _not_a_container(file, "its meta.json cannot be read") from None
    if not isinstance(meta, dict) or meta.get("format") != "bnnm":
        raise _not_a_container(file, "its meta.json is of something else")
    version = meta.get("version")
    if type(version) is not int or version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        help_text = "update bnnc: pip install -U bnnc" if newer else _HELP
        raise error("B0421", f"`{file}` has format version {version}; this bnnc reads {VERSION}", helps=(help_text,))
    return meta


def _unzip(data: bytes, file: str) -> dict[str, bytes]:
    if data.startswith(b"version https://git-lfs"):
        message = f"`{file}` is a Git LFS pointer ({len(data)} bytes), not a .bnnm file"
        raise error("B0403", message, helps=("git lfs pull",))
    if not data.startswith(b"PK"):
        raise _not_a_container(file, "it is empty" if not data else "it is no zip file")
    if len(data) > MAX_BYTES:
        raise _not_a_container(file, f"it is larger than a container can be ({len(data)} bytes)")
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            # Stored members cannot expand, and members that overlap would together be larger than the file.
            if len(entries) > MAX_MEMBERS or sum(entry.file_size for entry in entries) > len(data):
                raise _not_a_container(file, "its members are larger than the file")
            for entry in entries:
                stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
                if not stored or entry.flag_bits & 1:
                    raise _not_a_container(file, f"its member `{entry.filename[:100]}` is compressed or encrypted")
                if entry.filename in members:
                    raise _not_a_container(file, f"it holds two members `{entry.filename[:100]}`")
                members[entry.filename] = archive.read(entry)
    except (zipfile.BadZipFile, struct.error, ValueError, EOFError, OSError, RuntimeError, OverflowError) as fault:
        raise _damaged(file, f"it is cut off or changed ({fault})") from None
    return members
