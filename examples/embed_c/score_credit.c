/* score_credit.c: a compiled model in a product, whole.
 *
 *     score_credit ROWS.csv [SCORES.csv]
 *
 * Scores the rows of a CSV file, all at once and one by one, and says how fast
 * that was; with a column `default`, also how well. All that is known of the
 * model is in credit.h, which the compiler wrote; nothing is linked but the
 * model and the C library. The CSV reader is as small as an example's may be:
 * a header line, no quotes, at most 64 columns. */
#define _POSIX_C_SOURCE 200809L
#include "credit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_FIELDS = 64, MAX_LINE = 4096 };

struct data {
    size_t n_rows;
    float *rows;         /* [n_rows][CREDIT_ELEMENTS], as the model wants */
    unsigned char *bad; /* [n_rows]: whether `default` says yes */
    int has_target;        /* whether there is such a column */
};

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "score_credit: %s %s\n", what, which);
    exit(1);
}

static void *room(void *old, size_t n, size_t size)
{
    void *p = realloc(old, n * size + 1);
    if (!p)
        fail("out of memory", "");
    return p;
}

/* ------------------------------------------------------------------ rows -- */

/* Cuts a line at its commas. */
static int split(char *line, char *field[MAX_FIELDS])
{
    int n = 0;
    line[strcspn(line, "\r\n")] = '\0';
    for (char *end; n < MAX_FIELDS; line = end + 1) {
        field[n++] = line;
        end = line + strcspn(line, ",");
        if (!*end)
            break;
        *end = '\0';
    }
    return n;
}

static int find(char *const field[], int n, const char *name)
{
    while (--n >= 0 && strcmp(field[n], name) != 0)
        continue;
    return n;
}

/* A field as the model wants it: NaN when it is missing; the index of a
 * category, which is past the last one for a name that the model never saw. */
static float encode(const struct tn_column *column, const char *field)
{
    char *end;
    if (!*field)
        return NAN;
    if (column->kind == TN_CATEGORY) {
        uint32_t code = 0;
        while (code < column->n_categories &&
               strcmp(field, column->categories[code]) != 0)
            code++;
        return (float)code;
    }
    const float value = strtof(field, &end);
    if (*end)
        fail("no number:", field);
    return value;
}

static struct data read_rows(const char *path)
{
    struct data data = {0};
    char line[MAX_LINE], *field[MAX_FIELDS];
    int place[CREDIT_ELEMENTS]; /* in the file, of each of the model's */
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof(line), file))
        fail("cannot read", path);
    const int n_fields = split(line, field);
    for (int c = 0; c < CREDIT_ELEMENTS; c++) {
        place[c] = find(field, n_fields, credit_model.columns[c].name);
        if (place[c] < 0)
            fail("no column", credit_model.columns[c].name);
    }
    const int target = find(field, n_fields, "default");
    data.has_target = target >= 0;

    for (size_t full = 0; fgets(line, sizeof(line), file); data.n_rows++) {
        if (split(line, field) != n_fields)
            fail("a line of another length in", path);
        if (data.n_rows == full) {
            full = 2 * full + 1024;
            data.rows = room(data.rows, full * CREDIT_ELEMENTS, sizeof(float));
            data.bad = room(data.bad, full, 1);
        }
        float *row = data.rows + data.n_rows * CREDIT_ELEMENTS;
        for (int c = 0; c < CREDIT_ELEMENTS; c++)
            row[c] = encode(&credit_model.columns[c], field[place[c]]);
        data.bad[data.n_rows] =
            data.has_target && strcmp(field[target], "yes") == 0;
    }
    fclose(file);
    if (data.n_rows == 0)
        fail("no rows in", path);
    return data;
}

/* --------------------------------------------------------------- scoring -- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Room that the model asks for; none, when it asks for none. */
static void *scratch_room(void)
{
    void *scratch = NULL;
    if (CREDIT_SCRATCH_BYTES > 0 &&
        posix_memalign(&scratch, TN_SCRATCH_ALIGN, CREDIT_SCRATCH_BYTES) != 0)
        fail("out of memory", "");
    return scratch;
}

/* All rows in one call. */
static void score_batch(const struct data *data, double *score, void *scratch)
{
    if (credit_predict_f32(CREDIT_OUTPUT_PROBABILITY, data->rows, data->n_rows,
                           CREDIT_ELEMENTS, 1, score, scratch) != TN_OK)
        fail("this CPU is too old for", credit_model.name);
}

/* A call a row: what a server does that answers one request. */
static void score_one_by_one(const struct data *data, double *score,
                             void *scratch)
{
    for (size_t r = 0; r < data->n_rows; r++)
        credit_predict_one_f32(CREDIT_OUTPUT_PROBABILITY,
                               data->rows + r * CREDIT_ELEMENTS, score + r,
                               scratch);
}

/* Rows per second, from a quarter of a second of it. */
static double speed(void (*run)(const struct data *, double *, void *),
                    const struct data *data, double *score, void *scratch)
{
    const double start = seconds();
    double n = 0, taken = 0;
    while (taken < 0.25) {
        run(data, score, scratch);
        n += (double)data->n_rows;
        taken = seconds() - start;
    }
    return n / taken;
}

/* --------------------------------------------------------------- quality -- */

static double accuracy(const struct data *data, const double *score)
{
    size_t right = 0;
    for (size_t r = 0; r < data->n_rows; r++)
        right += (score[r] > 0.5) == data->bad[r];
    return (double)right / (double)data->n_rows;
}

/* How often a bad loan scores above a good one; ties count half. */
static double auc(const struct data *data, const double *score)
{
    double won = 0, pairs = 0;
    for (size_t a = 0; a < data->n_rows; a++)
        for (size_t b = 0; data->bad[a] && b < data->n_rows; b++)
            if (!data->bad[b]) {
                won += score[a] > score[b] ? 1 : score[a] == score[b] ? 0.5 : 0;
                pairs++;
            }
    return won / pairs;
}

static void write_scores(const char *path, const double *score, size_t n)
{
    FILE *file = fopen(path, "w");
    if (!file)
        fail("cannot write", path);
    fputs("probability\n", file);
    for (size_t r = 0; r < n; r++)
        fprintf(file, "%.17g\n", score[r]);
    if (fclose(file) != 0)
        fail("cannot write", path);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fputs("usage: score_credit ROWS.csv [SCORES.csv]\n", stderr);
        return 2;
    }
    const int level = credit_model.isa_level();
    printf("model        %s, by %s, %d columns, %d bytes of scratch\n",
           credit_model.name, credit_model.compiler, CREDIT_ELEMENTS,
           CREDIT_SCRATCH_BYTES);
    printf("source       sha256 %.16s...\n", credit_model.source_sha256);
    printf("runs at      %s\n",
           level < 0 ? "no level" : credit_model.isa[level]);

    const struct data data = read_rows(argv[1]);
    double *score = room(NULL, data.n_rows, sizeof(*score));
    double *again = room(NULL, data.n_rows, sizeof(*again));
    void *scratch = scratch_room();
    score_batch(&data, score, scratch);
    score_one_by_one(&data, again, scratch);
    if (memcmp(score, again, data.n_rows * sizeof(*score)) != 0)
        fail("a batch and its rows differ:", credit_model.name);

    printf("rows         %zu, the same bits as a batch and one by one\n",
           data.n_rows);
    if (data.has_target)
        printf("accuracy     %.4f\nAUC          %.4f\n",
               accuracy(&data, score), auc(&data, score));
    printf("batch        %.2f million rows a second\n",
           1e-6 * speed(score_batch, &data, score, scratch));
    printf("one by one   %.2f million rows a second\n",
           1e-6 * speed(score_one_by_one, &data, score, scratch));
    if (argc == 3)
        write_scores(argv[2], score, data.n_rows);
    free(scratch);
    free(again);
    free(score);
    free(data.bad);
    free(data.rows);
    return 0;
}
