/* predictors.c: see predictors.h. Compiled code is loaded into this process
 * without a file; that files are the same code is what tests/artifact and the
 * transcripts of the command show. */
#include "conformance/predictors.h"

#include "backend/backend.h"
#include "cli/cli.h"
#include "ir/nets.h"
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

const struct predictor predictors[] = {
    {"interpreter", false, NULL, NULL, false},
    {"scheduled", true, NULL, NULL, false},
    {"winograd", true, NULL, NULL, true},
    {"select", true, "select", "branch", false},
    {"slice", true, "slice", "walk", false},
    {"oblivious", true, "oblivious", "branch", false},
    {"branch", true, "branch", "walk", false},
    {"walk", true, "walk", "branch", false},
    {"raw", true, "raw16", "raw8", false},
};
const int predictor_count = CLI_COUNT(predictors);

enum call { BATCH, THREADS, ONE_ROW, N_CALLS };

struct predictor_state {
    const struct ir_module *module;
    struct ir_module *own; /* what `module` then is; NULL: the caller's */
    const struct tn_model *model; /* NULL: the interpreter */
    struct be_jit *jit;
    void *scratch;
    int n_levels, level[16]; /* those that this CPU runs */
    char name[64];           /* of a way */
};

/* ------------------------------------------------------------- compile -- */

/* Code for CPUs that are not this one would only take time to compile. */
static const char *cpus_here(void)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("x86-64-v4"))
        return "x86-64-v2,x86-64-v3";
#endif
    return NULL;
}

/* The time step of the module, if it has one; NULL with a message when passes
 * fail on it. */
static bool find_stream(struct ir_module *module, struct ir_stream **stream,
                        struct ir_diag *diag)
{
    const struct pass_options passes = {0};
    struct ir_text why;
    ir_text_init(&why);
    *stream = pass_stream(module, &why);
    ir_text_release(&why);
    return !*stream || pass_stream_run(*stream, &passes, diag);
}

static bool load(struct predictor_state *s, const struct ir_module *module,
                 struct ir_diag *diag)
{
    struct be_options options = {.cpus = cpus_here(), .n_golden = 1};
    struct ir_module *source = ir_module_clone(s->module);
    struct ir_stream *stream = NULL;
    struct be_artifact *artifact = NULL;
    if (find_stream(source, &stream, diag)) {
        options.stream = stream;
        artifact = be_compile(s->module, module, &options, diag);
    }
    if (artifact)
        s->model = be_jit_load(artifact, &s->jit, diag);
    be_free(artifact);
    pass_stream_free(stream);
    ir_module_free(source);
    return s->model != NULL;
}

/* All convs that can, whether that is faster or not. Says whether any. */
static bool go_by_winograd(struct ir_module *module)
{
    bool any = false;
    for (int k = 0; k < module->n_ops; k++) {
        struct ir_op *op = module->ops[k];
        if (op->kind != IR_OP_conv || ir_winograd_obstacle(op))
            continue;
        struct ir_window window;
        int64_t tile[IR_MAX_SPACE];
        const int n = op->operand[0]->type.rank - 1;
        bool fits = true, moves = false;
        ir_window_view(op, &window);
        for (int i = 0; i < n; i++) {
            const int64_t taps = window.dim[IR_MAX_SPACE - n + i].kernel;
            tile[i] = taps == 1 ? 1 : (taps > 3 ? 7 : 5) - taps;
            fits = fits && taps <= 5;
            moves = moves || taps > 1;
        }
        if (fits && moves)
            ir_set_attr(module, op, ir_tensor_attr(
                "winograd", ir_tensor_copy(module, IR_I64, n, tile)));
        any = any || (fits && moves);
    }
    return any;
}

static bool compile(struct predictor_state *s, const struct predictor *p,
                    bool *absent, struct ir_diag *diag)
{
    const struct pass_options passes = {.strategy = p->strategy,
                                        .row_strategy = p->row_strategy};
    struct ir_module *module = ir_module_clone(s->module);
    bool good = pass_run_all(module, &passes, diag);
    *absent = !good && strstr(diag->message[0], "cannot be had");
    good = good && load(s, module, diag);
    ir_module_free(module);
    if (!good)
        return false;
    for (uint32_t i = 0; i < s->model->n_isa && i < 16; i++)
        if (s->model->isa_limit(i) == (int)i)
            s->level[s->n_levels++] = (int)i;
    s->scratch = rt_scratch_new(s->model);
    return true;
}

struct predictor_state *predictor_open(const struct predictor *predictor,
                                       const struct ir_module *module,
                                       bool *absent, struct ir_diag *diag)
{
    struct predictor_state *s = ir_realloc_array(NULL, 1, sizeof(*s));
    *s = (struct predictor_state){.module = module};
    *absent = false;
    if (predictor->winograd) {
        s->module = s->own = ir_module_clone(module);
        *absent = !go_by_winograd(s->own);
    }
    if (!*absent &&
        (!predictor->compiled || compile(s, predictor, absent, diag)))
        return s;
    predictor_close(s);
    return NULL;
}

void predictor_close(struct predictor_state *s)
{
    be_jit_free(s->jit);
    free(s->scratch);
    if (s->own)
        ir_module_free(s->own);
    free(s);
}

/* ------------------------------------------------------------- predict -- */

const char *predictor_way(const struct predictor_state *state, int way)
{
    static const char *const call[] = {"batch", "two threads", "one row"};
    struct predictor_state *s = (struct predictor_state *)state;
    if (!s->model)
        return way == 0 ? "" : NULL;
    if (way >= s->n_levels * N_CALLS)
        return NULL;
    snprintf(s->name, sizeof s->name, "%s, %s",
             s->model->isa[s->level[way / N_CALLS]], call[way % N_CALLS]);
    return s->name;
}

/* The library's output of that name; it may have dropped none. */
static uint32_t find_output(const struct predictor_state *s, int output)
{
    const char *name = s->module->outputs[output].name;
    uint32_t o = 0;
    while (o < s->model->n_outputs && strcmp(s->model->outputs[o].name, name))
        o++;
    return o;
}

static bool predict_one(const struct predictor_state *s, uint32_t o,
                        const struct ir_rows *rows, int64_t row, char *out)
{
    const struct tn_model *m = s->model;
    const size_t at = (size_t)(row * rows->row_stride);
    if (rows->dtype == IR_F32)
        return m->predict_one_f32(o, (const float *)rows->data + at, out,
                                  s->scratch) == TN_OK;
    return m->predict_one_f64(o, (const double *)rows->data + at, out,
                              s->scratch) == TN_OK;
}

static bool predict_rows(const struct predictor_state *s, uint32_t o,
                         const struct ir_rows *rows, void *out)
{
    const struct tn_output *output = &s->model->outputs[o];
    const size_t width = output->n_elements * tn_dtype_bytes(output->dtype);
    for (int64_t r = 0; r < rows->n_rows; r++)
        if (!predict_one(s, o, rows, r, (char *)out + (size_t)r * width))
            return false;
    return true;
}

bool predictor_predict(struct predictor_state *s, int way, int output,
                       const struct ir_rows *rows, void *out)
{
    if (!s->model) {
        ir_eval(s->module, output, rows, out);
        return true;
    }
    const uint32_t o = find_output(s, output);
    if (o == s->model->n_outputs)
        return false;
    s->model->isa_limit((uint32_t)s->level[way / N_CALLS]);
    if (way % N_CALLS == ONE_ROW)
        return predict_rows(s, o, rows, out);
    return rt_predict(s->model, o, rows->dtype == IR_F32 ? TN_F32 : TN_F64,
                      rows->data, (uint64_t)rows->n_rows, rows->row_stride,
                      rows->column_stride, out,
                      way % N_CALLS == THREADS ? 2 : 1) == TN_OK;
}

/* -------------------------------------------------------------- verify -- */

/* Half of the rows derived from the model, spread over all there are, half
 * drawn; in blocks, which the comparison cuts further. */
static bool compare_probe(struct cli_compare *c,
                          const struct tn_stream *stream, int64_t n,
                          struct ir_diag *diag)
{
    const int64_t width = ir_row_elements(c->module);
    struct ir_probe *probe = ir_probe_new(c->module, 1);
    const int64_t derived = ir_probe_count(probe);
    n = n < c->max_rows ? n : c->max_rows;
    double *rows =
        ir_realloc_array(NULL, (size_t)(n * width) + 1, sizeof *rows);
    for (int64_t i = 0; i < n; i++)
        ir_probe_row(probe, i % 2 ? derived + i : i * derived / n,
                     rows + i * width);
    cli_compare_rows(c, rows, n, "probe", 0);
    const bool good =
        !stream || cli_compare_steps(c, stream, rows, n < 32 ? n : 32, "probe",
                                     0, diag);
    free(rows);
    ir_probe_free(probe);
    return good;
}

int64_t predictor_verify(struct predictor_state *s, int64_t n,
                         struct ir_diag *diag)
{
    struct cli_compare c;
    if (!s->model)
        return 0;
    if (!cli_compare_init(&c, s->module, s->model, diag))
        return 1;
    const bool good = compare_probe(&c, be_jit_stream(s->jit), n, diag);
    if (c.first.length)
        ir_error(diag, ir_loc_file(NULL), "%s", c.first.data);
    const int64_t bits = c.n_bits + !good;
    cli_compare_release(&c);
    return bits;
}
