/* What boards without an operating system share: memory as C wants it, and how much stack was used. */
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
