/* Start-up code of an emulated Xtensa LX106 (QEMU's `sim`), which reads and writes files by `simcall`. */
#include "board.h"
#include "bare.h"

int main(void);
void board_main(void);

/* The processor starts here; its loads of constants reach backwards only. */
__asm__(
    ".section .vectors, \"ax\"\n .globl board_reset\nboard_reset:\n j board_begin\n .align 4\n"
    "board_words: .word board_stack, board_main\n"
    "board_begin:\n movi a0, 0\n l32r a1, board_words\n addi a1, a1, -16\n movi a2, 0\n wsr a2, ps\n rsync\n"
    " l32r a2, board_words + 4\n jx a2\n .text\n");

static int simulator(int operation, int first, const void *second, uint32_t third) {
    register int a2 __asm__("a2") = operation;
    register int a3 __asm__("a3") = first;
    register const void *a4 __asm__("a4") = second;
    register uint32_t a5 __asm__("a5") = third;
    __asm__ volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5) : "memory");
    return a2;
}

static int files[3];

static int opened(const char *name, uint32_t flags) {
    return simulator(5, (int)(uintptr_t)name, (const void *)(uintptr_t)flags, 0644);
}

void board_start(void) {
    files[0] = opened("inputs.bin", 0);
    files[1] = opened("outputs.bin", 0x241);
    files[2] = opened("report.bin", 0x241);
}

int board_read(void *bytes, uint32_t count) { return simulator(3, files[0], bytes, count) == (int)count; }

static void written(int file, const void *bytes, uint32_t count) {
    if (simulator(4, file, bytes, count) != (int)count) {
        board_exit(98);
    }
}

void board_write(const void *bytes, uint32_t count) { written(files[1], bytes, count); }

void board_report(const void *bytes, uint32_t count) { written(files[2], bytes, count); }

uint32_t board_clock(void) {
    uint32_t count;
    __asm__ volatile("rsr %0, ccount" : "=r"(count));
    return count;
}

void board_exit(int code) {
    (void)simulator(1, code, 0, 0);
    for (;;) {
    }
}

void board_main(void) {
    prepare_memory();
    board_exit(main());
}

/* The toolchain has these in the chip's own memory, where there is a chip. */
uint32_t __udivsi3(uint32_t a, uint32_t b);
uint32_t __umodsi3(uint32_t a, uint32_t b);
int32_t __divsi3(int32_t a, int32_t b);
int32_t __modsi3(int32_t a, int32_t b);

__attribute__((weak)) uint32_t __udivsi3(uint32_t a, uint32_t b) {
    uint32_t quotient = 0;
    uint32_t rest = 0;
    int bit;
    for (bit = 31; bit >= 0; --bit) {
        rest = (rest << 1) | ((a >> bit) & 1u);
        if (rest >= b) {
            rest -= b;
            quotient |= UINT32_C(1) << bit;
        }
    }
    return quotient;
}

__attribute__((weak)) uint32_t __umodsi3(uint32_t a, uint32_t b) { return a - b * __udivsi3(a, b); }

__attribute__((weak)) int32_t __divsi3(int32_t a, int32_t b) {
    const uint32_t whole = __udivsi3(a < 0 ? 0u - (uint32_t)a : (uint32_t)a, b < 0 ? 0u - (uint32_t)b : (uint32_t)b);
    return (int32_t)((a < 0) != (b < 0) ? 0u - whole : whole);
}

__attribute__((weak)) int32_t __modsi3(int32_t a, int32_t b) { return a - b * __divsi3(a, b); }
