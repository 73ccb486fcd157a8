/* What a program that runs a network needs of its board: inputs, a place for outputs, a clock, an end. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Fills `bytes` with the next input. 0 when there are no more. */
int board_read(void *bytes, uint32_t count);

/* Adds to the outputs. */
void board_write(const void *bytes, uint32_t count);

/* Adds to the report: what was counted. */
void board_report(const void *bytes, uint32_t count);

/* Ticks of the board's clock, which wrap. How many of them an instruction (or a cycle) takes is known to boards.py. */
uint32_t board_clock(void);

/* How much stack was used so far, main's included. */
uint32_t board_stack_bytes(void);

/* Ends the program; 0 says that it went well. */
void board_exit(int code);

/* Called once, before anything else. */
void board_start(void);

/* AVR sums up in 32 bits: its programs see few inputs. */
#if defined(__AVR__)
typedef uint32_t board_sum;
#else
typedef uint64_t board_sum;
#endif

/* Marks the begin and the end of a region; they do not nest. */
void board_enter(int region);
void board_leave(int region);

#endif
