/* Start-up code of an emulated AVR: inputs lie in flash, where `boards` has put them; outputs are written to the serial
 * port as lines of hexadecimal digits, `O` for outputs and `R` for the report. */
#include "board.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>

/* The last eight bytes of flash say where inputs are, and how many bytes. */
#define ABOUT_INPUTS ((uint32_t)FLASHEND + 1u - 8u)

extern uint8_t __bss_end;
static uint32_t taken;

#if FLASHEND > 0xffff
#define BYTE_AT(place) pgm_read_byte_far(place)
#define LONG_AT(place) pgm_read_dword_far(place)
#else
#define BYTE_AT(place) pgm_read_byte((uint16_t)(place))
#define LONG_AT(place) pgm_read_dword((uint16_t)(place))
#endif

int board_read(void *bytes, uint32_t count) {
    uint8_t *to = bytes;
    uint32_t from = LONG_AT(ABOUT_INPUTS) + taken;
    taken += count;
    if (taken > LONG_AT(ABOUT_INPUTS + 4u)) {
        return 0;
    }
    while (count-- != 0) {
        *to++ = BYTE_AT(from);
        ++from;
    }
    return 1;
}

static void put(uint8_t character) {
    while ((UCSR0A & (1 << UDRE0)) == 0) {
    }
    UDR0 = character;
}

static void put_digit(uint8_t digit) { put((uint8_t)(digit < 10 ? '0' + digit : 'a' - 10 + digit)); }

static void put_line(char kind, const void *bytes, uint32_t count) {
    const uint8_t *from = bytes;
    uint8_t column = 0;
    for (; count != 0; --count, ++from) {
        if (column == 0) {
            put('@');
            put((uint8_t)kind);
        }
        put_digit(*from >> 4);
        put_digit(*from & 15);
        if (++column == 32) {
            put('\n');
            column = 0;
        }
    }
    if (column != 0) {
        put('\n');
    }
}

void board_write(const void *bytes, uint32_t count) { put_line('O', bytes, count); }

void board_report(const void *bytes, uint32_t count) { put_line('R', bytes, count); }

/* The timer counts cycles; its overflows are counted by an interrupt that always takes as long: 24 cycles and a jump,
 * to which simavr 1.6 adds none for the response. */
#if defined(BOARD_COUNTED)
#define OVERFLOW_CYCLES 27u
static volatile uint16_t overflows;

ISR(TIMER1_OVF_vect, ISR_NAKED) {
    __asm__ volatile(
        "push r24\n in r24, __SREG__\n push r24\n lds r24, %0\n subi r24, 255\n sts %0, r24\n lds r24, %0+1\n"
        " sbci r24, 255\n sts %0+1, r24\n pop r24\n out __SREG__, r24\n pop r24\n reti" ::"i"(&overflows));
}

uint32_t board_clock(void) {
    uint16_t low;
    uint16_t high;
    cli();
    low = TCNT1;
    high = overflows;
    if ((TIFR1 & (1 << TOV1)) != 0 && low < 0x8000u) {
        ++high;
    }
    sei();
    return ((uint32_t)high << 16 | low) - high * (uint32_t)OVERFLOW_CYCLES;
}
#else
uint32_t board_clock(void) { return 0; }
#endif

void board_start(void) {
    UBRR0 = 0;
    UCSR0A = 1 << U2X0;
    UCSR0B = 1 << TXEN0;
#if defined(BOARD_COUNTED)
    TCCR1B = 1;
    TIMSK1 = 1 << TOIE1;
    sei();
#endif
}

/* Before main, when nothing is on the stack: fills it with a colour. */
void board_paint(void) __attribute__((naked, used, section(".init3")));
void board_paint(void) {
    __asm__ volatile(
        "ldi r30, lo8(__bss_end)\n ldi r31, hi8(__bss_end)\n ldi r24, 0xc5\n ldi r25, hi8(%0)\n"
        "1: st Z+, r24\n cpi r30, lo8(%0)\n cpc r31, r25\n brlo 1b" ::"i"(RAMEND));
}

uint32_t board_stack_bytes(void) {
    const uint8_t *place = &__bss_end;
    while (*place == 0xc5) {
        ++place;
    }
    return RAMEND + 1u - (uint16_t)place;
}

void board_exit(int code) {
    const uint8_t result = (uint8_t)code;
    put_line('X', &result, 1);
    while ((UCSR0A & (1 << TXC0)) == 0) {
    }
    cli();
    sleep_enable();
    sleep_cpu();
    for (;;) {
    }
}
