/* abi_stream.h: what a library compiled with --streaming has besides (abi.h):
 * the model, one time step at a time.
 *
 * Such a library also exports one `const struct tn_stream`, named NAME_stream,
 * and functions named after the model. The generated header has a copy of this.
 *
 * A caller owns the state: state_bytes bytes at a multiple of 8, which
 * NAME_state_init() sets to before the first step. Each step reads and writes
 * it; between two steps it can be copied, kept and gone back to. It holds no
 * addresses. Two calls at once need two states. A state is its library's alone:
 * that it is another's, or too small, nobody can see.
 *
 * Start. Of a model that takes more than the sequence, such as what a recurrent
 * layer starts from or what is known of the whole, n_start is not 0:
 * NAME_state_start_f32() does what state_init() does and then has the state
 * start from these n_start numbers, those of a row that are no time steps, in
 * order. Without it they are all 0; only a sequence's length, of a model that
 * takes one, then has no end.
 *
 * Time steps. Of a row of the model, element (o, t, i) of row_outer x n_steps x
 * row_inner, from row_start on, belongs to time step t; a step's row is its
 * row_outer x row_inner numbers, end to end. n_steps is how many steps the
 * predict functions take; steps taken one by one have no end. Of a model that
 * goes in strides a step is NAME_STEP_FRAMES places along time, not one: these
 * are side by side in what is inner here.
 *
 * Outputs. An output with n_steps > 0 has numbers of its own for each step:
 * element (o, i) of step t is what the predict functions have at (o, t -
 * first_step, i); before first_step there is nothing to compare it with. One
 * with n_steps 0 is, after each step, that of a sequence which ends there.
 * first_step then is the first after which it is. All have the bits of the
 * whole.
 */
#ifndef TREENAIL_ABI_STREAM_H
#define TREENAIL_ABI_STREAM_H

#ifdef __cplusplus
extern "C" {
#endif

struct tn_step_output {
    uint32_t outer, inner; /* outer * inner elements a step */
    uint32_t n_steps;      /* that the predict functions give, or 0 */
    uint32_t first_step;
};

struct tn_stream {
    uint32_t struct_size; /* sizeof(struct tn_stream) when it was compiled */
    uint32_t n_steps;     /* in a row of the model */
    uint32_t n_elements;  /* in the row of a step */
    uint32_t row_start, row_outer, row_inner;
    uint64_t state_bytes;
    uint64_t scratch_bytes; /* of the functions here, as of those of tn_model */
    const struct tn_step_output *outputs; /* as tn_model's are numbered */
    void (*state_init)(void *state);
    /* One time step; its row is contiguous. Returns an enum tn_status. */
    int (*step_f32)(uint32_t output, void *state, const float *row, void *out,
                    void *scratch);
    int (*step_f64)(uint32_t output, void *state, const double *row, void *out,
                    void *scratch);
    /* So many, row_stride numbers apart. An output with n_steps > 0 goes to
     * `out` step by step, end to end; of others there is the last step's. */
    int (*steps_f32)(uint32_t output, void *state, const float *rows,
                     uint64_t n_steps, int64_t row_stride, void *out,
                     void *scratch);
    int (*steps_f64)(uint32_t output, void *state, const double *rows,
                     uint64_t n_steps, int64_t row_stride, void *out,
                     void *scratch);
    uint64_t n_start; /* numbers that a state can start from, or 0 */
    /* NULL when there are none. They return an enum tn_status. */
    int (*state_start_f32)(void *state, const float *start, void *scratch);
    int (*state_start_f64)(void *state, const double *start, void *scratch);
};

/* Where element (o, t, i) of [outer][n_steps][inner] is. */
static inline size_t tn_step_index(uint32_t n_steps, uint32_t inner, uint32_t o,
                                   uint32_t t, uint32_t i)
{
    return ((size_t)o * n_steps + t) * inner + i;
}

/* Number i of what a row starts a state from: where it is in the row. */
static inline size_t tn_start_index(const struct tn_stream *stream, uint64_t i)
{
    return (size_t)(i < stream->row_start
                        ? i
                        : i + (uint64_t)stream->n_steps * stream->n_elements);
}

/* Whether what a step gave, at `got`, is the golden row's. */
static inline int tn_selftest_step(const struct tn_model *model,
                                   const struct tn_stream *stream,
                                   uint32_t output, uint32_t row, uint32_t t,
                                   const unsigned char *got)
{
    const struct tn_step_output *s = &stream->outputs[output];
    const struct tn_output *o = &model->outputs[output];
    const size_t size = tn_dtype_bytes(o->dtype);
    const unsigned char *want =
        (const unsigned char *)model->golden_out[output] +
        row * (size_t)o->n_elements * size;
    if (t < s->first_step || (s->n_steps == 0 && t + 1 < stream->n_steps))
        return 1;
    for (uint32_t k = 0; k < s->outer; k++)
        for (uint32_t i = 0; i < s->inner; i++) {
            const size_t at =
                s->n_steps == 0 ? (size_t)k * s->inner + i
                                : tn_step_index(s->n_steps, s->inner, k,
                                                t - s->first_step, i);
            if (!tn_same_element(got + ((size_t)k * s->inner + i) * size,
                                 want + at * size, o->dtype))
                return 0;
        }
    return 1;
}

/* Checks the library on this CPU: takes the golden rows step by step and
 * compares every bit (a NaN equals any NaN). `state`, `scratch` as ever; `row`
 * is room for the row of a step and for n_start numbers, whichever are more,
 * `out` for an output's elements. Returns -1 when all bits agree, else the
 * first row that differs. */
static inline int64_t tn_selftest_steps(const struct tn_model *model,
                                        const struct tn_stream *stream,
                                        uint32_t output, void *state,
                                        double *row, void *out, void *scratch)
{
    for (uint32_t r = 0; r < model->n_golden; r++) {
        const size_t whole = (size_t)r * model->n_elements;
        for (uint64_t i = 0; i < stream->n_start; i++)
            row[i] = tn_golden_number(model,
                                      whole + tn_start_index(stream, i));
        if (stream->n_start == 0)
            stream->state_init(state);
        else if (stream->state_start_f64(state, row, scratch) != TN_OK)
            return r;
        for (uint32_t t = 0; t < stream->n_steps; t++) {
            for (uint32_t o = 0; o < stream->row_outer; o++)
                for (uint32_t i = 0; i < stream->row_inner; i++)
                    row[(size_t)o * stream->row_inner + i] = tn_golden_number(
                        model, whole + stream->row_start +
                                   tn_step_index(stream->n_steps,
                                                 stream->row_inner, o, t, i));
            if (stream->step_f64(output, state, row, out, scratch) != TN_OK ||
                !tn_selftest_step(model, stream, output, r, t,
                                  (const unsigned char *)out))
                return r;
        }
    }
    return -1;
}

#ifdef __cplusplus
}
#endif

#endif
