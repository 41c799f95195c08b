/* stream_riders.c: a series as it comes in, one number a day, through a net
 * that remembers: after each day it says what the next one brings. No window of
 * past days is kept anywhere; the state is all that there is.
 *
 *     stream_riders riders.csv      its last column is the number of riders
 *
 * Prints how far off the forecasts were, beside "as a week before", and one for
 * the week after the last day, from a copy of the state. */
#include "riders.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if RIDERS_STEP_ELEMENTS != 1 || RIDERS_STEP_SCRATCH_BYTES != 0
#error "one number a day, and nothing that a step needs besides its state"
#endif

enum { week = 7, words = RIDERS_STATE_BYTES / 8 };

static void must(int status)
{
    if (status != TN_OK) {
        fprintf(stderr, "stream_riders: status %d\n", status);
        exit(1);
    }
}

/* Takes a day; returns what the next one is going to be. */
static float step(uint64_t *state, float riders)
{
    float next;
    must(riders_step_f32(RIDERS_OUTPUT_VALUE, state, &riders, &next, NULL));
    return next;
}

/* The first days once as a window, as the net was trained: the same bits. */
static int is_as_a_whole(const float *days, float after)
{
    float next;
    void *scratch = aligned_alloc(TN_SCRATCH_ALIGN, /* a multiple of that */
                                  (RIDERS_SCRATCH_BYTES / 64 + 1) * 64);
    must(riders_predict_one_f32(RIDERS_OUTPUT_VALUE, days, &next, scratch));
    free(scratch);
    return memcmp(&next, &after, sizeof(next)) == 0;
}

static void forecast_week(const uint64_t *state, float next)
{
    uint64_t copy[words];
    memcpy(copy, state, sizeof(copy));
    printf("the week after:");
    for (int i = 0; i < week; i++) {
        printf(" %.1f", (double)next);
        next = step(copy, next); /* taken as if it had come */
    }
    puts(" thousand");
}

static double seconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double nanoseconds_a_step(uint64_t *state)
{
    enum { n = 100000 };
    const double start = seconds();
    for (int i = 0; i < n; i++)
        step(state, (float)(i % 20));
    return (seconds() - start) * 1e9 / n;
}

int main(int argc, char **argv)
{
    static uint64_t state[words];
    float first[RIDERS_ELEMENTS], last_week[week] = {0}, next = 0;
    double off = 0, off_week = 0;
    char line[256];
    long n = 0, counted = 0;
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!file || !fgets(line, sizeof(line), file)) {
        fprintf(stderr, "usage: stream_riders FILE.csv\n");
        return 1;
    }
    riders_state_init(state);
    for (; fgets(line, sizeof(line), file); n++) {
        const char *comma = strrchr(line, ',');
        const float riders = strtof(comma ? comma + 1 : line, NULL);
        if (n >= RIDERS_ELEMENTS) { /* it has seen enough to say something */
            off += fabs((double)(next - riders));
            off_week += fabs((double)(last_week[n % week] - riders));
            counted++;
        }
        last_week[n % week] = riders;
        next = step(state, riders);
        if (n < RIDERS_ELEMENTS)
            first[n] = riders;
        if (n == RIDERS_ELEMENTS - 1 && !is_as_a_whole(first, next)) {
            fprintf(stderr, "stream_riders: steps differ from the whole\n");
            return 1;
        }
    }
    fclose(file);
    if (counted == 0)
        return 1;
    printf("%ld days: off by %.2f thousand riders; as a week before: %.2f\n",
           counted, off / (double)counted, off_week / (double)counted);
    forecast_week(state, next);
    printf("a step takes %.0f ns and a state of %d bytes\n",
           nanoseconds_a_step(state), RIDERS_STATE_BYTES);
    return off >= off_week; /* then it was not worth the while */
}
