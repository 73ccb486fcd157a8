/* What boards without an operating system share: memory as C wants it, and files of the computer that emulates the
 * board by semihosting; `host` is the board's way to ask for them. */
extern uint32_t board_data_from[], board_data[], board_data_end[], board_bss[], board_bss_end[], board_stack[];

/* The stack is painted before it is used; what is not of this colour at the end was used. */
#define UNUSED UINT32_C(0xa5c35a3c)
#define PAINTED UINT32_C(0x4000)

static inline __attribute__((always_inline)) uint32_t *lowest_stack(void) {
    const uintptr_t low = (uintptr_t)board_stack - PAINTED;
    return low < (uintptr_t)board_bss_end ? board_bss_end : (uint32_t *)low;
}

static inline __attribute__((always_inline)) uint32_t *stack_here(void) {
    return (uint32_t *)((uintptr_t)__builtin_frame_address(0) - 64);
}

static inline __attribute__((always_inline)) void prepare_memory(void) {
    const uint32_t *from = board_data_from;
    uint32_t *to;
    for (to = board_data; to < board_data_end; ++to) {
        *to = *from++;
    }
    for (to = board_bss; to < board_bss_end; ++to) {
        *to = 0;
    }
    for (to = lowest_stack(); to < stack_here(); ++to) {
        *to = UNUSED;
    }
}

uint32_t board_stack_bytes(void) {
    const uint32_t *word = lowest_stack();
    while (*word == UNUSED) {
        ++word;
    }
    return (uint32_t)((uintptr_t)board_stack - (uintptr_t)word);
}

static int files[3];

static int opened(const char *name, uintptr_t length, uintptr_t mode) {
    const uintptr_t arguments[3] = {(uintptr_t)name, mode, length};
    return host(0x01, arguments);
}

static void written(int file, const void *bytes, uint32_t count) {
    const uintptr_t arguments[3] = {(uintptr_t)file, (uintptr_t)bytes, count};
    if (host(0x05, arguments) != 0) {
        board_exit(98);
    }
}

void board_start(void) {
    files[0] = opened("inputs.bin", 10, 1);
    files[1] = opened("outputs.bin", 11, 5);
    files[2] = opened("report.bin", 10, 5);
}

int board_read(void *bytes, uint32_t count) {
    const uintptr_t arguments[3] = {(uintptr_t)files[0], (uintptr_t)bytes, count};
    return host(0x06, arguments) == 0;
}

void board_write(const void *bytes, uint32_t count) { written(files[1], bytes, count); }

void board_report(const void *bytes, uint32_t count) { written(files[2], bytes, count); }

void board_exit(int code) {
    const uintptr_t arguments[2] = {0x20026, (uintptr_t)code};
    int i;
    for (i = 0; i < 3; ++i) {
        const uintptr_t file = (uintptr_t)files[i];
        (void)host(0x02, &file);
    }
    (void)host(0x20, arguments);
    for (;;) {
    }
}
