/* steps.c: a library compiled with --streaming, MODEL_HEADER, tried at every
 * ISA level that this CPU has: its golden rows step by step; several steps a
 * call; a state that is copied and gone back to, or of other bits; and what it
 * refuses. Prints what went wrong and returns 1. */
#include MODEL_HEADER

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *room(uint64_t bytes)
{
    void *p = aligned_alloc(TN_SCRATCH_ALIGN, (bytes / 64 + 1) * 64);
    if (!p)
        abort();
    return memset(p, 0x5a, (bytes / 64 + 1) * 64);
}

static int wrong(const char *what, uint32_t output)
{
    printf("%s: output %u\n", what, output);
    return 1;
}

struct memory {
    void *state, *other, *scratch;
    float *rows;
    unsigned char *one, *many;
};

/* All steps of one row, one a call and in two calls with a copy of the state in
 * between. */
static int compare_calls(const struct tn_model *m, const struct tn_stream *s,
                         uint32_t o, struct memory *w)
{
    const struct tn_step_output *p = &s->outputs[o];
    const size_t step =
        (size_t)p->outer * p->inner * tn_dtype_bytes(m->outputs[o].dtype);
    const size_t moves = p->n_steps ? step : 0;
    const uint32_t n = s->n_steps, half = n / 2;
    s->state_init(w->state);
    for (uint32_t t = 0; t < n; t++)
        if (s->step_f32(o, w->state, w->rows + t * s->n_elements,
                        w->one + t * moves, w->scratch) != TN_OK)
            return wrong("a step failed", o);
    s->state_init(w->state);
    int bad = s->steps_f32(o, w->state, w->rows, half, s->n_elements, w->many,
                           w->scratch);
    memcpy(w->other, w->state, s->state_bytes);
    for (int twice = 0; twice < 2; twice++) {
        memcpy(w->state, w->other, s->state_bytes);
        bad = bad || s->steps_f32(o, w->state, w->rows + half * s->n_elements,
                                  n - half, s->n_elements,
                                  w->many + half * moves, w->scratch);
        if (bad || memcmp(w->one, w->many, moves ? n * moves : step))
            return wrong("several steps differ from one by one", o);
    }
    return 0;
}

static int try_output(const struct tn_model *m, const struct tn_stream *s,
                      uint32_t o, struct memory *w)
{
    double *row = room((s->n_elements + s->n_start) * 8);
    const int64_t differs =
        tn_selftest_steps(m, s, o, w->state, row, w->many, w->scratch);
    free(row);
    return differs >= 0 ? wrong("a golden row differs", o)
                        : compare_calls(m, s, o, w);
}

/* What cannot be started from is refused, and NULL where nothing can be. */
static int starts_wrongly(const struct tn_stream *s, struct memory *w)
{
    if (s->n_start == 0)
        return s->state_start_f32 != NULL || s->state_start_f64 != NULL;
    return s->state_start_f32(NULL, w->rows, w->scratch) != TN_BAD_STATE ||
           s->state_start_f32((char *)w->state + 4, w->rows, w->scratch) !=
               TN_BAD_STATE;
}

/* A state of any bits gives nothing that means something, but steps stay within
 * it: what is behind it is as room() left it. */
static int strays(const struct tn_model *m, const struct tn_stream *s,
                  struct memory *w)
{
    const size_t n = (size_t)s->state_bytes, rest = (n / 64 + 1) * 64 - n;
    unsigned char *state = w->state;
    int bad = 0;
    for (unsigned seed = 1; seed < 8; seed++) {
        unsigned random = seed;
        for (size_t i = 0; i < n; i++)
            state[i] = (unsigned char)(
                (random = random * 1664525 + 1013904223) >> 24);
        for (uint32_t t = 0; t < s->n_steps; t++)
            bad |= s->step_f32(t % m->n_outputs, state,
                               w->rows + t * s->n_elements, w->one,
                               w->scratch) != TN_OK;
        for (size_t i = 0; i < rest; i++)
            bad |= state[n + i] != 0x5a;
    }
    return bad;
}

static int refuses(const struct tn_stream *s, uint32_t n_outputs,
                   struct memory *w)
{
    char *state = w->state;
    return s->step_f32(0, NULL, w->rows, w->one, w->scratch) != TN_BAD_STATE ||
           s->step_f32(0, state + 4, w->rows, w->one, w->scratch) !=
               TN_BAD_STATE ||
           s->step_f32(n_outputs, state, w->rows, w->one, w->scratch) !=
               TN_BAD_OUTPUT ||
           (s->scratch_bytes &&
            s->step_f32(0, state, w->rows, w->one, NULL) != TN_BAD_SCRATCH);
}

int main(void)
{
    const struct tn_model *m = &MODEL(model);
    const struct tn_stream *s = &MODEL(stream);
    uint64_t widest = 8;
    for (uint32_t o = 0; o < m->n_outputs; o++) {
        const struct tn_step_output *p = &s->outputs[o];
        const uint64_t bytes = (uint64_t)p->outer * p->inner * s->n_steps * 8;
        widest = bytes > widest ? bytes : widest;
    }
    const size_t n = (size_t)s->n_steps * s->n_elements;
    struct memory w = {room(s->state_bytes), room(s->state_bytes),
                       room(s->scratch_bytes), room(n * 4), room(widest),
                       room(widest)};
    for (size_t i = 0; i < n; i++)
        w.rows[i] = (float)((int)(i * 37 % 101) - 50) / 64;
    int bad = s->struct_size != sizeof(*s) ||
              refuses(s, m->n_outputs, &w) || starts_wrongly(s, &w);
    if (bad)
        puts("bad arguments pass, or the struct differs");
    if (!bad && strays(m, s, &w))
        bad = wrong("a state of other bits leads astray", 0);
    for (uint32_t l = 0; l < m->n_isa && !bad; l++)
        if (m->isa_limit(l) == (int)l)
            for (uint32_t o = 0; o < m->n_outputs && !bad; o++)
                bad = try_output(m, s, o, &w);
    free(w.state);
    free(w.other);
    free(w.scratch);
    free(w.rows);
    free(w.one);
    free(w.many);
    return bad;
}
