/* What generated code needs of <math.h>, for processors that have no instruction for it, where there is no C library. */
#include <stdint.h>

float fmaf(float a, float b, float c);
float truncf(float x);
float floorf(float x);
float ceilf(float x);
float rintf(float x);

#if !defined(__arm__) /* there floats are for FPUs, which multiply and add in one instruction */
/* The product is exact in double precision. The sum is rounded to odd, so that rounding it again is rounding once. */
__attribute__((weak)) float fmaf(float a, float b, float c) {
    const double product = (double)a * (double)b;
    const double added = (double)c;
    const double sum = product + added;
    union {
        double number;
        uint64_t bits;
    } odd;
    const double other = sum - product;
    const double error = (product - (sum - other)) + (added - other);
    odd.number = sum;
    if (error == error && error != 0.0 && (odd.bits & 1u) == 0u) {
        odd.bits += (error > 0.0) == (sum > 0.0) ? UINT64_C(1) : UINT64_MAX;
    }
    return (float)odd.number;
}
#endif

static float with_sign_of(float x, float of) {
    union {
        float number;
        uint32_t bits;
    } one, two;
    one.number = x;
    two.number = of;
    one.bits = (one.bits & UINT32_C(0x7fffffff)) | (two.bits & UINT32_C(0x80000000));
    return one.number;
}

__attribute__((weak)) float truncf(float x) {
    if (!(x > -8388608.0f && x < 8388608.0f)) {
        return x;
    }
    return with_sign_of((float)(int32_t)x, x);
}

__attribute__((weak)) float floorf(float x) {
    const float whole = truncf(x);
    return whole > x ? whole - 1.0f : whole;
}

__attribute__((weak)) float ceilf(float x) {
    const float whole = truncf(x);
    return whole < x ? with_sign_of(whole + 1.0f, x) : whole;
}

/* Halves to even: adding 2^23 leaves no place for a fraction. */
__attribute__((weak)) float rintf(float x) {
    volatile float large = 8388608.0f;
    if (!(x > -8388608.0f && x < 8388608.0f)) {
        return x;
    }
    return with_sign_of(x < 0.0f ? (x - large) + large : (x + large) - large, x);
}
