"""What a NAME_train.c brings along: copies, packing, first weights, and the CRC-32 of Ethernet and zip."""

SUPPORT = """
static void copy_words(uint32_t to[], const uint32_t from[], uint32_t count) {
    uint32_t i;
    for (i = 0; i < count; ++i) {
        to[i] = from[i];
    }
}

/* The last plane of each group of hidden weights is their signs; of the last group of a row only `mask` exists. */
static void copy_signs(uint32_t to[], const uint32_t from[], uint32_t rows, uint32_t words, uint32_t planes,
                       uint32_t mask) {
    uint32_t row;
    uint32_t word;
    for (row = 0; row < rows; ++row) {
        for (word = 0; word < words; ++word) {
            from += planes;
            *to++ = word + 1u == words ? from[-1] & mask : from[-1];
        }
    }
}

/* Hidden weights 1 and -1: the last plane is the sign, and the others are its complement. */
static void spread_signs(uint32_t to[], const uint32_t from[], uint32_t count, uint32_t planes) {
    uint32_t i;
    uint32_t plane;
    for (i = 0; i < count; ++i) {
        for (plane = 1; plane < planes; ++plane) {
            *to++ = ~from[i];
        }
        *to++ = from[i];
    }
}

static uint32_t crc_byte(uint32_t crc, uint32_t byte) {
    static const uint32_t table[16] = {
        UINT32_C(0x00000000), UINT32_C(0x1db71064), UINT32_C(0x3b6e20c8), UINT32_C(0x26d930ac),
        UINT32_C(0x76dc4190), UINT32_C(0x6b6b51f4), UINT32_C(0x4db26158), UINT32_C(0x5005713c),
        UINT32_C(0xedb88320), UINT32_C(0xf00f9344), UINT32_C(0xd6d6a3e8), UINT32_C(0xcb61b38c),
        UINT32_C(0x9b64c2b0), UINT32_C(0x86d3d2d4), UINT32_C(0xa00ae278), UINT32_C(0xbdbdf21c)};
    crc ^= byte;
    crc = table[crc & 15u] ^ (crc >> 4);
    return table[crc & 15u] ^ (crc >> 4);
}

static uint32_t crc_bytes(uint32_t crc, const uint8_t bytes[], uint32_t count) {
    uint32_t i;
    for (i = 0; i < count; ++i) {
        crc = crc_byte(crc, bytes[i]);
    }
    return crc;
}

static uint32_t crc_planes(uint32_t crc, const uint32_t from[], uint32_t rows, uint32_t words, uint32_t planes,
                           uint32_t mask) {
    uint32_t row;
    uint32_t word;
    uint32_t plane;
    for (row = 0; row < rows; ++row) {
        for (word = 0; word < words; ++word) {
            for (plane = 0; plane < planes; ++plane) {
                const uint32_t value = word + 1u == words ? *from & mask : *from;
                crc = crc_byte(crc, value & 255u);
                crc = crc_byte(crc, (value >> 8) & 255u);
                crc = crc_byte(crc, (value >> 16) & 255u);
                crc = crc_byte(crc, value >> 24);
                ++from;
            }
        }
    }
    return crc;
}

static void put_word(uint8_t bytes[], uint32_t word) {
    bytes[0] = (uint8_t)(word & 255u);
    bytes[1] = (uint8_t)((word >> 8) & 255u);
    bytes[2] = (uint8_t)((word >> 16) & 255u);
    bytes[3] = (uint8_t)(word >> 24);
}

static uint32_t get_word(const uint8_t bytes[]) {
    return (uint32_t)bytes[0] | ((uint32_t)bytes[1] << 8) | ((uint32_t)bytes[2] << 16) | ((uint32_t)bytes[3] << 24);
}

static void put_words(uint8_t bytes[], const uint32_t words[], uint32_t count) {
    uint32_t i;
    for (i = 0; i < count; ++i) {
        put_word(bytes + 4u * i, words[i]);
    }
}

static void get_words(uint32_t words[], const uint8_t bytes[], uint32_t count) {
    uint32_t i;
    for (i = 0; i < count; ++i) {
        words[i] = get_word(bytes + 4u * i);
    }
}
"""

PACKING = """
/* Values 1 and -1 as bits, with a constant 1 behind each of `steps` lists where `bias` is 1. */
static void pack_bits(uint32_t bits[], const uint8_t values[], uint32_t steps, uint32_t width, uint32_t bias) {
    uint32_t number = 0;
    uint32_t step;
    uint32_t i;
    for (step = 0; step < steps; ++step) {
        for (i = 0; i < width + bias; ++i) {
            const uint32_t bit = i == width || *values == 1u ? 1u : 0u;
            if ((number & 31u) == 0u) {
                bits[number >> 5] = 0u;
            }
            bits[number >> 5] |= bit << (number & 31u);
            ++number;
            if (i < width) {
                ++values;
            }
        }
    }
}
"""

DRAWING = """
/* The first hidden weights, 2 c + 1: c is the sum of four random bytes, centred and made smaller. */
static void draw_hidden(uint32_t to[], uint64_t key, uint32_t rows, uint32_t width, uint32_t planes, uint32_t shift) {
    const uint32_t centre = (UINT32_C(1) << (planes - 1u)) - (128u >> shift);
    uint32_t row;
    uint32_t column;
    uint32_t plane;
    for (row = 0; row < rows; ++row) {
        for (column = 0; column < width; ++column) {
            uint64_t z;
            uint32_t word;
            uint32_t c;
            if ((column & 31u) == 0u) {
                for (plane = 0; plane < planes; ++plane) {
                    to[plane] = 0u;
                }
            }
            key += UINT64_C(0x9e3779b97f4a7c15);
            z = (key ^ (key >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
            z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
            word = (uint32_t)((z ^ (z >> 31)) & UINT64_C(0xffffffff));
            c = (word & 255u) + ((word >> 8) & 255u) + ((word >> 16) & 255u) + (word >> 24);
            c = (((c + 2u) >> 2) >> shift) + centre;
            for (plane = 0; plane < planes; ++plane) {
                to[plane] |= ((c >> plane) & 1u) << (column & 31u);
            }
            if ((column & 31u) == 31u || column + 1u == width) {
                to += planes;
            }
        }
    }
}
"""
