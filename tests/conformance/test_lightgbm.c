/* test_lightgbm.c: our answers against those that LightGBM gave, bit for bit.
 *
 *   test_lightgbm PREDICTOR RECORDINGS [SHARED_MODELS]
 *
 * Reads RECORDINGS/MANIFEST; record.py there says what the files hold. A
 * predictor of predictors.c answers every recording, in each of its ways; rows
 * of f32 are those whose numbers all are. A NaN equals any NaN: its sign and
 * payload are the processor's business.
 */
#include "conformance/predictors.h"
#include "frontend/frontend.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------- recordings -- */

struct recording {
    uint32_t n_rows, n_features, n_targets, n_trees;
    const double *rows;         /* [n_rows][n_features] */
    const float *narrow;        /* the same as f32, where they all are, */
    const uint32_t *narrow_row; /* and which rows those are */
    uint32_t n_narrow;
    const double *value, *raw;  /* [n_rows][n_targets] */
    const int32_t *leaf;        /* [n_rows][n_trees] */
    const int32_t *class;       /* [n_rows], -1: no classifier */
};

static bool parse_recording(const struct ir_file *file, struct recording *r)
{
    if (file->size < 24 || memcmp(file->data, "TNREC1\0", 8) != 0)
        return false;
    *r = (struct recording){0};
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

static bool is_narrow(const double *row, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!isnan(row[i]) && (double)(float)row[i] != row[i])
            return false;
    return true;
}

/* Finds the rows that f32 holds without loss. The arrays are in `arena`. */
static void find_narrow_rows(struct recording *r, struct ir_arena *arena)
{
    const size_t width = r->n_features;
    float *narrow = ir_alloc_array(arena, r->n_rows * width, sizeof *narrow);
    uint32_t *row = ir_alloc_array(arena, r->n_rows, sizeof *row);
    for (uint32_t i = 0; i < r->n_rows; i++) {
        const double *from = r->rows + i * width;
        if (!is_narrow(from, r->n_features))
            continue;
        for (size_t c = 0; c < width; c++)
            narrow[r->n_narrow * width + c] = (float)from[c];
        row[r->n_narrow++] = i;
    }
    r->narrow = narrow;
    r->narrow_row = row;
}

/* ------------------------------------------------------------- compare -- */

struct totals {
    int models, outputs, absent, failed;
    uint64_t rows, numbers, wrong_numbers, wrong_bits;
};

/* One output of one model, asked in one way. */
struct question {
    const char *model, *predictor, *way, *output;
    enum ir_dtype rows; /* f32 or f64 */
    bool is_real;       /* else i32 */
    const void *want;   /* [n_rows][width] */
    uint32_t width;
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

static double number_at(const void *array, bool is_real, size_t i)
{
    return is_real ? ((const double *)array)[i] : ((const int32_t *)array)[i];
}

static void print_difference(const struct question *q,
                             const struct recording *r, uint32_t row,
                             uint32_t i, double got, double want)
{
    printf("%s: %s%s%s, %s rows: %s[%u] of row %u is %.17g (%a), LightGBM "
           "gave %.17g (%a)\n  row:", q->model, q->predictor,
           *q->way ? ", " : "", q->way, ir_dtype_name(q->rows), q->output, i,
           row, got, got, want, want);
    for (uint32_t c = 0; c < r->n_features && c < 16; c++)
        printf(" %.17g", r->rows[(size_t)row * r->n_features + c]);
    printf("\n");
}

/* Compares all numbers that were got; says where the first difference is. */
static void compare(const struct question *q, const void *got,
                    const struct recording *r, struct totals *t)
{
    const uint32_t n = q->rows == IR_F32 ? r->n_narrow : r->n_rows;
    bool said = false;
    t->outputs++;
    t->numbers += (uint64_t)n * q->width;
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t row = q->rows == IR_F32 ? r->narrow_row[k] : k;
        for (uint32_t i = 0; i < q->width; i++) {
            const double a =
                number_at(got, q->is_real, (size_t)k * q->width + i);
            const double b =
                number_at(q->want, q->is_real, (size_t)row * q->width + i);
            if (same(a, b))
                continue;
            t->wrong_numbers++;
            t->wrong_bits += bits_between(a, b);
            if (!said)
                print_difference(q, r, row, i, a, b);
            said = true;
        }
    }
}

static bool type_fits(const struct ir_module *module, int output,
                      const struct question *q)
{
    const struct ir_type *type = &module->outputs[output].value->type;
    return type->dtype == (q->is_real ? IR_F64 : IR_I32) &&
           ir_type_volume(type) == q->width;
}

/* Asks in every way, for rows of each dtype. */
static void ask(struct question q, struct predictor_state *state, int output,
                const struct recording *r, struct totals *t)
{
    void *got = calloc((size_t)r->n_rows * q.width + 1, sizeof(double));
    if (!got)
        ir_out_of_memory();
    for (int way = 0; (q.way = predictor_way(state, way)); way++)
        for (int narrow = 0; narrow < 2; narrow++) {
            q.rows = narrow ? IR_F32 : IR_F64;
            const struct ir_rows rows = {
                .dtype = q.rows,
                .data = narrow ? (const void *)r->narrow : r->rows,
                .n_rows = narrow ? r->n_narrow : r->n_rows,
                .row_stride = r->n_features,
                .column_stride = 1};
            if (predictor_predict(state, way, output, &rows, got))
                compare(&q, got, r, t);
            else
                t->failed++;
        }
    free(got);
}

static void check_output(struct question q, struct predictor_state *state,
                         const struct ir_module *module,
                         const struct recording *r, struct totals *t)
{
    const int output = ir_find_output(module, q.output);
    if (output >= 0 && type_fits(module, output, &q)) {
        ask(q, state, output, r, t);
        return;
    }
    printf("%s: no output %s of %u numbers\n", q.model, q.output, q.width);
    t->failed++;
}

static void check_outputs(struct question q, struct predictor_state *state,
                          const struct ir_module *module,
                          const struct recording *r, struct totals *t)
{
    const bool classes = r->n_rows > 0 && r->class[0] >= 0;
    const struct {
        const char *output;
        bool is_real;
        const void *want;
        uint32_t width;
    } all[] = {
        {"value", true, r->value, r->n_targets},
        {"raw", true, r->raw, r->n_targets},
        {"leaf", false, r->leaf, r->n_trees},
        {"class", false, r->class, 1},
    };
    for (int i = 0; i < 3 + classes; i++) {
        q.output = all[i].output;
        q.is_real = all[i].is_real;
        q.want = all[i].want;
        q.width = all[i].width;
        check_output(q, state, module, r, t);
    }
    if (classes != (ir_find_output(module, "class") >= 0)) {
        printf("%s: output class where there should be none\n", q.model);
        t->failed++;
    }
}

/* Rows of each model that are compared with the interpreter alone. */
enum { verify_rows = 200 };

static void check_model(const struct predictor *p, struct ir_module *module,
                        const char *model, const struct recording *r,
                        struct totals *t)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    bool absent;
    struct predictor_state *state = predictor_open(p, module, &absent, &diag);
    if (state) {
        const struct question q = {.model = model, .predictor = p->name};
        t->models++;
        t->rows += r->n_rows;
        check_outputs(q, state, module, r, t);
        t->wrong_bits += (uint64_t)predictor_verify(state, verify_rows, &diag);
        t->failed += diag.n_messages > 0;
        predictor_close(state);
    } else {
        t->absent += absent;
        t->failed += !absent;
    }
    if (diag.n_messages && !absent) {
        printf("%s: %s:\n", model, p->name);
        ir_diag_print(&diag, stdout);
    }
    ir_diag_release(&diag);
}

/* ------------------------------------------------------------ manifest -- */

/* One run of this program. */
struct run {
    const struct predictor *predictor;
    const char *folder, *shared; /* shared: NULL when it is absent */
    int n_skipped;
    struct totals totals;
};

/* One line "name here|shared sha256". */
static void check_line(struct run *run, const char *name, const char *where,
                       const char *sha256)
{
    const bool here = strcmp(where, "here") == 0;
    char model_path[4096], recording_path[4096];
    if (!here && !run->shared) {
        run->n_skipped++;
        return;
    }
    snprintf(model_path, sizeof model_path, "%s/%s.txt",
             here ? run->folder : run->shared,
             here ? name : name + strlen("shared_"));
    snprintf(recording_path, sizeof recording_path, "%s/%s.rec", run->folder,
             name);
    struct ir_diag diag;
    struct ir_file file;
    struct recording r;
    ir_diag_init(&diag);
    struct ir_module *module = fe_import(model_path, &diag);
    if (!module || !ir_file_open(&file, recording_path, &diag)) {
        ir_diag_print(&diag, stdout);
        run->totals.failed++;
    } else {
        if (!parse_recording(&file, &r) ||
            strcmp(ir_get_fact(module, "source_sha256"), sha256) != 0) {
            printf("%s: the recording is damaged or of another model\n", name);
            run->totals.failed++;
        } else {
            find_narrow_rows(&r, &diag.arena);
            check_model(run->predictor, module, name, &r, &run->totals);
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

static const struct predictor *find_predictor(const char *name)
{
    for (int i = 0; i < predictor_count; i++)
        if (!strcmp(predictors[i].name, name))
            return &predictors[i];
    fprintf(stderr, "there is no predictor named %s\n", name);
    return NULL;
}

static bool report(const struct run *run)
{
    const struct totals *t = &run->totals;
    if (run->n_skipped)
        printf("skipped %d models: the shared folder is absent\n",
               run->n_skipped);
    printf("%s: %d models, %d that cannot be, %" PRIu64 " rows, %d answers, %"
           PRIu64 " numbers: %" PRIu64 " differ, in %" PRIu64 " bits\n",
           run->predictor->name, t->models, t->absent, t->rows, t->outputs,
           t->numbers, t->wrong_numbers, t->wrong_bits);
    return t->models > 0 && !t->failed && !t->wrong_bits;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: test_lightgbm PREDICTOR RECORDINGS "
                        "[SHARED_MODELS]\n");
        return 2;
    }
    struct run run = {
        .predictor = find_predictor(argv[1]),
        .folder = argv[2],
        .shared = argc > 3 && is_folder(argv[3]) ? argv[3] : NULL};
    FILE *manifest = run.predictor ? open_manifest(run.folder) : NULL;
    if (!manifest)
        return 2;
    char line[512], name[128], where[16], sha256[80];
    while (fgets(line, sizeof line, manifest)) {
        if (line[0] == '#')
            printf("recorded with %s", line + 2);
        else if (sscanf(line, "%127s %15s %79s", name, where, sha256) == 3)
            check_line(&run, name, where, sha256);
    }
    fclose(manifest);
    return report(&run) ? 0 : 1;
}
