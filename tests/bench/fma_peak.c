/* fma_peak.c: the most that a core can multiply and add, in f32: chains in
 * registers, more than the unit's latency needs, with nothing to load.
 * Compiled with -O3 -march=native.
 */
#include <time.h>

#if defined __AVX512F__
enum { BYTES = 64 };
#elif defined __AVX__
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
enum { CHAINS = 12, STEPS = 4096 };

typedef float vector __attribute__((vector_size(BYTES)));

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Sums stay near 2, so that none is slow for being denormal or infinite. */
static void run(vector *sums)
{
    vector half = {0}, one = {0};
    half += 0.5f;
    one += 1.0f;
    for (int step = 0; step < STEPS; step++)
        for (int c = 0; c < CHAINS; c++)
            sums[c] = sums[c] * half + one;
}

/* Floating-point operations a second, two a multiply-add, over so long. */
double fma_peak(double seconds)
{
    vector sums[CHAINS] = {0};
    double start = now(), spent = 0, runs = 0;
    for (; spent < seconds; spent = now() - start, runs++) {
        vector local[CHAINS];
        for (int c = 0; c < CHAINS; c++)
            local[c] = sums[c];
        run(local);
        for (int c = 0; c < CHAINS; c++)
            sums[c] = local[c];
    }
    volatile float kept = 0; /* so that the sums are computed */
    for (int c = 0; c < CHAINS; c++)
        kept = kept + sums[c][0];
    return runs * STEPS * CHAINS * (BYTES / sizeof(float)) * 2 / spent;
}
