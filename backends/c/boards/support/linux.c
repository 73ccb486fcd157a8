/* A computer of another kind under an emulator that knows Linux: files by the calls of its kernel, without a library. */
#include "board.h"

int main(void);
void board_reset(void);

#if defined(__mips__)
enum { EXIT = 4001, READ = 4003, WRITE = 4004, OPEN = 4005, CREATE = 0x301 };

__asm__(
    ".text\n .globl board_reset\n .set noreorder\nboard_reset:\n lui $sp, %hi(board_stack_top)\n"
    " addiu $sp, $sp, %lo(board_stack_top)\n addiu $sp, $sp, -32\n lui $25, %hi(main)\n addiu $25, $25, %lo(main)\n"
    " jalr $25\n nop\n .set reorder\n");

static long kernel(long number, long a, long b, long c) {
    register long v0 __asm__("$2") = number;
    register long a0 __asm__("$4") = a;
    register long a1 __asm__("$5") = b;
    register long a2 __asm__("$6") = c;
    register long a3 __asm__("$7");
    __asm__ volatile("syscall" : "+r"(v0), "=r"(a3) : "r"(a0), "r"(a1), "r"(a2)
                     : "$1", "$3", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", "$24", "$25", "hi", "lo", "memory");
    return a3 != 0 ? -v0 : v0;
}
#elif defined(__powerpc__)
enum { EXIT = 1, READ = 3, WRITE = 4, OPEN = 5, CREATE = 0x241 };

__asm__(
    ".text\n .globl board_reset\nboard_reset:\n lis 1, board_stack_top@ha\n addi 1, 1, board_stack_top@l\n li 0, 0\n"
    " stwu 0, -64(1)\n bl main\n");

static long kernel(long number, long a, long b, long c) {
    register long r0 __asm__("r0") = number;
    register long r3 __asm__("r3") = a;
    register long r4 __asm__("r4") = b;
    register long r5 __asm__("r5") = c;
    __asm__ volatile("sc\n bns+ 1f\n neg 3, 3\n1:" : "+r"(r0), "+r"(r3), "+r"(r4), "+r"(r5)
                     :
                     : "r6", "r7", "r8", "r9", "r10", "r11", "r12", "cr0", "ctr", "memory");
    return r3;
}
#endif

__attribute__((aligned(16), used)) static uint32_t stack[1 << 16];
__asm__(".globl board_stack_top\n .set board_stack_top, stack + 0x40000\n");

static long files[3];

void board_start(void) {
    files[0] = kernel(OPEN, (long)"inputs.bin", 0, 0);
    files[1] = kernel(OPEN, (long)"outputs.bin", CREATE, 0644);
    files[2] = kernel(OPEN, (long)"report.bin", CREATE, 0644);
}

int board_read(void *bytes, uint32_t count) {
    char *to = bytes;
    while (count != 0) {
        const long got = kernel(READ, files[0], (long)to, (long)count);
        if (got <= 0) {
            return 0;
        }
        to += got;
        count -= (uint32_t)got;
    }
    return 1;
}

static void written(long file, const void *bytes, uint32_t count) {
    if (kernel(WRITE, file, (long)bytes, (long)count) != (long)count) {
        board_exit(98);
    }
}

void board_write(const void *bytes, uint32_t count) { written(files[1], bytes, count); }

void board_report(const void *bytes, uint32_t count) { written(files[2], bytes, count); }

uint32_t board_stack_bytes(void) { return 0; }

uint32_t board_clock(void) { return 0; }

void board_exit(int code) {
    for (;;) {
        (void)kernel(EXIT, code, 0, 0);
    }
}
