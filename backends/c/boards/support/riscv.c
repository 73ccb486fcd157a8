/* Start-up code of an emulated 32-bit RISC-V (QEMU's `virt`), which reads and writes files by semihosting. */
#include "board.h"

int main(void);
void board_main(void);

__asm__(
    ".section .vectors, \"ax\"\n .globl board_reset\nboard_reset:\n"
    "la sp, board_stack\n la t0, board_fault\n csrw mtvec, t0\n j board_main\n"
    ".balign 4\nboard_fault:\n li a0, 99\n j board_exit\n .text\n");

/* The three instructions must lie in one page, uncompressed. */
__attribute__((noinline, aligned(16))) static int host(int operation, const void *argument) {
    register int a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n .option norvc\n .balign 16\n slli x0, x0, 0x1f\n ebreak\n srai x0, x0, 7\n .option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

#include "bare.h"
#include "semihosting.h"

/* With `-icount` this register counts instructions, and nothing else. */
uint32_t board_clock(void) {
    uint32_t count;
    __asm__ volatile("csrr %0, minstret" : "=r"(count));
    return count;
}

__attribute__((used)) void board_main(void) {
    prepare_memory();
    board_exit(main());
}
