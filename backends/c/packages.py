"""Generated code as a library of the systems that firmware is built with: their folders and their metadata."""

from __future__ import annotations

import io
import json
import re
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

VERSION = "1.0.0"
"""Of every package: bnnc does not know which training of a network is the newer one."""
KINDS = ("none", "arduino", "platformio", "zephyr", "esp-idf", "cmake", "cmsis-pack")


@dataclass(frozen=True)
class Parts:
    """The files of an artifact, by what they are for; `prefix` is an identifier, so it needs no quoting anywhere."""

    prefix: str
    machine: str
    headers: dict[str, bytes]
    sources: dict[str, bytes]
    selftests: dict[str, bytes]
    facts: dict[str, bytes]

    @property
    def name(self) -> str:
        """The name of the package: small letters, digits and hyphens, a letter first."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.prefix.lower()).strip("-")
        return plain if plain[:1].isalpha() else f"net-{plain}".rstrip("-")

    @property
    def about(self) -> str:
        """What the package is, in a sentence."""
        return f"The binary neural network {self.prefix} as C99 without dependencies, made by bnnc for {self.machine}"

    @property
    def compiled(self) -> list[str]:
        """What a library is made of."""
        return sorted([*self.sources, *self.selftests])

    def placed(self, headers: str, sources: str, *, main: bool = False) -> dict[str, bytes]:
        """The files in their folders. Without `main` the self-tests are functions only: a library has no main."""
        found = {f"{headers}{name}": text for name, text in self.headers.items()}
        found |= {f"{sources}{name}": text for name, text in self.sources.items()}
        guard = b"" if main else b"#ifndef BNNC_NO_MAIN\n#define BNNC_NO_MAIN\n#endif\n"
        return found | {f"{sources}{name}": guard + text for name, text in self.selftests.items()}

    def program(self, begin: str = "int main(void) {", end: str = "    return result;\n}\n") -> str:
        """An example: the self-test, and one run."""
        upper = self.prefix.upper()
        return (
            f'#include <stdio.h>\n\n#include "{self.prefix}.h"\n\n'
            f"static uint32_t arena[{upper}_ARENA_WORDS];\n\n{begin}\n"
            f"    const int result = {self.prefix}_selftest(arena);\n"
            f'    printf("{self.prefix}: %s\\n", result == 0 ? "ok" : "FAILED");\n{end}'
        )


def packed(kind: str, prefix: str, machine: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of an artifact as a package of that kind (see KINDS)."""

    def those(test: Callable[[str], bool]) -> dict[str, bytes]:
        return {name: files[name] for name in sorted(files) if test(name)}

    def selftest(name: str) -> bool:
        return name.endswith("_selftest.c")

    parts = Parts(
        prefix,
        machine,
        those(lambda name: name.endswith(".h")),
        those(lambda name: name.endswith(".c") and not selftest(name)),
        those(selftest),
        those(lambda name: name.endswith(".json")),
    )
    made = _MAKERS[kind](parts)
    texts = {name: text.encode() if isinstance(text, str) else text for name, text in made.items()}
    return dict(sorted(texts.items()))


Made = dict[str, "str | bytes"]


def _arduino(parts: Parts) -> Made:
    upper = parts.prefix.upper()
    properties = {
        "name": parts.name,
        "version": VERSION,
        "author": "bnnc",
        "maintainer": "bnnc",
        "sentence": parts.about,
        "paragraph": "One function runs the network; sizes are macros; a self-test holds golden vectors.",
        "category": "Data Processing",
        "url": "",
        "architectures": "avr" if parts.machine == "avr" else "*",
        "includes": f"{parts.prefix}.h",
    }
    sketch = f"""#include <{parts.prefix}.h>

static uint32_t arena[{upper}_ARENA_WORDS];

void setup() {{
    Serial.begin(115200);
    while (!Serial) {{
    }}
    const int result = {parts.prefix}_selftest(arena);
    Serial.print(F("{parts.prefix}: "));
    Serial.println(result == 0 ? F("ok") : F("FAILED"));
}}

void loop() {{
}}
"""
    return {
        **parts.placed("src/", "src/"),
        "library.properties": "".join(f"{key}={value}\n" for key, value in properties.items()),
        "keywords.txt": "".join(f"{parts.prefix}_{f}\tKEYWORD2\n" for f in ("run", "argmax", "selftest", "checksum")),
        "examples/SelfTest/SelfTest.ino": sketch,
        **{f"extras/{name}": text for name, text in parts.facts.items()},
    }


def _platformio(parts: Parts) -> Made:
    manifest = {
        "name": parts.name,
        "version": VERSION,
        "description": parts.about,
        "keywords": ["binary neural network", "inference", "bnnc"],
        "frameworks": "*",
        "platforms": "*",
        "headers": sorted(parts.headers),
        "build": {"srcDir": "src", "includeDir": "include"},
        "examples": [{"name": "SelfTest", "base": "examples/selftest", "files": ["platformio.ini", "src/main.c"]}],
        "export": {"include": ["library.json", "README.md", "src", "include", "examples", "extras"]},
    }
    project = "[env:native]\nplatform = native\nlib_extra_dirs = ../../..\nbuild_flags = -std=c99\n"
    return {
        **parts.placed("include/", "src/"),
        "library.json": json.dumps(manifest, indent=2) + "\n",
        "README.md": _readme(parts, "`pio pkg install --library .` adds it to a project."),
        "examples/selftest/platformio.ini": project,
        "examples/selftest/src/main.c": parts.program(),
        **{f"extras/{name}": text for name, text in parts.facts.items()},
    }


def _zephyr(parts: Parts) -> Made:
    option = f"BNNC_{parts.prefix.upper()}"
    sources = "\n".join(f"  zephyr_library_sources(src/{name})" for name in sorted(parts.sources))
    tests = "\n".join(f"  zephyr_library_sources_ifdef(CONFIG_{option}_SELFTEST src/{n})" for n in parts.selftests)
    return {
        **parts.placed("include/", "src/"),
        "zephyr/module.yml": f"name: {parts.name}\nbuild:\n  cmake: .\n  kconfig: Kconfig\n",
        "CMakeLists.txt": f"if(CONFIG_{option})\n  zephyr_include_directories(include)\n  zephyr_library()\n"
        f"{sources}\n{tests}\nendif()\n",
        "Kconfig": f'config {option}\n\tbool "The binary neural network {parts.prefix}"\n\thelp\n\t  {parts.about}.\n\n'
        f'config {option}_SELFTEST\n\tbool "Its self-test"\n\tdepends on {option}\n\thelp\n'
        "\t  Golden vectors, and a function that compares with them.\n",
        "samples/selftest/CMakeLists.txt": "cmake_minimum_required(VERSION 3.20.0)\n"
        "list(APPEND ZEPHYR_EXTRA_MODULES ${CMAKE_CURRENT_SOURCE_DIR}/../..)\n"
        "find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})\nproject(selftest C)\n"
        "target_sources(app PRIVATE src/main.c)\n",
        "samples/selftest/prj.conf": f"CONFIG_{option}=y\nCONFIG_{option}_SELFTEST=y\nCONFIG_MAIN_STACK_SIZE=2048\n",
        "samples/selftest/sample.yaml": f"sample:\n  name: {parts.name} self-test\ntests:\n  {parts.name}.selftest:\n"
        "    harness: console\n    harness_config:\n      type: one_line\n      regex:\n"
        f'        - "{parts.prefix}: ok"\n',
        "samples/selftest/src/main.c": parts.program(),
        **{f"doc/{name}": text for name, text in parts.facts.items()},
    }


def _esp_idf(parts: Parts) -> Made:
    sources = " ".join(f'"src/{name}"' for name in parts.compiled)
    manifest = f'version: "{VERSION}"\ndescription: {json.dumps(parts.about)}\ndependencies:\n  idf: ">=4.4"\n'
    begin, end = "void app_main(void) {", "}\n"
    return {
        **parts.placed("include/", "src/"),
        "idf_component.yml": manifest,
        "CMakeLists.txt": f'idf_component_register(SRCS {sources} INCLUDE_DIRS "include")\n',
        "README.md": _readme(parts, "Put the folder into `components/` of a project."),
        "examples/selftest/CMakeLists.txt": "cmake_minimum_required(VERSION 3.16)\n"
        "include($ENV{IDF_PATH}/tools/cmake/project.cmake)\nproject(selftest)\n",
        "examples/selftest/main/CMakeLists.txt": 'idf_component_register(SRCS "main.c" INCLUDE_DIRS "")\n',
        "examples/selftest/main/idf_component.yml": f'dependencies:\n  {parts.name}:\n    version: "*"\n'
        "    override_path: ../../../\n",
        "examples/selftest/main/main.c": parts.program(begin, end),
        **{f"docs/{name}": text for name, text in parts.facts.items()},
    }


def _cmake(parts: Parts) -> Made:
    prefix = parts.prefix
    sources = " ".join(f"src/{name}" for name in sorted(parts.sources))
    tests = "".join(
        f"    add_executable({name[:-2]} src/{name})\n    target_link_libraries({name[:-2]} PRIVATE {prefix})\n"
        f"    add_test(NAME {name[:-2]} COMMAND {name[:-2]})\n"
        for name in sorted(parts.selftests)
    )
    lists = f"""cmake_minimum_required(VERSION 3.13)
project({prefix} VERSION {VERSION} LANGUAGES C)
include(GNUInstallDirs)

add_library({prefix} STATIC {sources})
add_library(bnnc::{prefix} ALIAS {prefix})
set_target_properties({prefix} PROPERTIES C_STANDARD 99 C_EXTENSIONS OFF)
target_include_directories({prefix} PUBLIC
    $<BUILD_INTERFACE:${{CMAKE_CURRENT_SOURCE_DIR}}/include>
    $<INSTALL_INTERFACE:${{CMAKE_INSTALL_INCLUDEDIR}}>)
if(UNIX)
    target_link_libraries({prefix} PUBLIC m)
endif()

if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
    enable_testing()
{tests}endif()

install(TARGETS {prefix} EXPORT {prefix}Targets ARCHIVE DESTINATION ${{CMAKE_INSTALL_LIBDIR}})
install(DIRECTORY include/ DESTINATION ${{CMAKE_INSTALL_INCLUDEDIR}})
install(EXPORT {prefix}Targets NAMESPACE bnnc:: FILE {prefix}Config.cmake
    DESTINATION ${{CMAKE_INSTALL_LIBDIR}}/cmake/{prefix})
"""
    upper = prefix.upper()
    example = (
        f'#include <stdio.h>\n\n#include "{prefix}.h"\n\nstatic uint32_t arena[{upper}_ARENA_WORDS];\n\n'
        f"int main(void) {{\n    const uint32_t sum = {prefix}_checksum();\n"
        f"    const int whole = sum == {prefix}_model_hash;\n    arena[0] = sum;\n"
        f'    printf("{prefix}: %s\\n", whole ? "the tables are whole" : "the tables are damaged");\n'
        "    return whole ? 0 : 1;\n}\n"
    )
    return {
        **parts.placed("include/", "src/", main=True),
        "CMakeLists.txt": lists,
        "example/CMakeLists.txt": "cmake_minimum_required(VERSION 3.13)\nproject(example LANGUAGES C)\n"
        f"add_subdirectory(.. {prefix})\nadd_executable(example main.c)\n"
        f"target_link_libraries(example PRIVATE bnnc::{prefix})\n",
        "example/main.c": example,
        **{f"doc/{name}": text for name, text in parts.facts.items()},
    }


def _cmsis_pack(parts: Parts) -> Made:
    placed = parts.placed("include/", "src/")
    lines = [f'        <file category="header" name="include/{name}"/>' for name in sorted(parts.headers)]
    lines += [f'        <file category="sourceC" name="src/{name}"/>' for name in sorted(parts.sources)]
    tests = [f'        <file category="sourceC" name="src/{name}"/>' for name in sorted(parts.selftests)]
    files, selftests = "\n".join(lines), "\n".join(tests)
    about = parts.about
    pdsc = f"""<?xml version="1.0" encoding="UTF-8"?>
<package schemaVersion="1.7.7" xmlns:xs="http://www.w3.org/2001/XMLSchema-instance"
         xs:noNamespaceSchemaLocation="PACK.xsd">
  <vendor>bnnc</vendor>
  <name>{parts.name}</name>
  <description>{about}</description>
  <url></url>
  <releases>
    <release version="{VERSION}">Made by bnnc.</release>
  </releases>
  <keywords>
    <keyword>binary neural network</keyword>
  </keywords>
  <components>
    <component Cclass="Machine Learning" Cgroup="Network" Csub="{parts.prefix}" Cversion="{VERSION}">
      <description>{about}</description>
      <files>
{files}
      </files>
    </component>
    <component Cclass="Machine Learning" Cgroup="Self-test" Csub="{parts.prefix}" Cversion="{VERSION}">
      <description>Golden vectors of {parts.prefix}, and a function that compares with them</description>
      <files>
{selftests}
      </files>
    </component>
  </components>
</package>
"""
    made: Made = {**placed, f"bnnc.{parts.name}.pdsc": pdsc, "examples/selftest/main.c": parts.program()}
    made |= {f"doc/{name}": text for name, text in parts.facts.items()}
    return {**made, f"bnnc.{parts.name}.{VERSION}.pack": _zip(made)}


def _zip(files: Made) -> bytes:
    """A zip file that is the same whenever it is written."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(files.items()):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, text.encode() if isinstance(text, str) else text)
    return target.getvalue()


def _readme(parts: Parts, how: str) -> str:
    code = textwrap.dedent(f"""\
        #include "{parts.prefix}.h"

        static uint32_t arena[{parts.prefix.upper()}_ARENA_WORDS];
    """)
    return f"# {parts.name}\n\n{parts.about}. {how}\n\n```c\n{code}```\n\nSee `{parts.prefix}.h` for its functions.\n"


def _plain(parts: Parts) -> Made:
    return {**parts.placed("", "", main=True), **parts.facts}


_MAKERS: dict[str, Callable[[Parts], Made]] = {
    "none": _plain,
    "arduino": _arduino,
    "platformio": _platformio,
    "zephyr": _zephyr,
    "esp-idf": _esp_idf,
    "cmake": _cmake,
    "cmsis-pack": _cmsis_pack,
}

__all__ = ["KINDS", "packed"]
