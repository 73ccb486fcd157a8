/* For compilers without a C library. */
#ifndef BOARD_STRING_H
#define BOARD_STRING_H
#include <stddef.h>
void *memcpy(void *restrict target, const void *restrict source, size_t count);
void *memmove(void *target, const void *source, size_t count);
void *memset(void *target, int value, size_t count);
#endif
