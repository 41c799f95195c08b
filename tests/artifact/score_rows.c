/* score_rows.c: answers rows with a linked model, in every way there is.
 *
 *     score_rows N_ROWS < rows > answers
 *
 * Rows are f64, dense; answers are each output of all rows, first for the rows
 * as they are, then for the rows rounded to f32 and given as f32. One by one,
 * by columns and in batches of odd sizes must answer the same bits; if not, it
 * exits with 3 after saying where. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include MODEL_HEADER

static const struct tn_model *const model = &MODEL;

static void *room(size_t size)
{
    void *p = aligned_alloc(TN_SCRATCH_ALIGN, size / TN_SCRATCH_ALIGN *
                            TN_SCRATCH_ALIGN + TN_SCRATCH_ALIGN);
    if (!p)
        exit(1);
    return p;
}

/* Rows of either type, row-major or column-major. */
struct rows {
    const void *data;
    int is_f32;
};

static int predict(uint32_t output, struct rows rows, uint64_t first,
                   uint64_t n, int64_t row_stride, int64_t column_stride,
                   void *out, void *scratch)
{
    const int64_t at = (int64_t)first * row_stride;
    return rows.is_f32
               ? model->predict_f32(output, (const float *)rows.data + at, n,
                                    row_stride, column_stride, out, scratch)
               : model->predict_f64(output, (const double *)rows.data + at, n,
                                    row_stride, column_stride, out, scratch);
}

static int predict_one(uint32_t output, struct rows rows, uint64_t row,
                       void *out, void *scratch)
{
    const size_t at = row * model->n_elements;
    return rows.is_f32
               ? model->predict_one_f32(
                     output, (const float *)rows.data + at, out, scratch)
               : model->predict_one_f64(
                     output, (const double *)rows.data + at, out, scratch);
}

static void same(const char *what, uint32_t output, const unsigned char *got,
                 const unsigned char *want, uint64_t n)
{
    const struct tn_output *o = &model->outputs[output];
    const size_t size = tn_dtype_bytes(o->dtype);
    for (size_t i = 0; i < n * o->n_elements; i++)
        if (!tn_same_element(got + i * size, want + i * size, o->dtype)) {
            fprintf(stderr, "%s: output %s: row %zu differs\n", what, o->name,
                    i / o->n_elements);
            exit(3);
        }
}

/* Copies a batch so that its columns are contiguous. */
static struct rows transpose(struct rows rows, uint64_t n)
{
    const size_t size = rows.is_f32 ? 4 : 8, m = model->n_elements;
    unsigned char *to = room(n * m * size);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < m; c++)
            memcpy(to + (c * n + r) * size,
                   (const unsigned char *)rows.data + (r * m + c) * size,
                   size);
    return (struct rows){to, rows.is_f32};
}

static void answer(struct rows rows, uint64_t n, void *scratch)
{
    const int64_t m = model->n_elements;
    const struct rows columns = transpose(rows, n);
    for (uint32_t o = 0; o < model->n_outputs; o++) {
        const size_t width = model->outputs[o].n_elements *
                             tn_dtype_bytes(model->outputs[o].dtype);
        unsigned char *want = room(n * width), *got = room(n * width);
        int status = predict(o, rows, 0, n, m, 1, want, scratch);
        status |= predict(o, columns, 0, n, 1, (int64_t)n, got, scratch);
        same("by columns", o, got, want, n);
        for (uint64_t r = 0; r < n; r++)
            status |= predict_one(o, rows, r, got + r * width, scratch);
        same("one by one", o, got, want, n);
        for (uint64_t r = 0, step = 1; r < n; r += step, step = step * 2 + 1) {
            step = step < n - r ? step : n - r;
            status |= predict(o, rows, r, step, m, 1, got + r * width,
                              scratch);
        }
        same("in odd batches", o, got, want, n);
        if (status != TN_OK || fwrite(want, width, n, stdout) != n)
            exit(1);
        free(want);
        free(got);
    }
    free((void *)columns.data);
}

int main(int argc, char **argv)
{
    const uint64_t n = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    const size_t count = n * model->n_elements;
    double *rows = room(count * sizeof(*rows));
    float *narrow = room(count * sizeof(*narrow));
    void *scratch = room(model->scratch_bytes);
    if (n == 0 || fread(rows, sizeof(*rows), count, stdin) != count)
        return 2;
    for (size_t i = 0; i < count; i++)
        narrow[i] = (float)rows[i];
    answer((struct rows){rows, 0}, n, scratch);
    answer((struct rows){narrow, 1}, n, scratch);
    free(rows);
    free(narrow);
    free(scratch);
    return 0;
}
