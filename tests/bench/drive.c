/* drive.c: calls a predictor over and over, as a C program would.
 *
 * The benchmark's workers load this as a library, so that no Python is in the
 * loop that is timed. Every predictor with a C interface gets an adapter here
 * that takes `n` rows and writes their outputs; drive() walks a block of rows
 * with it, batch by batch. Predictors that leave threads to their caller get a
 * helper thread that does the second half of each batch.
 */
#include "runtime/runtime.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What an adapter needs; peers.py has the same fields. */
struct entry {
    int (*call)(const struct entry *e, int thread, const char *rows, long n,
                char *out);
    void *many, *one;  /* the predictor's functions */
    void *context[2];  /* of each thread: a handle or scratch */
    const char *text;  /* options */
    long width;        /* numbers in a row */
    long row_bytes, out_bytes;
    int output;
    /* Of nets: the sizes of rows and answers as tensors; the first, which is
     * the batch's, is filled in. What the peer reads and writes instead of the
     * caller's memory. */
    int64_t *shape, *out_shape;
    long rank, out_rank;
    void *own_rows, *own_out;
};

/* ------------------------------------------------------------- adapters -- */

int call_treenail(const struct entry *e, int thread, const char *rows, long n,
                  char *out)
{
    int (*many)(uint32_t, const void *, uint64_t, int64_t, int64_t, void *,
                void *) = e->many;
    int (*one)(uint32_t, const void *, void *, void *) = e->one;
    if (n == 1)
        return one((uint32_t)e->output, rows, out, e->context[thread]);
    return many((uint32_t)e->output, rows, (uint64_t)n, e->width, 1, out,
                e->context[thread]);
}

/* The same on the threads of a pool, which is context[0]; `many` is the
 * tn_model. It goes as runtime.h says. */
int call_treenail_pool(const struct entry *e, int thread, const char *rows,
                       long n, char *out)
{
    (void)thread;
    return rt_pool_predict(e->context[0], e->many, (uint32_t)e->output, TN_F32,
                           rows, (uint64_t)n, e->width, 1, out);
}

/* LGBM_BoosterPredictForMat; one row by LGBM_BoosterPredictForMatSingleRowFast,
 * whose configuration is context[1]. */
int call_lightgbm(const struct entry *e, int thread, const char *rows, long n,
                  char *out)
{
    int (*many)(void *, const void *, int, int32_t, int32_t, int, int, int,
                int, const char *, int64_t *, double *) = e->many;
    int (*one)(void *, const void *, int64_t *, double *) = e->one;
    int64_t written;
    (void)thread;
    if (n == 1)
        return one(e->context[1], rows, &written, (double *)out);
    return many(e->context[0], rows, 0, (int32_t)n, (int32_t)e->width, 1, 0,
                0, -1, e->text, &written, (double *)out);
}

/* XGBoosterPredictFromDense. The result is XGBoost's until its next call. */
int call_xgboost(const struct entry *e, int thread, const char *rows, long n,
                 char *out)
{
    int (*many)(void *, const char *, const char *, void *, const uint64_t **,
                uint64_t *, const float **) = e->many;
    char array[200];
    const uint64_t *shape;
    const float *result;
    uint64_t rank;
    (void)thread;
    snprintf(array, sizeof array, "{\"data\":[%zu,true],\"shape\":[%ld,%ld],"
             "\"typestr\":\"<f4\",\"version\":3}", (size_t)rows, n, e->width);
    int status = many(e->context[0], array, e->text, NULL, &shape, &rank,
                      &result);
    if (status == 0)
        memcpy(out, result, (size_t)(n * e->out_bytes));
    return status;
}

/* lleaves' forest_root: rows of double, from a row to a row. */
int call_lleaves(const struct entry *e, int thread, const char *rows, long n,
                 char *out)
{
    void (*f)(const char *, char *, int, int) = n == 1 ? e->one : e->many;
    (void)thread;
    f(rows, out, 0, (int)n);
    return 0;
}

/* tl2cgen's predict(): one row a call, of entries that are missing or not,
 * filled as its own predictor fills them; it adds to what is in `out`. */
#define CALL_TL2CGEN(NAME, NUMBER)                                            \
    int NAME(const struct entry *e, int thread, const char *rows, long n,     \
             char *out)                                                       \
    {                                                                         \
        union { int missing; NUMBER value; } *row = e->context[thread];       \
        void (*f)(void *, int, void *) = e->many;                             \
        const float *x = (const float *)rows;                                 \
        memset(out, 0, (size_t)(n * e->out_bytes));                           \
        for (long r = 0; r < n; r++, x += e->width) {                         \
            for (long i = 0; i < e->width; i++)                               \
                if (isnan(x[i]))                                              \
                    row[i].missing = -1;                                      \
                else                                                          \
                    row[i].value = x[i];                                      \
            f(row, 0, out + r * e->out_bytes);                                \
        }                                                                     \
        return 0;                                                             \
    }
CALL_TL2CGEN(call_tl2cgen_f32, float)
CALL_TL2CGEN(call_tl2cgen_f64, double)

int call_timber(const struct entry *e, int thread, const char *rows, long n,
                char *out)
{
    int (*many)(const char *, int, char *, void *) = e->many;
    int (*one)(const char *, char *, void *) = e->one;
    if (n == 1)
        return one(rows, out, e->context[thread]);
    return many(rows, (int)n, out, e->context[thread]);
}

/* OrtApi.Run of ONNX Runtime's table of functions, which only ever grows;
 * `text` is the name of the input and, behind its zero, of the output. */
enum { ORT_RUN = 9, ORT_TENSOR = 49, ORT_DATA = 51, ORT_RELEASE = 96 };

int call_onnxruntime(const struct entry *e, int thread, const char *rows,
                     long n, char *out)
{
    void **api = e->many;
    void *(*tensor)(void *, const void *, size_t, const int64_t *, size_t, int,
                    void **) = api[ORT_TENSOR];
    void *(*run)(void *, void *, const char **, void **, size_t, const char **,
                 size_t, void **) = api[ORT_RUN];
    void *(*data)(void *, void **) = api[ORT_DATA];
    void (*release)(void *) = api[ORT_RELEASE];
    const char *names[2] = {e->text, e->text + strlen(e->text) + 1};
    int64_t shape[2] = {n, e->width};
    void *in = NULL, *result = NULL, *numbers;
    (void)thread;
    int failed = tensor(e->context[1], rows, (size_t)(n * e->row_bytes), shape,
                        2, 1, &in) ||
                 run(e->context[0], NULL, names, &in, 1, names + 1, 1,
                     &result) ||
                 data(result, &numbers);
    if (!failed)
        memcpy(out, numbers, (size_t)(n * e->out_bytes));
    release(in);
    release(result);
    return failed;
}

/* The same for a net, whose answers go where the caller wants them. */
int call_onnxruntime_net(const struct entry *e, int thread, const char *rows,
                         long n, char *out)
{
    void **api = e->many;
    void *(*tensor)(void *, const void *, size_t, const int64_t *, size_t, int,
                    void **) = api[ORT_TENSOR];
    void *(*run)(void *, void *, const char **, void **, size_t, const char **,
                 size_t, void **) = api[ORT_RUN];
    void (*release)(void *) = api[ORT_RELEASE];
    const char *names[2] = {e->text, e->text + strlen(e->text) + 1};
    void *in = NULL, *result = NULL;
    (void)thread;
    e->shape[0] = e->out_shape[0] = n;
    int failed = tensor(e->context[1], rows, (size_t)(n * e->row_bytes),
                        e->shape, (size_t)e->rank, 1, &in) ||
                 tensor(e->context[1], out, (size_t)(n * e->out_bytes),
                        e->out_shape, (size_t)e->out_rank, 1, &result) ||
                 run(e->context[0], NULL, names, &in, 1, names + 1, 1,
                     &result);
    release(in);
    release(result);
    return failed;
}

/* Any net that is a function of a handle, and has memory of its own. */
int call_own_memory(const struct entry *e, int thread, const char *rows,
                    long n, char *out)
{
    int (*infer)(void *) = e->many;
    (void)thread;
    memcpy(e->own_rows, rows, (size_t)(n * e->row_bytes));
    int status = infer(e->context[0]);
    memcpy(out, e->own_out, (size_t)(n * e->out_bytes));
    return status;
}

/* A net that is void f(rows, answers), of a batch that is fixed. */
int call_plain(const struct entry *e, int thread, const char *rows, long n,
               char *out)
{
    void (*f)(const char *, char *) = e->many;
    (void)thread;
    (void)n;
    f(rows, out);
    return 0;
}

/* ---------------------------------------------------------- two threads -- */

/* Both sides look for a while before they sleep, as OpenMP's threads do. */
enum { LOOKS = 4096 };

struct helper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const struct entry *e;
    const char *rows;
    char *out;
    atomic_long n; /* rows to do; 0: none, -1: end */
    int status;
};

static void set_n(struct helper *h, long n)
{
    pthread_mutex_lock(&h->lock);
    atomic_store(&h->n, n);
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

/* Until n is zero, or until it is not. */
static long wait_for_n(struct helper *h, bool zero)
{
    for (int i = 0; i < LOOKS; i++) {
        long n = atomic_load(&h->n);
        if ((n == 0) == zero)
            return n;
    }
    pthread_mutex_lock(&h->lock);
    while ((atomic_load(&h->n) == 0) != zero)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
    return atomic_load(&h->n);
}

static void *help(void *argument)
{
    struct helper *h = argument;
    for (long n; (n = wait_for_n(h, false)) > 0; set_n(h, 0))
        h->status |= h->e->call(h->e, 1, h->rows, n, h->out);
    return NULL;
}

static int call(const struct entry *e, struct helper *h, const char *rows,
                long n, char *out)
{
    long half = h ? n / 2 : 0;
    if (half) {
        h->rows = rows + (n - half) * e->row_bytes;
        h->out = out + (n - half) * e->out_bytes;
        set_n(h, half);
    }
    int status = e->call(e, 0, rows, n - half, out);
    if (half)
        wait_for_n(h, true);
    return status | (half ? h->status : 0);
}

/* ----------------------------------------------------------------- drive -- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Predicts `n_rows` rows in batches, again from the first row after the last,
 * for at least `seconds`, and each row at least once if that is 0. `split`:
 * half of each batch is the helper's. Returns seconds a row, or a negative
 * number when a call fails. */
double drive(const struct entry *e, const char *rows, long n_rows, char *out,
             long batch, int split, double seconds)
{
    struct helper h = {.e = e,
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .changed = PTHREAD_COND_INITIALIZER};
    if (split && pthread_create(&h.thread, NULL, help, &h))
        return -1;
    long at = 0, done = 0, looked = 0;
    long look_every = 1; /* rows: until a look at the clock costs nothing */
    int status = 0;
    double start = now(), spent = 0;
    while (spent < seconds || done < (seconds > 0 ? 1 : n_rows)) {
        long n = batch < n_rows - at ? batch : n_rows - at;
        status |= call(e, split ? &h : NULL, rows + at * e->row_bytes, n,
                       out + at * e->out_bytes);
        done += n;
        at = at + n < n_rows ? at + n : 0;
        if (done - looked >= look_every) {
            double before = spent;
            spent = now() - start;
            look_every *= spent - before < 2e-5 ? 2 : 1;
            looked = done;
        }
    }
    spent = now() - start;
    if (split) {
        set_n(&h, -1);
        pthread_join(h.thread, NULL);
    }
    return status ? -1 : spent / (double)done;
}
