/* manager.c: the table of passes, running them, and checking what they did.
 *
 * --diff-each takes the answers of the module as it came, on rows of ir_probe
 * as f32 and as f64, and compares each pass's module with them bit for bit (a
 * NaN equals a NaN). Since a pass that agrees leaves the same answers, one set
 * of them serves the whole run, and the first pass that differs is the one to
 * blame. The cost is bounded by taking diff_rows rows spread over those that
 * ir_probe derives, fewer when a row is very wide.
 */
#include "passes/passes.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct pass pass_table[] = {
    {"canonicalise", "drop dead ops, give equal tests one form",
     pass_canonicalise},
    {"fold", "put preprocessing into the tests of the forest it feeds",
     pass_fold},
    {"prune", "drop branches that no row takes, merge equal leaves",
     pass_prune},
    {"bytes", "keep bytes through moves and pools", pass_bytes},
    {"kernelise", "turn model ops into kernel ops, fuse maps", pass_kernelise},
    {"channels_last", "turn images so that kernels have channels in lanes",
     pass_channels_last},
    {"fuse_epilogue", "put maps into the gemm or conv that they follow",
     pass_fuse_epilogue},
    {"phases", "turn transposed convolutions into ordinary ones", pass_phases},
    {"quantise", "replace thresholds and sets by small codes", pass_quantise},
    {"narrow_leaves", "store leaf values in the narrowest exact form",
     pass_narrow_leaves},
    {"schedule", "choose how each forest is computed", pass_schedule},
    {"tile", "choose how many rows go through a net together", pass_tile},
    {"plan_memory", "give buffers slots of the workspace",
     pass_plan_memory},
};
const int pass_count = sizeof(pass_table) / sizeof(pass_table[0]);

/* ---------------------------------------------------------------- names -- */

static const struct pass *find_pass(const char *name, size_t length)
{
    for (int i = 0; i < pass_count; i++)
        if (strlen(pass_table[i].name) == length &&
            memcmp(pass_table[i].name, name, length) == 0)
            return &pass_table[i];
    return NULL;
}

static bool unknown_pass(const char *name, size_t length,
                         struct ir_diag *diag)
{
    struct ir_text known;
    ir_text_init(&known);
    for (int i = 0; i < pass_count; i++)
        ir_text_printf(&known, "%s%s", i ? ", " : "", pass_table[i].name);
    ir_error(diag, ir_loc_file(NULL),
             "there is no pass named \"%.*s\" (there are: %s)",
             (int)(length < IR_MAX_NAME ? length : IR_MAX_NAME), name,
             known.data);
    ir_text_release(&known);
    return false;
}

/* Steps through names separated by commas; `*cursor` is NULL after the last. */
static const char *next_name(const char **cursor, size_t *length)
{
    const char *name = *cursor;
    const char *comma = strchr(name, ',');
    *length = comma ? (size_t)(comma - name) : strlen(name);
    *cursor = comma ? comma + 1 : NULL;
    return name;
}

static bool check_names(const char *names, struct ir_diag *diag)
{
    size_t length;
    for (const char *cursor = names; cursor;) {
        const char *name = next_name(&cursor, &length);
        if (!find_pass(name, length))
            return unknown_pass(name, length, diag);
    }
    return true;
}

static bool listed(const char *names, const char *wanted)
{
    size_t length;
    for (const char *cursor = names; cursor;) {
        const char *name = next_name(&cursor, &length);
        if (strlen(wanted) == length && memcmp(name, wanted, length) == 0)
            return true;
    }
    return false;
}

/* -------------------------------------------------------------- answers -- */

/* Numbers that one copy of the rows, or of an output's answers, may take. */
#define MAX_NUMBERS ((int64_t)1 << 24)
/* The steps of the interpreter for all of them. */
#define MAX_WORK ((int64_t)1 << 31)

/* The rows and what the module said of them before the first pass. */
struct answers {
    struct ir_arena arena;
    int64_t n_rows;
    int64_t *number;         /* of each row, as ir_probe counts them */
    struct ir_rows rows[2];  /* as f32, as f64 */
    int n_outputs;
    struct ir_type *type;    /* [n_outputs] */
    void **answer;           /* [2 * n_outputs] */
    void *after;             /* room for the answers to one output */
};

static int64_t choose_row_count(const struct ir_module *module,
                                const struct pass_options *options)
{
    int64_t widest = ir_row_elements(module);
    for (int i = 0; i < module->n_outputs; i++) {
        const int64_t n = ir_type_volume(&module->outputs[i].value->type);
        widest = n > widest ? n : widest;
    }
    const int64_t by_room = MAX_NUMBERS / (widest > 0 ? widest : 1);
    const int64_t by_work = MAX_WORK / (ir_module_work(module) + 1);
    const int64_t most = by_room < by_work ? by_room : by_work;
    const int64_t wanted = options->diff_rows > 0 ? options->diff_rows : 256;
    return wanted < most ? wanted : most > 0 ? most : 1;
}

/* All derived rows and as many drawn ones as there is room for; or, when the
 * derived ones are too many, one at random from each of n equal stretches, so
 * that no regularity of their order hides some of them. */
static int64_t choose_row(int64_t i, int64_t n, int64_t derived, uint64_t seed)
{
    if (derived <= n)
        return i;
    const int64_t from = (int64_t)((double)derived / (double)n * (double)i);
    const int64_t width = derived / n;
    const int64_t row = from + (int64_t)(ir_random(seed, (uint64_t)i) %
                                         (uint64_t)width);
    return row < derived ? row : derived - 1;
}

static void draw_rows(struct answers *a, const struct ir_module *module,
                      uint64_t seed)
{
    const int64_t width = ir_row_elements(module);
    const size_t n = (size_t)(a->n_rows * width);
    float *f32 = ir_alloc_array(&a->arena, n, sizeof(*f32));
    double *f64 = ir_alloc_array(&a->arena, n, sizeof(*f64));
    a->number = ir_alloc_array(&a->arena, (size_t)a->n_rows,
                               sizeof(*a->number));
    struct ir_probe *probe = pass_probe_new(module, seed);
    const int64_t derived = ir_probe_count(probe);
    for (int64_t r = 0; r < a->n_rows; r++) {
        a->number[r] = choose_row(r, a->n_rows, derived, seed);
        ir_probe_row(probe, a->number[r], f64 + r * width);
    }
    ir_probe_free(probe);
    for (size_t i = 0; i < n; i++)
        f32[i] = (float)f64[i];
    for (int k = 0; k < 2; k++)
        a->rows[k] = (struct ir_rows){
            .dtype = k ? IR_F64 : IR_F32,
            .data = k ? (void *)f64 : (void *)f32,
            .n_rows = a->n_rows, .row_stride = width, .column_stride = 1};
}

static void answers_init(struct answers *a, const struct ir_module *module,
                         const struct pass_options *options)
{
    *a = (struct answers){.n_outputs = module->n_outputs};
    ir_arena_init(&a->arena);
    a->n_rows = choose_row_count(module, options);
    draw_rows(a, module, options->seed);
    const size_t n = (size_t)a->n_outputs;
    a->type = ir_alloc_array(&a->arena, n, sizeof(*a->type));
    a->answer = ir_alloc_array(&a->arena, 2 * n, sizeof(*a->answer));
    size_t most = 0;
    for (int o = 0; o < a->n_outputs; o++) {
        a->type[o] = module->outputs[o].value->type;
        const size_t bytes = (size_t)(a->n_rows * ir_type_volume(&a->type[o])) *
                             ir_dtype_bytes(a->type[o].dtype);
        most = bytes > most ? bytes : most;
        for (int k = 0; k < 2; k++) {
            a->answer[2 * o + k] = ir_alloc(&a->arena, bytes);
            ir_eval(module, o, &a->rows[k], a->answer[2 * o + k]);
        }
    }
    a->after = ir_alloc(&a->arena, most);
}

/* ------------------------------------------------------------ comparing -- */

static bool same_number(const void *a, const void *b, enum ir_dtype dtype,
                        size_t i)
{
    const size_t bytes = ir_dtype_bytes(dtype);
    if (memcmp((const char *)a + i * bytes, (const char *)b + i * bytes,
               bytes) == 0)
        return true;
    return (dtype == IR_F32 || dtype == IR_F64) &&
           isnan(ir_real(a, dtype, i)) && isnan(ir_real(b, dtype, i));
}

static void append_number(struct ir_text *text, const void *array,
                          enum ir_dtype dtype, size_t i)
{
    switch (dtype) {
    case IR_F32: ir_text_float(text, ((const float *)array)[i]); break;
    case IR_F64: ir_text_double(text, ((const double *)array)[i]); break;
    case IR_U8: ir_text_printf(text, "%u", ((const uint8_t *)array)[i]); break;
    case IR_U16:
        ir_text_printf(text, "%u", ((const uint16_t *)array)[i]);
        break;
    case IR_U32:
        ir_text_printf(text, "%" PRIu32, ((const uint32_t *)array)[i]);
        break;
    case IR_I32:
        ir_text_printf(text, "%" PRId32, ((const int32_t *)array)[i]);
        break;
    default:
        ir_text_printf(text, "%" PRId64, ((const int64_t *)array)[i]);
        break;
    }
}

static bool report_difference(const struct answers *a, const char *pass,
                              const char *output, int o, int k, size_t i,
                              struct ir_diag *diag)
{
    const size_t width = (size_t)ir_type_volume(&a->type[o]);
    struct ir_text before, after;
    ir_text_init(&before);
    ir_text_init(&after);
    append_number(&before, a->answer[2 * o + k], a->type[o].dtype, i);
    append_number(&after, a->after, a->type[o].dtype, i);
    ir_error(diag, ir_loc_file(NULL),
             "pass %s changes output \"%s\" of probe row %" PRId64
             " as %s: element %zu was %s and is now %s",
             pass, output, a->number[i / width],
             ir_dtype_name(a->rows[k].dtype), i % width, before.data,
             after.data);
    ir_text_release(&before);
    ir_text_release(&after);
    return false;
}

static bool same_answers(const struct answers *a, const char *pass,
                         const struct ir_module *module, struct ir_diag *diag)
{
    if (module->n_outputs != a->n_outputs)
        return ir_error(diag, ir_loc_file(NULL),
                        "pass %s leaves %d outputs of %d", pass,
                        module->n_outputs, a->n_outputs);
    for (int o = 0; o < a->n_outputs; o++) {
        const struct ir_output *output = &module->outputs[o];
        if (!ir_type_equal(&a->type[o], &output->value->type))
            return ir_error(diag, ir_loc_file(NULL),
                            "pass %s changes the type of output \"%s\"", pass,
                            output->name);
        const size_t n = (size_t)(a->n_rows * ir_type_volume(&a->type[o]));
        for (int k = 0; k < 2; k++) {
            ir_eval(module, o, &a->rows[k], a->after);
            for (size_t i = 0; i < n; i++)
                if (!same_number(a->answer[2 * o + k], a->after,
                                 a->type[o].dtype, i))
                    return report_difference(a, pass, output->name, o, k, i,
                                             diag);
        }
    }
    return true;
}

/* -------------------------------------------------------------- running -- */

static void print_after(const struct ir_module *module, const struct pass *pass,
                        const struct pass_options *options)
{
    if (!options->print_after || (strcmp(options->print_after, "all") != 0 &&
                                  !listed(options->print_after, pass->name)))
        return;
    struct ir_text text;
    ir_text_init(&text);
    ir_text_printf(&text, "# after %s\n", pass->name);
    ir_print(module, &text);
    fwrite(text.data, 1, text.length, options->print_to);
    ir_text_release(&text);
}

/* Runs one pass. The module is printed before it is checked, so that what a
 * bad pass made of it can be read. */
static bool run_one(struct ir_module *module, const struct pass *pass,
                    const struct pass_options *options,
                    const struct answers *answers, struct ir_diag *diag)
{
    if (!pass->run(module, options, diag))
        return false;
    ir_renumber(module);
    print_after(module, pass, options);
    if (options->verify_each && !ir_verify(module, diag))
        return ir_error(diag, ir_loc_file(NULL),
                        "pass %s leaves a broken module", pass->name);
    return !answers || same_answers(answers, pass->name, module, diag);
}

bool pass_run(struct ir_module *module, int n,
              const struct pass *const *passes,
              const struct pass_options *options, struct ir_diag *diag)
{
    if (options->print_after && strcmp(options->print_after, "all") != 0 &&
        !check_names(options->print_after, diag))
        return false;
    struct answers answers;
    if (options->diff_each)
        answers_init(&answers, module, options);
    bool good = true;
    for (int i = 0; i < n && good; i++)
        good = run_one(module, passes[i], options,
                       options->diff_each ? &answers : NULL, diag);
    if (options->diff_each)
        ir_arena_release(&answers.arena);
    return good;
}

bool pass_run_all(struct ir_module *module, const struct pass_options *options,
                  struct ir_diag *diag)
{
    const struct pass *passes[sizeof(pass_table) / sizeof(pass_table[0])];
    for (int i = 0; i < pass_count; i++)
        passes[i] = &pass_table[i];
    return pass_run(module, pass_count, passes, options, diag);
}

bool pass_run_named(struct ir_module *module, const char *names,
                    const struct pass_options *options, struct ir_diag *diag)
{
    if (!check_names(names, diag))
        return false;
    int n = 0;
    const struct pass **passes = ir_realloc_array(NULL, strlen(names) + 1,
                                                  sizeof(*passes));
    size_t length;
    for (const char *cursor = names; cursor;) {
        const char *name = next_name(&cursor, &length);
        passes[n++] = find_pass(name, length);
    }
    const bool good = pass_run(module, n, passes, options, diag);
    free(passes);
    return good;
}
