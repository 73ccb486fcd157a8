/* The functions that compilers call without being asked, where there is no C library. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Keeps compilers from making these loops calls of themselves. */
#define ONE_BY_ONE __asm__ volatile("" ::: "memory")

static int aligned(const void *place) { return ((uintptr_t)place & 3u) == 0; }

void *memcpy(void *restrict target, const void *restrict source, size_t count) {
    unsigned char *to = target;
    const unsigned char *from = source;
    if (aligned(target) && aligned(source)) {
        for (; count >= 4; count -= 4, to += 4, from += 4) {
            *(uint32_t *)(void *)to = *(const uint32_t *)(const void *)from;
            ONE_BY_ONE;
        }
    }
    for (; count != 0; --count) {
        *to++ = *from++;
        ONE_BY_ONE;
    }
    return target;
}

void *memmove(void *target, const void *source, size_t count) {
    unsigned char *to = target;
    const unsigned char *from = source;
    if (to <= from) {
        return memcpy(target, source, count);
    }
    while (count-- != 0) {
        to[count] = from[count];
        ONE_BY_ONE;
    }
    return target;
}

void *memset(void *target, int value, size_t count) {
    unsigned char *to = target;
    if (aligned(target)) {
        const uint32_t word = (uint32_t)(unsigned char)value * UINT32_C(0x01010101);
        for (; count >= 4; count -= 4, to += 4) {
            *(uint32_t *)(void *)to = word;
            ONE_BY_ONE;
        }
    }
    for (; count != 0; --count) {
        *to++ = (unsigned char)value;
        ONE_BY_ONE;
    }
    return target;
}
