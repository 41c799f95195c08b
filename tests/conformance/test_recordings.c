/* test_recordings.c: our answers against those that a framework gave.
 *
 *   test_recordings PREDICTOR FOLDER [SHARED_MODELS]
 *
 * Reads FOLDER/MANIFEST; ../README.md says what the files hold. Of
 * $RECORDINGS_EACH models one is tried. A predictor of
 * predictors.c answers every recording, in each of its ways, for the rows as
 * they were recorded, and in the other dtype those rows that it holds without
 * loss. Every bit counts, but that a NaN equals any NaN (its sign and payload
 * are the processor's business), and where MANIFEST has a tolerance.
 */
#include "conformance/predictors.h"
#include "frontend/frontend.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------- recordings -- */

enum { max_outputs = 16, name_bytes = 16 };

struct answer {
    char name[name_bytes + 1];
    enum ir_dtype dtype; /* f32, f64 or i32 */
    uint32_t width;
    const uint8_t *data; /* [n_rows][width] */
    double tolerance;    /* relative to max(1, |theirs|); 0: every bit */
};

/* Rows in one dtype: all that were recorded, or those that fit. */
struct rows {
    enum ir_dtype dtype;
    void *data;       /* [n][n_elements] */
    uint32_t *number; /* [n]: which of the recording's rows it is */
    uint32_t n;
};

struct recording {
    uint32_t n_rows, n_elements, n_outputs, dtype;
    const uint8_t *data; /* of the rows */
    struct answer answer[max_outputs];
    struct rows rows[2]; /* as recorded, and in the other dtype */
};

static bool take(const uint8_t **at, const uint8_t *end, uint64_t n,
                 const uint8_t **data)
{
    if ((uint64_t)(end - *at) < n)
        return false;
    *data = *at;
    *at += n;
    return true;
}

static bool parse_answer(struct answer *a, uint32_t n_rows,
                         const uint8_t **at, const uint8_t *end)
{
    static const enum ir_dtype dtypes[] = {IR_F32, IR_F64, IR_I32};
    const uint8_t *head;
    uint32_t fields[2];
    if (!take(at, end, name_bytes + sizeof fields, &head))
        return false;
    memcpy(a->name, head, name_bytes);
    memcpy(fields, head + name_bytes, sizeof fields);
    if (fields[0] > 2)
        return false;
    a->dtype = dtypes[fields[0]];
    a->width = fields[1];
    return take(at, end,
                (uint64_t)n_rows * a->width * ir_dtype_bytes(a->dtype),
                &a->data);
}

static bool parse_recording(const struct ir_file *file, struct recording *r)
{
    const uint8_t *at = file->data, *end = file->data + file->size, *head;
    *r = (struct recording){0};
    if (!take(&at, end, 24, &head) || memcmp(head, "TNREC2\0", 8) != 0)
        return false;
    memcpy(r, head + 8, 16);
    if (r->n_outputs > max_outputs || r->dtype > 1 ||
        !take(&at, end, (uint64_t)r->n_rows * r->n_elements *
                            (r->dtype ? 8 : 4), &r->data))
        return false;
    for (uint32_t o = 0; o < r->n_outputs; o++)
        if (!parse_answer(&r->answer[o], r->n_rows, &at, end))
            return false;
    return at == end;
}

static double element(const void *data, enum ir_dtype dtype, size_t i)
{
    if (dtype == IR_I32) {
        int32_t v;
        memcpy(&v, (const uint8_t *)data + i * sizeof v, sizeof v);
        return v;
    }
    if (dtype == IR_F64) {
        double v;
        memcpy(&v, (const uint8_t *)data + i * sizeof v, sizeof v);
        return v;
    }
    float v;
    memcpy(&v, (const uint8_t *)data + i * sizeof v, sizeof v);
    return (double)v;
}

/* The recorded rows that `dtype` holds without loss. In `arena`. */
static void make_rows(struct recording *r, struct rows *rows,
                      enum ir_dtype dtype, struct ir_arena *arena)
{
    const enum ir_dtype from = r->dtype ? IR_F64 : IR_F32;
    const size_t width = r->n_elements, bytes = ir_dtype_bytes(dtype);
    *rows = (struct rows){
        dtype, ir_alloc_array(arena, r->n_rows * width, bytes),
        ir_alloc_array(arena, r->n_rows, sizeof *rows->number), 0};
    for (uint32_t i = 0; i < r->n_rows; i++) {
        bool fits = true;
        for (size_t c = 0; c < width; c++) {
            const double v = element(r->data, from, i * width + c);
            const float narrow = (float)v;
            fits = fits && (dtype == IR_F64 || isnan(v) || (double)narrow == v);
            memcpy((uint8_t *)rows->data + (rows->n * width + c) * bytes,
                   dtype == IR_F64 ? (const void *)&v : &narrow, bytes);
        }
        if (fits)
            rows->number[rows->n++] = i;
    }
}

/* ------------------------------------------------------------- compare -- */

struct totals {
    int models, outputs, absent, failed;
    uint64_t rows, numbers, wrong_numbers, wrong_bits;
};

/* One output of one model, asked in one way. */
struct question {
    const char *model, *predictor, *way;
    const struct answer *want;
    const struct rows *rows;
};

static bool same(const struct answer *want, double a, double b)
{
    if (memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)))
        return true;
    return want->tolerance > 0 &&
           fabs(a - b) <= want->tolerance * fmax(1, fabs(b));
}

static uint64_t bits_between(double a, double b)
{
    uint64_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return (uint64_t)__builtin_popcountll(x ^ y);
}

static void print_difference(const struct question *q,
                             const struct recording *r, uint32_t row,
                             uint32_t i, double got, double want)
{
    printf("%s: %s%s%s, %s rows: %s[%u] of row %u is %.17g (%a), recorded "
           "was %.17g (%a)\n  row:", q->model, q->predictor,
           *q->way ? ", " : "", q->way, ir_dtype_name(q->rows->dtype),
           q->want->name, i, row, got, got, want, want);
    for (uint32_t c = 0; c < r->n_elements && c < 16; c++)
        printf(" %.17g", element(r->data, r->dtype ? IR_F64 : IR_F32,
                                 (size_t)row * r->n_elements + c));
    printf("\n");
}

/* Compares all numbers that were got; says where the first difference is. */
static void compare(const struct question *q, const void *got,
                    const struct recording *r, struct totals *t)
{
    const struct answer *want = q->want;
    bool said = false;
    t->outputs++;
    t->numbers += (uint64_t)q->rows->n * want->width;
    for (uint32_t k = 0; k < q->rows->n; k++) {
        const uint32_t row = q->rows->number[k];
        for (uint32_t i = 0; i < want->width; i++) {
            const double a =
                element(got, want->dtype, (size_t)k * want->width + i);
            const double b =
                element(want->data, want->dtype,
                        (size_t)row * want->width + i);
            if (same(want, a, b))
                continue;
            t->wrong_numbers++;
            t->wrong_bits += bits_between(a, b);
            if (!said)
                print_difference(q, r, row, i, a, b);
            said = true;
        }
    }
}

/* Asks in every way, for rows of each dtype. */
static void ask(struct question q, struct predictor_state *state, int output,
                const struct recording *r, struct totals *t)
{
    void *got = ir_realloc_array(NULL, (size_t)r->n_rows * q.want->width + 1,
                                 sizeof(double));
    for (int way = 0; (q.way = predictor_way(state, way)); way++)
        for (int k = 0; k < 2; k++) {
            q.rows = &r->rows[k];
            const struct ir_rows rows = {
                .dtype = q.rows->dtype, .data = q.rows->data,
                .n_rows = q.rows->n, .row_stride = r->n_elements,
                .column_stride = 1};
            if (predictor_predict(state, way, output, &rows, got))
                compare(&q, got, r, t);
            else
                t->failed++;
        }
    free(got);
}

static void check_answer(struct question q, struct predictor_state *state,
                         const struct ir_module *module,
                         const struct recording *r, struct totals *t)
{
    const int output = ir_find_output(module, q.want->name);
    const struct ir_type *type =
        output < 0 ? NULL : &module->outputs[output].value->type;
    if (type && type->dtype == q.want->dtype &&
        ir_type_volume(type) == q.want->width &&
        ir_row_elements(module) == r->n_elements) {
        ask(q, state, output, r, t);
        return;
    }
    printf("%s: no output %s of %u %s for rows of %u\n", q.model,
           q.want->name, q.want->width, ir_dtype_name(q.want->dtype),
           r->n_elements);
    t->failed++;
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
        struct question q = {.model = model, .predictor = p->name};
        t->models++;
        t->rows += r->n_rows;
        for (uint32_t o = 0; o < r->n_outputs; o++) {
            q.want = &r->answer[o];
            check_answer(q, state, module, r, t);
        }
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
    long long each, at; /* models from one that is tried to the next; so far */
    struct totals totals;
};

/* Does what the words behind a line's digest say: OUTPUT=TOLERANCE, or
 * early_stop=N:MARGIN. False when that cannot be. */
static bool take_words(struct recording *r, struct ir_module *module,
                       char *words, struct ir_diag *diag)
{
    for (char *word = strtok(words, " \n"); word; word = strtok(NULL, " \n")) {
        char *value = strchr(word, '=');
        uint32_t o = 0;
        if (!value)
            return false;
        *value++ = 0;
        if (!strcmp(word, "early_stop")) {
            long long every;
            double margin;
            if (sscanf(value, "%lld:%lf", &every, &margin) != 2 ||
                !ir_stop_early(module, every, margin, diag))
                return false;
            continue;
        }
        while (o < r->n_outputs && strcmp(r->answer[o].name, word) != 0)
            o++;
        if (o == r->n_outputs ||
            !ir_parse_double(value, value + strlen(value),
                             &r->answer[o].tolerance))
            return false;
    }
    return true;
}

/* Of a model with an open dim of time. */
enum { recorded_steps = 8 };

static void check_files(struct run *run, const char *name, const char *model,
                        const char *recording, const char *sha256,
                        char *words)
{
    struct ir_diag diag;
    struct ir_file file;
    struct recording r;
    ir_diag_init(&diag);
    struct ir_module *module =
        fe_import_steps(model, -recorded_steps, &diag);
    if (!module || !ir_file_open(&file, recording, &diag)) {
        ir_diag_print(&diag, stdout);
        run->totals.failed++;
    } else {
        if (!parse_recording(&file, &r) ||
            !take_words(&r, module, words, &diag) ||
            strcmp(ir_get_fact(module, "source_sha256"), sha256) != 0) {
            printf("%s: the recording is damaged or of another model\n", name);
            run->totals.failed++;
        } else {
            for (uint32_t o = 0; o < r.n_outputs; o++)
                if (!strcmp(r.answer[o].name, "contribution"))
                    ir_add_contributions(module, &diag);
            make_rows(&r, &r.rows[0], r.dtype ? IR_F64 : IR_F32, &diag.arena);
            make_rows(&r, &r.rows[1], r.dtype ? IR_F32 : IR_F64, &diag.arena);
            check_model(run->predictor, module, name, &r, &run->totals);
        }
        ir_file_close(&file);
    }
    ir_module_free(module);
    ir_diag_release(&diag);
}

/* One line of MANIFEST: name, file, SHA-256 and more words. A file that starts
 * with an @ is in the folder of shared models. */
static void check_line(struct run *run, const char *line)
{
    char name[128], file[256], sha256[80], model[4096], recording[4096];
    char words[512];
    int rest = 0;
    if (sscanf(line, "%127s %255s %79s%n", name, file, sha256, &rest) != 3 ||
        run->at++ % run->each)
        return;
    const bool is_shared = file[0] == '@';
    if (is_shared && !run->shared) {
        run->n_skipped++;
        return;
    }
    snprintf(model, sizeof model, "%s/%s",
             is_shared ? run->shared : run->folder, file + is_shared);
    snprintf(recording, sizeof recording, "%s/%s.rec", run->folder, name);
    snprintf(words, sizeof words, "%s", line + rest);
    check_files(run, name, model, recording, sha256, words);
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
        fprintf(stderr, "usage: test_recordings PREDICTOR FOLDER "
                        "[SHARED_MODELS]\n");
        return 2;
    }
    struct run run = {
        .predictor = find_predictor(argv[1]),
        .folder = argv[2],
        .shared = argc > 3 && is_folder(argv[3]) ? argv[3] : NULL};
    const char *each = getenv("RECORDINGS_EACH");
    run.each = each && atoll(each) > 0 ? atoll(each) : 1;
    FILE *manifest = run.predictor ? open_manifest(run.folder) : NULL;
    if (!manifest)
        return 2;
    char line[1024];
    while (fgets(line, sizeof line, manifest)) {
        if (line[0] == '#')
            printf("recorded with %s", line + 2);
        else
            check_line(&run, line);
    }
    fclose(manifest);
    return report(&run) ? 0 : 1;
}
