// What each thread of a kernel has: its share of the work, and the arithmetic of whoever called.
#pragma once
#include <omp.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

// The control word of a thread's floating point, where "subnormal numbers are zero" is written.
#if defined(__SSE2__)
typedef unsigned Mode;
static inline Mode mode() { return _mm_getcsr() & ~0x3Fu; }  // less the flags of what happened so far
static inline void set_mode(Mode m) { _mm_setcsr(m); }
#elif defined(__aarch64__)
typedef unsigned long Mode;
static inline Mode mode() { Mode m; asm volatile("mrs %0, fpcr" : "=r"(m)); return m; }
static inline void set_mode(Mode m) { asm volatile("msr fpcr, %0" : : "r"(m)); }
#else
typedef int Mode;
static inline Mode mode() { return 0; }
static inline void set_mode(Mode) {}
#endif

// A thread of OpenMP's has the mode of whoever first needed it. In here it has the caller's, and its own again after.
struct CallersMode {
    const Mode before;
    explicit CallersMode(Mode callers) : before(mode()) { set_mode(callers); }
    ~CallersMode() { set_mode(before); }
};

// The part of 0 .. n that is this thread's: [first, last).
struct Share {
    long first, last;
    explicit Share(long n)
        : first(n * omp_get_thread_num() / omp_get_num_threads()), last(n * (omp_get_thread_num() + 1) / omp_get_num_threads()) {}
};
