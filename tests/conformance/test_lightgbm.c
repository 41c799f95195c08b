/* test_lightgbm.c: our answers against those that LightGBM gave, bit for bit.
 *
 *   test_lightgbm RECORDINGS [SHARED_MODELS]
 *
 * Reads RECORDINGS/MANIFEST; record.py there says what the files hold. A
 * predictor is a line in the table below: a way to get answers from a module.
 * Every one is run over every recording. A NaN equals any NaN: its sign and
 * payload are the processor's business.
 */
#include "frontend/frontend.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------- predictors -- */

/* All rows of one output, as ir_eval writes them. `open` may return NULL after
 * it said why. */
struct predictor {
    const char *name;
    void *(*open)(struct ir_module *module);
    bool (*predict)(void *state, int output, const double *rows,
                    int64_t n_rows, int64_t n_columns, void *out);
    void (*close)(void *state);
};

static void *open_interpreter(struct ir_module *module)
{
    return module;
}

static bool interpret(void *state, int output, const double *rows,
                      int64_t n_rows, int64_t n_columns, void *out)
{
    const struct ir_rows batch = {.dtype = IR_F64,
                                  .data = rows,
                                  .n_rows = n_rows,
                                  .row_stride = n_columns,
                                  .column_stride = 1};
    ir_eval(state, output, &batch, out);
    return true;
}

static void close_interpreter(void *state)
{
    (void)state;
}

static const struct predictor predictors[] = {
    {"interpreter", open_interpreter, interpret, close_interpreter},
};

/* ---------------------------------------------------------- recordings -- */

struct recording {
    uint32_t n_rows, n_features, n_targets, n_trees;
    const double *rows;         /* [n_rows][n_features] */
    const double *value, *raw;  /* [n_rows][n_targets] */
    const int32_t *leaf;        /* [n_rows][n_trees] */
    const int32_t *class;       /* [n_rows], -1: no classifier */
};

static bool parse_recording(const struct ir_file *file, struct recording *r)
{
    if (file->size < 24 || memcmp(file->data, "TNREC1\0", 8) != 0)
        return false;
    memcpy(r, file->data + 8, 16);
    const uint64_t doubles =
        (uint64_t)r->n_rows * (r->n_features + 2 * (uint64_t)r->n_targets);
    const uint64_t ints = (uint64_t)r->n_rows * (r->n_trees + (uint64_t)1);
    if (file->size != 24 + doubles * 8 + ints * 4)
        return false;
    r->rows = (const double *)(const void *)(file->data + 24);
    r->value = r->rows + (size_t)r->n_rows * r->n_features;
    r->raw = r->value + (size_t)r->n_rows * r->n_targets;
    r->leaf =
        (const int32_t *)(const void *)(r->raw +
                                        (size_t)r->n_rows * r->n_targets);
    r->class = r->leaf + (size_t)r->n_rows * r->n_trees;
    return true;
}

/* ------------------------------------------------------------- compare -- */

struct totals {
    int models, outputs, failed;
    uint64_t rows, numbers, wrong_numbers, wrong_bits;
};

static bool same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static uint64_t bits_between(double a, double b)
{
    uint64_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return (uint64_t)__builtin_popcountll(x ^ y);
}

/* Compares n numbers a row; says where the first difference is. */
static void compare(const char *model, const char *output, bool is_real,
                    const void *got, const void *want,
                    const struct recording *r, size_t width, struct totals *t)
{
    bool said = false;
    t->outputs++;
    for (size_t i = 0; i < r->n_rows * width; i++) {
        const double a =
            is_real ? ((const double *)got)[i] : ((const int32_t *)got)[i];
        const double b =
            is_real ? ((const double *)want)[i] : ((const int32_t *)want)[i];
        t->numbers++;
        if (same(a, b))
            continue;
        t->wrong_numbers++;
        t->wrong_bits += bits_between(a, b);
        if (said)
            continue;
        said = true;
        const size_t row = i / width;
        printf("%s: %s[%zu] of row %zu is %.17g (%a), LightGBM gave %.17g "
               "(%a)\n  row:", model, output, i % width, row, a, a, b, b);
        for (uint32_t c = 0; c < r->n_features && c < 16; c++)
            printf(" %.17g", r->rows[row * r->n_features + c]);
        printf("\n");
    }
}

static bool type_fits(const struct ir_module *module, int output,
                      enum ir_dtype dtype, uint32_t width)
{
    const struct ir_type *type = &module->outputs[output].value->type;
    return type->dtype == dtype && ir_type_volume(type) == width;
}

static void check_output(const struct predictor *p, void *state,
                         const struct ir_module *module, const char *model,
                         const char *name, enum ir_dtype dtype,
                         const void *want, uint32_t width,
                         const struct recording *r, struct totals *t)
{
    const int output = ir_find_output(module, name);
    if (output < 0 || !type_fits(module, output, dtype, width)) {
        printf("%s: no output %s of %u numbers\n", model, name, width);
        t->failed++;
        return;
    }
    void *got = calloc((size_t)r->n_rows * width + 1, sizeof(double));
    if (!got)
        ir_out_of_memory();
    if (p->predict(state, output, r->rows, r->n_rows, r->n_features, got))
        compare(model, name, dtype == IR_F64, got, want, r, width, t);
    else
        t->failed++;
    free(got);
}

static void check_model(const struct predictor *p, struct ir_module *module,
                        const char *model, const struct recording *r,
                        struct totals *t)
{
    void *state = p->open(module);
    if (!state) {
        t->failed++;
        return;
    }
    t->models++;
    t->rows += r->n_rows;
    check_output(p, state, module, model, "value", IR_F64, r->value,
                 r->n_targets, r, t);
    check_output(p, state, module, model, "raw", IR_F64, r->raw, r->n_targets,
                 r, t);
    check_output(p, state, module, model, "leaf", IR_I32, r->leaf, r->n_trees,
                 r, t);
    const bool classes = r->n_rows > 0 && r->class[0] >= 0;
    if (classes)
        check_output(p, state, module, model, "class", IR_I32, r->class, 1, r,
                     t);
    if (classes != (ir_find_output(module, "class") >= 0)) {
        printf("%s: output class where there should be none\n", model);
        t->failed++;
    }
    p->close(state);
}

/* ------------------------------------------------------------ manifest -- */

/* Runs every predictor over one line "name here|shared sha256". */
static void check_line(const char *folder, const char *shared,
                       const char *name, const char *where, const char *sha256,
                       struct totals *totals, int *n_skipped)
{
    const bool here = strcmp(where, "here") == 0;
    char model_path[4096], recording_path[4096];
    if (!here && !shared) {
        ++*n_skipped;
        return;
    }
    snprintf(model_path, sizeof model_path, "%s/%s.txt",
             here ? folder : shared, here ? name : name + strlen("shared_"));
    snprintf(recording_path, sizeof recording_path, "%s/%s.rec", folder, name);
    struct ir_diag diag;
    struct ir_file file;
    struct recording r;
    ir_diag_init(&diag);
    struct ir_module *module = fe_import(model_path, &diag);
    if (!module || !ir_file_open(&file, recording_path, &diag)) {
        ir_diag_print(&diag, stdout);
        totals[0].failed++;
    } else {
        if (!parse_recording(&file, &r) ||
            strcmp(ir_get_fact(module, "source_sha256"), sha256) != 0) {
            printf("%s: the recording is damaged or of another model\n", name);
            totals[0].failed++;
        } else {
            for (size_t i = 0; i < sizeof predictors / sizeof *predictors; i++)
                check_model(&predictors[i], module, name, &r, &totals[i]);
        }
        ir_file_close(&file);
    }
    ir_module_free(module);
    ir_diag_release(&diag);
}

static FILE *open_manifest(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/MANIFEST", folder);
    FILE *manifest = fopen(path, "r");
    if (!manifest)
        perror(path);
    return manifest;
}

static bool is_folder(const char *path)
{
    char inside[4096];
    snprintf(inside, sizeof inside, "%s/.", path);
    FILE *f = fopen(inside, "r");
    if (f)
        fclose(f);
    return f != NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: test_lightgbm RECORDINGS [SHARED_MODELS]\n");
        return 2;
    }
    const char *shared = argc > 2 && is_folder(argv[2]) ? argv[2] : NULL;
    FILE *manifest = open_manifest(argv[1]);
    if (!manifest)
        return 1;
    enum { N = sizeof predictors / sizeof *predictors };
    struct totals totals[N] = {{0}};
    char line[512], name[128], where[16], sha256[80];
    int n_skipped = 0;
    while (fgets(line, sizeof line, manifest)) {
        if (line[0] == '#')
            printf("recorded with %s", line + 2);
        else if (sscanf(line, "%127s %15s %79s", name, where, sha256) == 3)
            check_line(argv[1], shared, name, where, sha256, totals,
                       &n_skipped);
    }
    fclose(manifest);
    if (n_skipped)
        printf("skipped %d models: %s is absent\n", n_skipped,
               argc > 2 ? argv[2] : "the folder of shared models");
    bool ok = true;
    for (int i = 0; i < N; i++) {
        const struct totals *t = &totals[i];
        printf("%s: %d models, %" PRIu64 " rows, %d outputs, %" PRIu64
               " numbers: %" PRIu64 " differ, in %" PRIu64 " bits\n",
               predictors[i].name, t->models, t->rows, t->outputs, t->numbers,
               t->wrong_numbers, t->wrong_bits);
        ok = ok && t->models > 0 && !t->failed && !t->wrong_numbers;
    }
    return ok ? 0 : 1;
}
