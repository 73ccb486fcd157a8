"""Project files for other tools: Vivado and Quartus scripts, a FuseSoC core, constraints to fill in.

They list the same sources as the Makefile. Vendors' tools are not run by bnnc's own tests; the scripts hold the few
commands that every version of them has.
"""

from __future__ import annotations

from collections.abc import Sequence

from bnnc.backends.verilog.design import Design


def project_files(design: Design, made_by: str, sources: Sequence[str], memories: Sequence[str]) -> dict[str, str]:
    """Path -> text. `sources` and `memories` are paths in the package."""
    name = design.name
    marked = f"# {made_by}\n"
    return {
        f"{name}.core": _core(design, made_by, sources, memories),
        "vivado.tcl": marked + _VIVADO.replace("@NAME@", name),
        "quartus.tcl": marked + _QUARTUS.replace("@NAME@", name),
        f"constraints/{name}.lpf": marked + _LPF,
        f"constraints/{name}.pcf": marked + _PCF,
        f"constraints/{name}.xdc": marked + _XDC,
    }


def _core(design: Design, made_by: str, sources: Sequence[str], memories: Sequence[str]) -> str:
    listed = "".join(f"      - {path}\n" for path in sources)
    data = "".join(f"      - {path}: {{copyto: {path}}}\n" for path in memories)
    text = _CORE.replace("@NAME@", design.name).replace("@MADE_BY@", made_by)
    return text.replace("@SOURCES@", listed).replace("@MEMORIES@", data or "      []\n")


_CORE = """\
CAPI=2:
# @MADE_BY@
name: ::@NAME@:0
description: A binary neural network as a streaming circuit

filesets:
  rtl:
    file_type: verilogSource
    files:
@SOURCES@  memories:
    file_type: user
    files:
@MEMORIES@
targets:
  default: &default
    filesets: [rtl, memories]
    toplevel: @NAME@
  lint:
    <<: *default
    default_tool: verilator
    tools:
      verilator:
        mode: lint-only
        verilator_options: [-Wall]
"""

_VIVADO = """\
# vivado -mode batch -source vivado.tcl      (set PART for another chip)
set part [expr {[info exists ::env(PART)] ? $::env(PART) : "xc7a35tcpg236-1"}]
create_project -force -in_memory -part $part
read_verilog [glob rtl/*.v]
add_files [glob -nocomplain mem/*.mem]
read_xdc constraints/@NAME@.xdc
synth_design -top @NAME@ -part $part -mode out_of_context
opt_design
place_design
route_design
report_utilization -file utilization.txt
report_timing_summary -file timing.txt
write_checkpoint -force @NAME@.dcp
"""

_QUARTUS = """\
# quartus_sh -t quartus.tcl      (set PART for another chip)
load_package flow
project_new -overwrite @NAME@
set_global_assignment -name DEVICE [expr {[info exists ::env(PART)] ? $::env(PART) : "5CEBA4F23C7"}]
set_global_assignment -name TOP_LEVEL_ENTITY @NAME@
foreach file [glob rtl/*.v] { set_global_assignment -name VERILOG_FILE $file }
foreach file [glob -nocomplain mem/*.mem] { set_global_assignment -name MIF_FILE $file }
set_instance_assignment -name VIRTUAL_PIN ON -to *
execute_flow -compile
project_close
"""

_LPF = """\
# Pins of your board: one line a port, for example
# LOCATE COMP "aclk" SITE "P3";
# IOBUF PORT "aclk" IO_TYPE=LVCMOS33;
FREQUENCY PORT "aclk" 100 MHZ;
"""

_PCF = """\
# Pins of your board: one line a port, for example
# set_io aclk 21
set_frequency aclk 100
"""

_XDC = """\
# Pins of your board: one line a port, for example
# set_property -dict {PACKAGE_PIN W5 IOSTANDARD LVCMOS33} [get_ports aclk]
create_clock -name aclk -period 10.0 [get_ports aclk]
"""

__all__ = ["project_files"]
