/* Sums up the ticks of regions. BOARD_REGIONS is how many there are; one more holds what marking itself takes. */
#include "board.h"

static board_sum ticks[BOARD_REGIONS + 1];
static uint32_t calls[BOARD_REGIONS + 1];
static uint32_t entered;

void board_calibrate(void);
void board_counts(void);

__attribute__((noinline)) void board_enter(int region) {
    (void)region;
    entered = board_clock();
}

__attribute__((noinline)) void board_leave(int region) {
    const uint32_t passed = board_clock() - entered;
    ticks[region] += passed;
    ++calls[region];
}

__attribute__((noinline)) void board_calibrate(void) {
    board_enter(BOARD_REGIONS);
    board_leave(BOARD_REGIONS);
}

void board_counts(void) {
    board_report(ticks, (uint32_t)sizeof ticks);
    board_report(calls, (uint32_t)sizeof calls);
}
