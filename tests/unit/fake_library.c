/* fake_library.c: what a compiled library looks like to its host, by hand.
 *
 * Two columns, x and y. Output "value" is 2 * x + y as f64; "class" is the two
 * i32 (x > y, x < y). It wants scratch and refuses one that is not aligned.
 * With FAKE_STREAM_SIZE it also takes x and y for two time steps of one number;
 * what it then remembers of x is FAKE_SHARE of it.
 * Built with FAKE_... it is a library that a loader must refuse.
 */
#include "runtime/abi.h"
#include "runtime/abi_stream.h"

#include <stdatomic.h>

#ifndef FAKE_ABI_VERSION
#define FAKE_ABI_VERSION TN_ABI_VERSION
#endif
#ifndef FAKE_STRUCT_SIZE
#define FAKE_STRUCT_SIZE sizeof(struct tn_model)
#endif
#ifndef FAKE_BEST_LEVEL
#define FAKE_BEST_LEVEL 1 /* of "low", "high", "never" */
#endif
#ifndef FAKE_ELEMENTS
#define FAKE_ELEMENTS 2
#endif
#ifndef FAKE_GOLDEN
#define FAKE_GOLDEN 11.5
#endif

static atomic_int limit = FAKE_BEST_LEVEL;

static int level(void)
{
    return atomic_load_explicit(&limit, memory_order_relaxed);
}

static int set_limit(uint32_t wanted)
{
    const int best = FAKE_BEST_LEVEL;
    atomic_store_explicit(&limit, (int)wanted < best ? (int)wanted : best,
                          memory_order_relaxed);
    return level();
}

static void predict_row(uint32_t output, double x, double y, void *out,
                        uint64_t row)
{
    if (output == 0) {
        ((double *)out)[row] = 2 * x + y;
    } else {
        ((int32_t *)out)[2 * row] = x > y;
        ((int32_t *)out)[2 * row + 1] = x < y;
    }
}

static int check(uint32_t output, const void *scratch)
{
    if (output > 1)
        return TN_BAD_OUTPUT;
    return !scratch || (uintptr_t)scratch % TN_SCRATCH_ALIGN ? TN_BAD_SCRATCH
                                                             : TN_OK;
}

#define PREDICT(name, type)                                                   \
    static int predict_##name(uint32_t output, const type *rows,              \
                              uint64_t n_rows, int64_t row_stride,            \
                              int64_t column_stride, void *out,               \
                              void *scratch)                                  \
    {                                                                         \
        const int status = check(output, scratch);                            \
        for (uint64_t r = 0; status == TN_OK && r < n_rows; r++) {            \
            const type *row = rows + (int64_t)r * row_stride;                 \
            *(volatile char *)scratch = 1;                                    \
            predict_row(output, row[0], row[column_stride], out, r);          \
        }                                                                     \
        return status;                                                        \
    }                                                                         \
    static int predict_one_##name(uint32_t output, const type *row,           \
                                  void *out, void *scratch)                   \
    {                                                                         \
        return predict_##name(output, row, 1, 0, 1, out, scratch);            \
    }
PREDICT(f32, float)
PREDICT(f64, double)

static const struct tn_column columns[] = {
    {"x", TN_NUMBER, 1, 0, NULL},
    {"y", TN_NUMBER, 1, 0, NULL},
};
static const char *const labels[] = {"no", "yes"};
static const struct tn_output outputs[] = {
    {"value", TN_F64, 1, 0, NULL, 0},
    {"class", TN_I32, 2, 2, labels, 0},
};
static const char *const isa[] = {"low", "high", "never"};
#ifdef FAKE_NARROW
static const float golden_rows[] = {1, 2, 5, 1.5f, -1, 4};
#else
static const double golden_rows[] = {1, 2, 5, 1.5, -1, 4};
#endif
static const double golden_value[] = {4, FAKE_GOLDEN, 2};
static const int32_t golden_class[] = {0, 1, 1, 0, 0, 1};
static const void *const golden_out[] = {golden_value, golden_class};

extern const struct tn_model fake_model;
__attribute__((visibility("default"))) const struct tn_model fake_model = {
    .abi_version = FAKE_ABI_VERSION,
    .struct_size = FAKE_STRUCT_SIZE,
    .name = "fake",
    .compiler = "by hand",
    .source_format = "none",
    .source_sha256 = "",
    .target = "here",
    .strategy = "plain",
    .row_strategy = "plain",
    .n_elements = FAKE_ELEMENTS,
    .n_columns = 2,
    .columns = columns,
    .n_outputs = 2,
    .n_isa = 3,
    .outputs = outputs,
    .isa = isa,
    .scratch_bytes = 100,
    .stack_bytes = 256,
    .predict_f32 = predict_f32,
    .predict_f64 = predict_f64,
    .predict_one_f32 = predict_one_f32,
    .predict_one_f64 = predict_one_f64,
    .isa_level = level,
    .isa_limit = set_limit,
    .n_golden = 3,
    .golden_rows = golden_rows,
    .golden_out = golden_out,
#ifdef FAKE_NARROW
    .golden_dtype = TN_F32,
#else
    .golden_dtype = TN_F64,
#endif
};

#ifdef FAKE_STREAM_SIZE
#define FAKE_OWN_SIZE sizeof(struct tn_stream)
#ifndef FAKE_SHARE
#define FAKE_SHARE 1
#endif

static void state_init(void *state)
{
    *(double *)state = 0;
}

static int step_f64(uint32_t output, void *state, const double *row, void *out,
                    void *scratch)
{
    double *x = state;
    (void)scratch;
    if (output == 0)
        *(double *)out = 2 * *x + *row;
    else
        ((int32_t *)out)[0] = *x > *row, ((int32_t *)out)[1] = *x < *row;
    *x = FAKE_SHARE * *row;
    return TN_OK;
}

static const struct tn_step_output step_outputs[] = {{1, 1, 0, 0},
                                                     {2, 1, 0, 0}};

extern const struct tn_stream fake_stream;
__attribute__((visibility("default"))) const struct tn_stream fake_stream = {
    .struct_size = FAKE_STREAM_SIZE,
    .n_steps = 2,
    .n_elements = 1,
    .row_outer = 1,
    .row_inner = 1,
    .state_bytes = 8,
    .outputs = step_outputs,
    .state_init = state_init,
    .step_f64 = step_f64,
};
#endif
