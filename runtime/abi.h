/* abi.h: what a compiled library and its caller agree on.
 *
 * A library compiled by treenail exports one `const struct tn_model`, named
 * NAME_model, plus plain functions named after the model. This file stands
 * alone (freestanding C99 or C++) and is copied whole into each generated
 * header, so a product needs that header and nothing else. Every name here
 * starts with tn_.
 *
 * Rows. A batch is `n_rows` rows of `n_elements` numbers, all f32 or all f64.
 * Element (r, c) is at rows[r * row_stride + c * column_stride]; strides count
 * elements. Row-major: (n_elements, 1); column-major: (1, n_rows). A missing
 * number is a NaN. A category is its index in `categories`, or the
 * framework's own code where the model carries no table.
 *
 * Outputs. Output `o` of row r starts at out + r * outputs[o].n_elements, in
 * units of outputs[o].dtype, densely packed.
 *
 * Memory. Nothing is allocated. `scratch` must hold scratch_bytes bytes,
 * aligned to TN_SCRATCH_ALIGN, and may be NULL when scratch_bytes is 0. It is
 * written, never kept. All functions are re-entrant.
 */
#ifndef TREENAIL_ABI_H
#define TREENAIL_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a struct below changes meaning; a loader refuses others. */
#define TN_ABI_VERSION 2u

#define TN_SCRATCH_ALIGN 64

/* What the predict functions return. */
enum tn_status {
    TN_OK = 0,
    TN_BAD_OUTPUT = 1,  /* no output has that index */
    TN_BAD_SCRATCH = 2, /* scratch is NULL or misaligned but is needed */
    TN_BAD_CPU = 3,     /* this CPU has no ISA level that the library holds */
    TN_BAD_STATE = 4    /* the state of a stream is NULL or misaligned */
};

enum tn_dtype { TN_F32 = 0, TN_F64 = 1, TN_I32 = 2 };

enum tn_column_kind { TN_NUMBER = 0, TN_CATEGORY = 1, TN_TENSOR = 2 };

/* One named input; it takes n_elements consecutive elements of a row. */
struct tn_column {
    const char *name;
    uint32_t kind;       /* enum tn_column_kind */
    uint32_t n_elements; /* 1 but for a tensor */
    uint32_t n_categories;
    const char *const *categories; /* n_categories names, or NULL */
};

/* One named result. */
struct tn_output {
    const char *name; /* "value", "raw", "probability", "class", "leaf" */
    uint32_t dtype;   /* enum tn_dtype */
    uint32_t n_elements;
    uint32_t n_labels;         /* of a class output, else 0 */
    const char *const *labels; /* n_labels names, or NULL */
    double max_ulp;            /* bound on the error, 0 for exact */
};

typedef int (*tn_predict_f32_fn)(uint32_t output, const float *rows,
                                 uint64_t n_rows, int64_t row_stride,
                                 int64_t column_stride, void *out,
                                 void *scratch);
typedef int (*tn_predict_f64_fn)(uint32_t output, const double *rows,
                                 uint64_t n_rows, int64_t row_stride,
                                 int64_t column_stride, void *out,
                                 void *scratch);

/* Everything there is to know of a compiled model. Read-only, static. */
struct tn_model {
    uint32_t abi_version; /* TN_ABI_VERSION when it was compiled */
    uint32_t struct_size; /* sizeof(struct tn_model), likewise */
    const char *name;     /* the prefix of the exported symbols */
    const char *compiler; /* "treenail 0.1.0" */
    const char *source_format;
    const char *source_sha256; /* of the model file; 64 hex digits */
    const char *target;        /* LLVM target triple */
    const char *strategy;      /* how a batch is computed, say "select" */
    const char *row_strategy;  /* how one row is computed, say "branch" */
    uint32_t n_elements;       /* numbers in a row */
    uint32_t n_columns;
    const struct tn_column *columns;
    uint32_t n_outputs;
    uint32_t n_isa;
    const struct tn_output *outputs;
    const char *const *isa; /* n_isa levels held, lowest first */
    uint64_t scratch_bytes; /* for predict_* and predict_one_* alike */
    uint64_t stack_bytes;   /* bound on the stack that a call takes */
    tn_predict_f32_fn predict_f32;
    tn_predict_f64_fn predict_f64;
    /* One row, contiguous; row_stride is not used. Lowest latency. */
    int (*predict_one_f32)(uint32_t output, const float *row, void *out,
                           void *scratch);
    int (*predict_one_f64)(uint32_t output, const double *row, void *out,
                           void *scratch);
    /* The index in `isa` that calls run at, or -1 when the CPU has none. */
    int (*isa_level)(void);
    /* Caps calls at isa[level], for tests and measuring; returns what
     * isa_level() then returns. */
    int (*isa_limit)(uint32_t level);
    /* Rows that the compiler's interpreter evaluated: row-major, of
     * golden_dtype, which is TN_F32 where the model reads no other numbers; for
     * output o, golden_out[o] holds n_golden * outputs[o].n_elements. */
    uint32_t n_golden;
    /* About what a row of a batch takes, in ns; 0 when that is not known. It is
     * for deciding whether a thread is worth its while. */
    uint32_t batch_ns;
    const void *golden_rows;
    const void *const *golden_out;
    uint32_t golden_dtype; /* TN_F32 or TN_F64 */
};

/* Bytes of one element of `dtype` (enum tn_dtype). */
static inline size_t tn_dtype_bytes(uint32_t dtype)
{
    return dtype == TN_F64 ? 8 : 4;
}

/* Number i of the golden rows, counted through all of them. */
static inline double tn_golden_number(const struct tn_model *model, size_t i)
{
    return model->golden_dtype == TN_F32
               ? ((const float *)model->golden_rows)[i]
               : ((const double *)model->golden_rows)[i];
}

/* Whether two elements have the same bits or are both NaN: which NaN an
 * operation makes is the machine's choice. */
static inline int tn_same_element(const unsigned char *a,
                                  const unsigned char *b, uint32_t dtype)
{
    uint64_t x = 0, y = 0;
    for (size_t i = tn_dtype_bytes(dtype); i-- > 0;) {
        x = x << 8 | a[i];
        y = y << 8 | b[i];
    }
    if (dtype == TN_F64)
        return x == y || (x << 1 > UINT64_C(0xffe0000000000000) &&
                          y << 1 > UINT64_C(0xffe0000000000000));
    if (dtype == TN_F32)
        return x == y || ((x & 0x7fffffff) > 0x7f800000 &&
                          (y & 0x7fffffff) > 0x7f800000);
    return x == y;
}

/* The golden rows from row `first` on: n of them as a batch, or one by itself.
 * They are predicted as what they are, f32 or f64. */
static inline int tn_predict_golden(const struct tn_model *model,
                                    uint32_t output, uint32_t first,
                                    uint32_t n, int one, void *out,
                                    void *scratch)
{
    const size_t width = model->n_elements, skip = first * width;
    const int64_t stride = (int64_t)width;
    if (model->golden_dtype == TN_F32) {
        const float *rows = (const float *)model->golden_rows + skip;
        return one ? model->predict_one_f32(output, rows, out, scratch)
                   : model->predict_f32(output, rows, n, stride, 1, out,
                                        scratch);
    }
    const double *rows = (const double *)model->golden_rows + skip;
    return one ? model->predict_one_f64(output, rows, out, scratch)
               : model->predict_f64(output, rows, n, stride, 1, out, scratch);
}

/* Checks the library on this CPU: predicts the golden rows as a batch and one
 * by one, and compares every bit (a NaN equals any NaN). `out` is room for
 * n_golden * outputs[output].n_elements elements; `scratch` as ever.
 * Returns -1 when all bits agree, else the first row that differs. */
static inline int64_t tn_selftest_output(const struct tn_model *model,
                                         uint32_t output, void *out,
                                         void *scratch)
{
    const struct tn_output *o = &model->outputs[output];
    const size_t size = tn_dtype_bytes(o->dtype);
    const size_t width = o->n_elements * size;
    const unsigned char *want =
        (const unsigned char *)model->golden_out[output];
    unsigned char *got = (unsigned char *)out;
    const uint32_t n = model->n_golden;
    for (int one = 0; one < 2; one++) {
        for (size_t i = 0; i < n * width; i++)
            got[i] = (unsigned char)~want[i];
        if (!one && tn_predict_golden(model, output, 0, n, 0, out, scratch))
            return 0;
        for (uint32_t r = 0; one && r < n; r++)
            if (tn_predict_golden(model, output, r, 1, 1, got + r * width,
                                  scratch))
                return r;
        for (size_t i = 0; i < n * width; i += size)
            if (!tn_same_element(got + i, want + i, o->dtype))
                return (int64_t)(i / width);
    }
    return -1;
}

#ifdef __cplusplus
}
#endif

#endif
