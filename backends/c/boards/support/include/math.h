/* For compilers without a C library: what an FPU does in one instruction. */
#ifndef BOARD_MATH_H
#define BOARD_MATH_H
#define INFINITY (__builtin_inff())
#define NAN (__builtin_nanf(""))
#define fmaf __builtin_fmaf
#define fabsf __builtin_fabsf
#define sqrtf __builtin_sqrtf
#define floorf __builtin_floorf
#define ceilf __builtin_ceilf
#define truncf __builtin_truncf
#define rintf __builtin_rintf
#endif
