"""Names in Verilog: what an instance, a wire or a file may be called, whatever the user's layers are called."""

from __future__ import annotations

from bnnc.loops.lower.network import identifier

# Keywords of Verilog-2005, SystemVerilog and VHDL (circuits are mixed), and names that the generated files use.
_WORDS = """
    abs accept_on access after alias all always always_comb always_ff always_latch and architecture array assert assign
    assume attribute automatic before begin bind bins binsof bit block body break buf buffer bufif0 bufif1 bus byte case
    casex casez cell chandle checker class clocking cmos component config configuration const constant constraint
    context continue cover covergroup coverpoint cross deassign default defparam design disable disconnect dist do
    downto edge else elsif end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup
    endinterface endmodule endpackage endprimitive endprogram endproperty endspecify endsequence endtable endtask entity
    enum event eventually exit expect export extends extern file final first_match for force foreach forever fork
    forkjoin function generate generic genvar global group guarded highz0 highz1 if iff ifnone ignore_bins illegal_bins
    implements implies import impure in incdir include inertial initial inout input inside instance int integer
    interconnect interface intersect is join join_any join_none label large let liblist library linkage literal local
    localparam logic longint loop macromodule map matches medium mod modport module nand negedge nettype new nexttime
    next nmos nor noshowcancelled not notif0 notif1 null of on open or others out output package packed parameter pmos
    port posedge postponed primitive priority procedure process program property protected pull0 pull1 pulldown pullup
    pulsestyle_ondetect pulsestyle_onevent pure range rand randc randcase randsequence rcmos real realtime record ref
    reg register reject reject_on release rem repeat report restrict return rnmos rol ror rpmos rtran rtranif0 rtranif1
    s_always s_eventually s_nexttime s_until s_until_with scalared select sequence severity shared shortint shortreal
    showcancelled signal signed sla sll small soft solve specify specparam sra srl static string strong strong0 strong1
    struct subtype super supply0 supply1 sync_accept_on sync_reject_on table tagged task then this throughout time
    timeprecision timescale timeunit to tran tranif0 tranif1 transport tri tri0 tri1 triand trior trireg type typedef
    unaffected union unique unique0 units unsigned until until_with untyped use uwire var variable vectored virtual
    void wait wait_order wand weak weak0 weak1 when while wildcard wire with within wor xnor xor
    clk rst aclk aresetn clock top main work std ieee
"""
RESERVED = frozenset(_WORDS.split())
LONGEST = 40


class Names:
    """Fresh identifiers: lower-case letters, digits and single underscores, different from one another in any case."""

    def __init__(self) -> None:
        self._taken = set(RESERVED)

    def fresh(self, wanted: str) -> str:
        """An identifier like `wanted`; with a number behind it where that is taken."""
        plain = _plain(wanted)
        name, number = plain, 1
        while name in self._taken:
            number += 1
            name = f"{plain}_{number}"
        self._taken.add(name)
        return name


def _plain(text: str) -> str:
    # Two underscores in a row and one at an end are no names in VHDL.
    return "_".join(part for part in identifier(text).lower().split("_") if part)[:LONGEST].rstrip("_") or "n"


def module_name(name: str) -> str:
    """What the circuit of a network is called: an identifier that no keyword and no other module is."""
    made = _plain(name)
    of_layer = made.startswith("net_") and "_unrolled" in made
    return f"{made}_net" if made in RESERVED or made.startswith("bnnc_") or of_layer else made


def comment_text(text: str) -> str:
    """One line of ASCII that ends no comment and joins no line."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    plain = plain.encode("ascii", "backslashreplace").decode()
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("`", "'")[:200].rstrip("\\ ")


__all__ = ["RESERVED", "Names", "comment_text", "module_name"]
