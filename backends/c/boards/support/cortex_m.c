/* Start-up code of an emulated Cortex-M, which reads and writes files by semihosting.
 * BOARD_CLOCK_*: which timer counts; with `-icount` QEMU's timers advance by a fixed time an instruction. */
#include "board.h"

int main(void);
void board_reset(void);
void board_fault(void);
void board_main(void);

static int host(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

#include "bare.h"
#include "semihosting.h"

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(void *)board_stack, board_reset, board_fault, board_fault, board_fault, board_fault, board_fault,
    board_fault, 0, 0, 0, board_fault, board_fault, 0, board_fault, board_fault,
};

/* The FPU and vectors must be on before any compiled code: compilers copy memory with them. */
__attribute__((naked, used)) void board_reset(void) {
#if __ARM_ARCH >= 7 && !defined(__ARM_ARCH_6M__)
    __asm__ volatile(
        "ldr r0, =0xe000ed88\n ldr r1, [r0]\n ldr r2, =0x00f00000\n orrs r1, r2\n str r1, [r0]\n"
        "ldr r0, =0xe000ed14\n ldr r1, [r0]\n ldr r2, =0x00080000\n orrs r1, r2\n str r1, [r0]\n dsb\n isb\n"
        "b board_main\n .ltorg");
#else
    __asm__ volatile("ldr r0, =board_main\n bx r0\n .ltorg");
#endif
}

void board_fault(void) { board_exit(99); }

#if defined(BOARD_CLOCK_CMSDK) /* a timer of 25 or 20 MHz that counts down */
#define TIMER ((volatile uint32_t *)(BOARD_CLOCK_CMSDK))
static void start_clock(void) {
    TIMER[0] = 0;
    TIMER[2] = UINT32_C(0xffffffff);
    TIMER[1] = UINT32_C(0xffffffff);
    TIMER[0] = 1;
}
uint32_t board_clock(void) { return ~TIMER[1]; }
#elif defined(BOARD_CLOCK_NRF51) /* TIMER0, 32 bits at 16 MHz */
#define TIMER(offset) (*(volatile uint32_t *)(UINT32_C(0x40008000) + (offset)))
static void start_clock(void) {
    TIMER(0x508) = 3;
    TIMER(0x510) = 0;
    TIMER(0x504) = 0;
    TIMER(0) = 1;
}
uint32_t board_clock(void) {
    TIMER(0x40) = 1;
    return TIMER(0x540);
}
#elif defined(BOARD_CLOCK_SSE) /* the system counter of an SSE-300, 32 MHz */
#define COUNTER ((volatile uint32_t *)UINT32_C(0x58100000))
static void start_clock(void) { COUNTER[0] = 1; }
uint32_t board_clock(void) { return COUNTER[2]; }
#else /* the emulator counts, and is asked */
static void start_clock(void) {}
__attribute__((noinline)) uint32_t board_clock(void) {
    uint32_t elapsed[2];
    (void)host(0x30, elapsed);
    return elapsed[0];
}
#endif

__attribute__((used)) void board_main(void) {
    prepare_memory();
    start_clock();
    board_exit(main());
}
