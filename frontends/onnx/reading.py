"""From a path to a parsed ONNX model, with a plain answer for everything that is not one."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from bnnc.diagnostics import BnncError, error
from bnnc.ir.location import Location

_LARGEST = 2**31 - 1
_EXPORT = 'torch.onnx.export(model, example, "net.onnx"), then bnnc compile net.onnx'
_OLDEST_OPSET = 7
_STANDARD = ("", "ai.onnx")


def read_model(path: Path) -> onnx.ModelProto:
    """The model in the file. Raises BnncError: B0407 (cannot be read), B0403 (not ONNX), B0409 (version)."""
    content = _content(path)
    foreign = _foreign(path.name, content)
    if foreign is not None:
        raise foreign
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, UnicodeDecodeError, ValueError, RecursionError, MemoryError):
        raise _not_onnx(path.name, "is not an ONNX file, or only part of one", len(content)) from None
    if not model.HasField("graph") or not model.graph.node or not model.graph.output:
        raise _not_onnx(path.name, "holds no ONNX graph: the file is not ONNX, or only part of one", len(content))
    if not _proper_names(model):
        raise _not_onnx(path.name, "has names that are not text: the file is damaged", len(content))
    _check_versions(model, path.name)
    return model


def _content(path: Path) -> bytes:
    name, place = path.name, (Location(file=path.name),)
    try:
        if path.is_dir():
            inside = sorted(entry.name for entry in path.iterdir() if entry.suffix == ".onnx")
            helps = (f"bnnc compile {path / inside[0]}",) if inside else (f"bnnc compile {path / 'model.onnx'}",)
            raise error("B0407", f"`{name}` is a folder, not a model file", places=place, helps=helps)
        if not path.exists():
            near = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix == ".onnx")[:3]
            notes = (f"model files beside it: {', '.join(near)}",) if near else ()
            raise error(
                "B0407",
                f"there is no file `{path}`",
                places=place,
                notes=notes,
                helps=("check the path and try again",),
            )
        if not path.is_file():
            raise error(
                "B0407", f"`{name}` is not a regular file", places=place, helps=("give the path of a .onnx file",)
            )
        size = path.stat().st_size
        if size > _LARGEST:
            raise error(
                "B0407",
                f"`{name}` has {size} bytes; an ONNX file has at most 2 GiB",
                places=place,
                helps=("save the weights beside it: onnx.save(model, path, save_as_external_data=True)",),
            )
        return path.read_bytes()
    except (OSError, ValueError, MemoryError) as reason:
        why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise error(
            "B0407",
            f"`{name}` cannot be read: {why.lower()}",
            places=place,
            helps=(f"ls -l {path}",),
        ) from None


def _not_onnx(name: str, what: str, size: int, helps: tuple[str, ...] = ()) -> BnncError:
    return error(
        "B0403",
        f"`{name}` {what} ({size} bytes)",
        places=(Location(file=name),),
        notes=("bnnc reads .onnx, .bnn and .bnnm",),
        helps=helps or ("fetch the file again, and compare its size with the source's",),
    )


def _foreign(name: str, content: bytes) -> BnncError | None:
    """What the file is instead, when its first bytes tell."""
    head, size = content[:512], len(content)
    text = head.lstrip().lower()
    if not content:
        return _not_onnx(name, "is empty", 0)
    if head.startswith(b"version https://git-lfs"):
        return error(
            "B0403",
            f"`{name}` is a Git LFS pointer ({size} bytes), not an ONNX file",
            places=(Location(file=name),),
            helps=("git lfs pull",),
        )
    pickled = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    if pickled or (head.startswith(b"PK\x03\x04") and (b"data.pkl" in head or name.endswith((".pt", ".pth", ".ckpt")))):
        return error(
            "B0403",
            f"`{name}` is a PyTorch checkpoint; bnnc reads .onnx, .bnn and .bnnm",
            places=(Location(file=name),),
            helps=(_EXPORT,),
        )
    kinds: tuple[tuple[bool, str, str], ...] = (
        (head.startswith(b"PK\x03\x04"), "is a zip archive", "unpack it, and give the .onnx file inside"),
        (head.startswith(b"\x1f\x8b"), "is a gzip archive", "gunzip it first"),
        (
            head.startswith(b"\x89HDF"),
            "is an HDF5 file (Keras weights)",
            "python -m tf2onnx.convert --saved-model FOLDER --output net.onnx",
        ),
        (
            head[4:8] == b"TFL3",
            "is a TensorFlow Lite model",
            "python -m tf2onnx.convert --tflite net.tflite --output net.onnx",
        ),
        (head[4:8] == b"ORTM", "is an ORT-format model", "use the .onnx file it was made from"),
        (
            text.startswith((b"<!doctype", b"<html", b"<?xml")),
            "is a web page",
            "download the file itself (on GitHub: the `Raw` link)",
        ),
    )
    for found, what, way_out in kinds:
        if found:
            return _not_onnx(name, what + ", not an ONNX file", size, (way_out,))
    return None


def _proper_names(model: onnx.ModelProto) -> bool:
    """Whether every name is valid UTF-8 (protobuf hands damaged ones out as bytes)."""
    graphs, nodes = [model.graph], [node for function in model.functions for node in function.node]
    names: list[object] = [entry.domain for entry in model.opset_import]
    names += [name for function in model.functions for name in (function.name, function.domain)]
    names += [name for function in model.functions for name in (*function.input, *function.output, *function.attribute)]
    names += [model.producer_name, model.producer_version]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            nodes.extend(graph.node)
            names += [entry.name for entry in (*graph.initializer, *graph.input, *graph.output)]
            names += [dim.dim_param for entry in graph.input for dim in entry.type.tensor_type.shape.dim]
            names += [
                part for entry in graph.initializer for pair in entry.external_data for part in (pair.key, pair.value)
            ]
        else:
            node = nodes.pop()
            names += [node.name, node.op_type, node.domain, *node.input, *node.output]
            for attribute in node.attribute:
                names += [attribute.name, attribute.ref_attr_name, attribute.t.name]
                graphs.extend(attribute.graphs)
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
    return all(isinstance(name, str) for name in names)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operator set that the model uses; 1 if it names none."""
    return max((entry.version for entry in model.opset_import if entry.domain in _STANDARD), default=1)


def _check_versions(model: onnx.ModelProto, name: str) -> None:
    opset, newest = opset_of(model), int(onnx.defs.onnx_opset_version())
    uses_standard = any(node.domain in _STANDARD for node in model.graph.node)
    if opset > newest:
        raise error(
            "B0409",
            f"`{name}` uses operator set {opset}, but the installed onnx {onnx.__version__} knows up to {newest}",
            places=(Location(file=name),),
            helps=("pip install --upgrade onnx", f"or export with opset_version={min(newest, 20)}"),
        )
    if uses_standard and opset < _OLDEST_OPSET:
        raise error(
            "B0409",
            f"`{name}` uses operator set {opset}; bnnc reads {_OLDEST_OPSET} and later",
            places=(Location(file=name),),
            helps=("onnx.version_converter.convert_version(onnx.load(path), 13), then onnx.save",),
        )
