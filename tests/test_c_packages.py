"""Libraries for build systems, weights in a file of their own, single headers: they build, and their tests pass."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

from bnnc.backends.c import Backend
from bnnc.backends.c.packages import KINDS
from bnnc.diagnostics import BnncError
from bnnc.ir.module import Module
from tests.c_code import build, needs_gcc, run
from tests.test_c_artifact import small

PACKAGES = [kind for kind in KINDS if kind != "none"]
AWKWARD = ["net", "My net 2!", "int", "ünï-cødé", "9_lives", "NET__X", 'a"b\n<c>&', "x" * 90, "--"]


def packed(kind: str, module: Module | None = None, **options: object) -> dict[str, bytes]:
    return dict(Backend().emit(module or small(), Backend.Options(package=kind, **options)).files)


def written(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tool(name: str) -> str:
    """The path of a tool, beside this Python or on the path; skips where it is not."""
    found = shutil.which(name) or shutil.which(name, path=os.path.dirname(sys.executable))
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def called(*command: str, folder: Path, **environment: str) -> str:
    """What a command that must go well has said."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_gcc
@pytest.mark.parametrize("machine", ["generic-c", "cortex-m4", "avr"])
@pytest.mark.parametrize("way", ["split", "single_header"])
def test_other_ways_to_hand_it_over_pass_the_self_test(way: str, machine: str, tmp_path: Path) -> None:
    plain = Backend().emit(small(), Backend.Options(machine=machine)).files
    files = dict(Backend().emit(small(), Backend.Options(machine=machine, **{way: True})).files)
    expected = {"split": {"net_weights.c", "net_weights.h"}, "single_header": set()}[way]
    gone = {"split": set(), "single_header": {"net.c"}}[way]
    assert set(files) == (set(plain) | expected) - gone
    code, text = run(build(files, tmp_path))
    assert (code, text[:7]) == (0, "net: ok"), text
    if way == "split":
        tables = re.findall(r"^static const", files["net.c"].decode(), re.M)
        assert not tables
        assert b"0x" in files["net_weights.c"]


@needs_gcc
def test_a_single_header_serves_several_sources(tmp_path: Path) -> None:
    files = dict(Backend().emit(small(), Backend.Options(single_header=True)).files)
    (tmp_path / "other.c").write_text(
        '#include "net.h"\nuint32_t other(void);\nuint32_t other(void) { return net_checksum(); }\n'
    )
    other = {**files, "other.c": (tmp_path / "other.c").read_bytes()}
    assert run(build(other, tmp_path))[0] == 0


@pytest.mark.parametrize("other", [{"split": True}, {"package": "cmake"}])
def test_a_single_header_goes_with_no_library(other: dict[str, object]) -> None:
    with pytest.raises(BnncError) as caught:
        Backend().emit(small(), Backend.Options(single_header=True, **other))
    assert caught.value.diagnostics[0].code == "B0101"


@pytest.mark.parametrize("kind", PACKAGES)
def test_packages_are_the_same_each_time(kind: str) -> None:
    one, two = packed(kind), packed(kind)
    assert one == two
    assert all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in one)


@needs_gcc
@pytest.mark.parametrize(("name", "split"), [("net", True), ('a"b\n<c>&', False)])
def test_cmake_configures_builds_and_tests(name: str, split: bool, tmp_path: Path) -> None:
    cmake, ctest = tool("cmake"), tool("ctest")
    written(packed("cmake", small(name), split=split), tmp_path)
    called(cmake, "-S", ".", "-B", "build", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'installed'}", folder=tmp_path)
    called(cmake, "--build", "build", folder=tmp_path)
    assert "100% tests passed" in called(ctest, "--test-dir", "build", folder=tmp_path)
    called(cmake, "--install", "build", folder=tmp_path)
    assert list(tmp_path.glob("installed/lib*/cmake/*/*Config.cmake"))
    called(cmake, "-S", "example", "-B", "example/build", folder=tmp_path)
    called(cmake, "--build", "example/build", folder=tmp_path)
    assert "whole" in called(str(tmp_path / "example" / "build" / "example"), folder=tmp_path)


@pytest.mark.parametrize("name", AWKWARD)
def test_metadata_survive_any_name(name: str) -> None:
    """Every file that a build system parses is what its format allows."""
    properties = packed("arduino", small(name))["library.properties"].decode()
    values = dict(line.split("=", 1) for line in properties.splitlines())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", values["name"])
    assert {"name", "version", "author", "maintainer", "sentence", "category", "architectures"} <= set(values)
    manifest = json.loads(packed("platformio", small(name))["library.json"])
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", manifest["name"])
    assert len(manifest["name"]) <= 100
    pack = packed("cmsis-pack", small(name))
    (pdsc,) = [text for file, text in pack.items() if file.endswith(".pdsc")]
    root = ElementTree.fromstring(pdsc)
    order = ["vendor", "name", "description", "url", "releases", "keywords", "components"]
    assert [child.tag for child in root] == order
    assert all(file.get("name") in pack for file in root.iter("file"))
    (archive,) = [text for file, text in pack.items() if file.endswith(".pack")]
    inside = zipfile.ZipFile(io.BytesIO(archive))
    assert inside.testzip() is None
    assert set(inside.namelist()) == {file for file in pack if not file.endswith(".pack")}


@pytest.mark.parametrize("name", ["net", 'a"b\n<c>&', "int"])
def test_yaml_of_zephyr_and_esp_idf(name: str) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    zephyr = packed("zephyr", small(name))
    assert yaml.safe_load(zephyr["zephyr/module.yml"])["build"] == {"cmake": ".", "kconfig": "Kconfig"}
    assert list(yaml.safe_load(zephyr["samples/selftest/sample.yaml"])) == ["sample", "tests"]
    option = re.findall(r"^config (\w+)$", zephyr["Kconfig"].decode(), re.M)
    configured = zephyr["samples/selftest/prj.conf"].decode()
    assert all(f"CONFIG_{word}=y" in configured for word in option)
    assert all(f"CONFIG_{word}" in zephyr["CMakeLists.txt"].decode() for word in option)
    component = yaml.safe_load(packed("esp-idf", small(name))["idf_component.yml"])
    assert component["version"] == "1.0.0"


@pytest.mark.parametrize("name", ["net", "My net 2!"])
def test_platformio_packs_it(name: str, tmp_path: Path) -> None:
    pio = tool("pio")
    folder = written(packed("platformio", small(name)), tmp_path / "library")
    settings = {"PLATFORMIO_CORE_DIR": str(tmp_path / "core"), "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no"}
    said = called(pio, "pkg", "pack", "-o", str(tmp_path / "library.tar.gz"), str(folder), folder=tmp_path, **settings)
    assert "Wrote a tarball" in said
    assert (tmp_path / "library.tar.gz").stat().st_size > 1000


@pytest.mark.parametrize("name", ["net", "My net 2!"])
def test_the_component_manager_takes_it(name: str, tmp_path: Path) -> None:
    compote = tool("compote")
    folder = written(packed("esp-idf", small(name)), tmp_path / "component")
    called(compote, "component", "pack", "--name", "net", folder=folder, IDF_COMPONENT_CHECK_NEW_VERSION="0")
    assert list(folder.glob("dist/*.tgz"))


@needs_gcc
@pytest.mark.parametrize("kind", ["platformio", "zephyr", "esp-idf", "cmsis-pack"])
def test_the_example_of_a_package_runs(kind: str, tmp_path: Path) -> None:
    """As the build system would put it together, with a main of its own."""
    files = packed(kind)
    written(files, tmp_path)
    (example,) = [name for name in files if name.endswith("main.c")]
    text = files[example].decode()
    if kind == "esp-idf":  # its main is called by the system, and returns nothing
        (tmp_path / example).write_text(text.replace("void app_main(void) {", "int main(void) {"))
    sources = [str(tmp_path / name) for name in files if name.startswith("src/") and name.endswith(".c")]
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-I", str(tmp_path / "include"), "-o", "example"]
    called(*command, *sources, str(tmp_path / example), "-lm", folder=tmp_path)
    assert called(str(tmp_path / "example"), folder=tmp_path) == "net: ok\n"


@needs_gcc
def test_the_sketch_compiles_as_cplusplus(tmp_path: Path) -> None:
    """With stand-ins for what Arduino brings."""
    compiler = tool("g++")
    files = packed("arduino")
    written(files, tmp_path)
    (tmp_path / "Arduino.h").write_text(
        "#include <stdio.h>\n#define F(text) text\nstruct Port { void begin(long) {} operator bool() { return true; }\n"
        "void print(const char *t) { fputs(t, stdout); } void println(const char *t) { puts(t); } } Serial;\n"
    )
    sketch = files["examples/SelfTest/SelfTest.ino"].decode()
    (tmp_path / "sketch.cpp").write_text(f'#include "Arduino.h"\n{sketch}\nint main() {{ setup(); loop(); }}\n')
    objects = []
    for name in (name for name in files if name.endswith(".c")):
        called("gcc", "-std=c99", "-c", "-I", "src", name, "-o", f"{Path(name).stem}.o", folder=tmp_path)
        objects.append(f"{Path(name).stem}.o")
    called(
        compiler, "-Wall", "-Wextra", "-Werror", "-I", "src", "-o", "sketch", "sketch.cpp", *objects, folder=tmp_path
    )
    assert called(str(tmp_path / "sketch"), folder=tmp_path) == "net: ok\n"
