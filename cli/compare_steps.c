/* compare_steps.c: models that stream: the time step of a model, and compiled
 * steps against the interpreter, bit for bit.
 *
 * The interpreter evaluates whole sequences; the library takes them one step at
 * a time, then several at a time, from a state that starts anew for each row.
 * Memory around results, state and scratch is watched for stray writes. */
#include "cli/cli.h"

#include "passes/passes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool cli_no_step(const char *why, struct ir_diag *diag)
{
    return ir_error(diag, ir_loc_file(NULL),
                    "the model cannot be taken step by step: %s", why);
}

int cli_stream(struct ir_stream **stream, struct ir_module *source,
               const struct pass_options *passes, struct ir_diag *diag)
{
    struct ir_text why;
    ir_text_init(&why);
    *stream = pass_stream(source, &why);
    if (!*stream)
        cli_no_step(why.data, diag);
    ir_text_release(&why);
    if (!*stream)
        return CLI_BAD_USAGE;
    if (pass_stream_run(*stream, passes, diag))
        return CLI_OK;
    pass_stream_free(*stream);
    *stream = NULL;
    return CLI_BAD_INPUT;
}

/* -------------------------------------------------------------- comparing */

enum { GUARD = 64, GUARD_BYTE = 0x5a };

struct stepping {
    struct cli_compare *compare;
    const struct tn_stream *stream;
    int n_outputs;
    const int *output; /* of the module, by output of the library */
    const double *rows;
    int64_t n;
    const char *origin;
    int64_t number;
    int dtype; /* TN_F32 or TN_F64 */
    uint32_t o;
    int level;
    unsigned char *state, *scratch, *got, *want;
    void *row; /* a row's steps, each followed by a number that is none of it */
    void *start; /* its other numbers */
    bool stop; /* a difference was noted: one is enough of a row */
};

static const char *const mismatch =
    "the library's steps are not those of the model";

static bool same_shape(const struct cli_compare *c,
                       const struct tn_stream *stream)
{
    const uint64_t n = (uint64_t)stream->n_steps * stream->n_elements;
    if (stream->n_elements !=
            (uint64_t)stream->row_outer * stream->row_inner ||
        stream->row_start + n > c->model->n_elements ||
        (stream->n_start && stream->n_start + n != c->model->n_elements))
        return false;
    for (uint32_t o = 0; o < c->model->n_outputs; o++) {
        const struct tn_step_output *s = &stream->outputs[o];
        if ((uint64_t)s->outer * s->inner * (s->n_steps ? s->n_steps : 1) !=
                c->model->outputs[o].n_elements ||
            (s->n_steps && s->first_step + s->n_steps != stream->n_steps))
            return false;
    }
    return true;
}

static void put(const struct stepping *s, void *to, int64_t i, double v)
{
    if (s->dtype == TN_F32)
        ((float *)to)[i] = (float)v;
    else
        ((double *)to)[i] = v;
}

static void lay_out(const struct stepping *s, int64_t r)
{
    const struct tn_stream *t = s->stream;
    const double *row =
        s->rows + r * (int64_t)s->compare->model->n_elements;
    for (uint64_t i = 0; i < t->n_start; i++)
        put(s, s->start, (int64_t)i, row[tn_start_index(t, i)]);
    row += t->row_start;
    for (uint32_t at = 0; at < t->n_steps; at++) {
        const int64_t to = (int64_t)at * (t->n_elements + 1);
        for (uint32_t o = 0; o < t->row_outer; o++)
            for (uint32_t i = 0; i < t->row_inner; i++)
                put(s, s->row, to + (int64_t)o * t->row_inner + i,
                    row[tn_step_index(t->n_steps, t->row_inner, o, at, i)]);
        put(s, s->row, to + t->n_elements, 0);
    }
}

static void note(struct stepping *s, int64_t r, uint32_t t, const char *what)
{
    struct cli_compare *c = s->compare;
    c->n_bits++;
    s->stop = true;
    if (!c->first.length)
        ir_text_printf(&c->first,
                       "output %s, level %s, %s step by step, %s row %" PRId64
                       ", step %u: %s", c->model->outputs[s->o].name,
                       c->model->isa[c->level[s->level]],
                       s->dtype == TN_F32 ? "f32" : "f64", s->origin,
                       s->number + r, t, what);
}

/* Looks at what step t of row r gave, at `got`. */
static void look_at(struct stepping *s, int64_t r, uint32_t t,
                    const unsigned char *got)
{
    const struct tn_step_output *p = &s->stream->outputs[s->o];
    const struct tn_output *o = &s->compare->model->outputs[s->o];
    const size_t size = tn_dtype_bytes(o->dtype);
    const unsigned char *want = s->want + (size_t)r * o->n_elements * size;
    if (t < p->first_step || (p->n_steps == 0 && t + 1 < s->stream->n_steps))
        return;
    for (uint32_t k = 0; k < p->outer; k++)
        for (uint32_t i = 0; i < p->inner; i++) {
            const size_t from = (size_t)k * p->inner + i;
            const size_t at =
                p->n_steps ? tn_step_index(p->n_steps, p->inner, k,
                                           t - p->first_step, i) : from;
            s->compare->n_numbers++;
            if (!s->stop && !tn_same_element(got + from * size,
                                             want + at * size, o->dtype))
                note(s, r, t, "the bits differ from the interpreter's");
        }
}

static int take_steps(const struct stepping *s, uint32_t first, uint32_t n,
                      bool one)
{
    const struct tn_stream *t = s->stream;
    const int64_t stride = t->n_elements + 1;
    const int64_t at = first * stride;
    if (s->dtype == TN_F32) {
        const float *row = (const float *)s->row + at;
        return one ? t->step_f32(s->o, s->state, row, s->got, s->scratch)
                   : t->steps_f32(s->o, s->state, row, n, stride, s->got,
                                  s->scratch);
    }
    const double *row = (const double *)s->row + at;
    return one ? t->step_f64(s->o, s->state, row, s->got, s->scratch)
               : t->steps_f64(s->o, s->state, row, n, stride, s->got,
                              s->scratch);
}

static int begin(const struct stepping *s)
{
    const struct tn_stream *t = s->stream;
    if (t->n_start)
        return s->dtype == TN_F32
                   ? t->state_start_f32(s->state, s->start, s->scratch)
                   : t->state_start_f64(s->state, s->start, s->scratch);
    t->state_init(s->state);
    return TN_OK;
}

static bool holds(const unsigned char *guard)
{
    for (int i = 0; i < GUARD; i++)
        if (guard[i] != GUARD_BYTE)
            return false;
    return true;
}

/* Row r in parts of 1, or of 1, 2, 3... steps. */
static void compare_row(struct stepping *s, int64_t r, bool one)
{
    const struct tn_stream *t = s->stream;
    const struct tn_step_output *p = &t->outputs[s->o];
    const size_t step = (size_t)p->outer * p->inner *
                        tn_dtype_bytes(s->compare->model->outputs[s->o].dtype);
    s->stop = false;
    if (begin(s) != TN_OK)
        note(s, r, 0, "the start failed");
    for (uint32_t at = 0, n = 1; at < t->n_steps && !s->stop; at += n, n++) {
        n = one ? 1 : n < t->n_steps - at ? n : t->n_steps - at;
        const size_t bytes = p->n_steps ? n * step : step;
        memset(s->got, GUARD_BYTE, bytes + GUARD);
        if (take_steps(s, at, n, one) != TN_OK)
            note(s, r, at, "the call failed");
        for (uint32_t i = 0; i < n && p->n_steps; i++)
            look_at(s, r, at + i, s->got + i * step);
        if (!p->n_steps)
            look_at(s, r, at + n - 1, s->got);
        if (!holds(s->got + bytes) || !holds(s->state + t->state_bytes) ||
            (s->scratch && !holds(s->scratch + t->scratch_bytes)))
            note(s, r, at, "wrote past the end of its memory");
    }
}

static void compare_output(struct stepping *s)
{
    struct cli_compare *c = s->compare;
    const struct ir_rows batch = {IR_F64, s->rows, s->n, c->model->n_elements,
                                  1};
    ir_eval(c->module, s->output[s->o], &batch, s->want);
    for (s->level = 0; s->level < c->n_levels; s->level++) {
        c->model->isa_limit((uint32_t)c->level[s->level]);
        for (int64_t r = 0; r < s->n; r++) {
            lay_out(s, r);
            compare_row(s, r, true);
            compare_row(s, r, false);
        }
    }
    c->model->isa_limit(c->model->n_isa - 1);
}

/* The rows as numbers of f32, for who reads them as such. */
static void narrow(double *rows, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        rows[i] = (float)rows[i];
}

static bool take_memory(struct stepping *s, double **copy,
                        struct ir_diag *diag)
{
    const struct tn_model *m = s->compare->model;
    const struct tn_stream *t = s->stream;
    uint64_t widest = 1;
    for (uint32_t o = 0; o < m->n_outputs; o++)
        if (m->outputs[o].n_elements > widest)
            widest = m->outputs[o].n_elements;
    s->state = cli_alloc(t->state_bytes + GUARD, 1, "states", diag);
    s->got = cli_alloc(widest * 8 + GUARD, 1, "results", diag);
    s->want = cli_alloc(widest * (uint64_t)s->n, 8, "results", diag);
    s->row = cli_alloc((uint64_t)t->n_steps * (t->n_elements + 1), 8, "rows",
                       diag);
    s->start = cli_alloc(t->n_start + 1, 8, "rows", diag);
    *copy = cli_alloc((uint64_t)s->n * m->n_elements, 8, "rows", diag);
    if (t->scratch_bytes)
        s->scratch = aligned_alloc(
            TN_SCRATCH_ALIGN, (t->scratch_bytes + GUARD + 63) / 64 * 64);
    if (s->scratch)
        memset(s->scratch + t->scratch_bytes, GUARD_BYTE, GUARD);
    if (s->state)
        memset(s->state + t->state_bytes, GUARD_BYTE, GUARD);
    return s->state && s->got && s->want && s->row && s->start && *copy &&
           (s->scratch || !t->scratch_bytes);
}

bool cli_compare_steps(struct cli_compare *c, const struct tn_stream *stream,
                       const double *rows, int64_t n, const char *origin,
                       int64_t number, struct ir_diag *diag)
{
    double *copy = NULL;
    struct stepping s = {.compare = c, .stream = stream, .n = n,
                         .output = cli_compare_outputs(c), .origin = origin,
                         .number = number};
    if (n == 0)
        return true;
    if (!same_shape(c, stream))
        return ir_error(diag, ir_loc_file(NULL), "%s", mismatch);
    const bool good = take_memory(&s, &copy, diag);
    if (good) {
        memcpy(copy, rows, (size_t)n * c->model->n_elements * 8);
        s.rows = copy;
        for (s.dtype = TN_F64; s.dtype >= TN_F32; s.dtype--) {
            if (s.dtype == TN_F32)
                narrow(copy, n * c->model->n_elements);
            for (s.o = 0; s.o < c->model->n_outputs; s.o++)
                compare_output(&s);
        }
    }
    free(copy);
    free(s.state);
    free(s.scratch);
    free(s.got);
    free(s.want);
    free(s.row);
    free(s.start);
    return good;
}
