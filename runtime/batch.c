/* batch.c: one batch on several threads.
 *
 * Threads take blocks of rows from a shared counter, so that a slow core takes
 * fewer. Rows are independent and a row's result depends on nothing but the
 * row, so the number of threads changes no bit. Threads live for one call:
 * starting one costs some 20 us, which is why a thread gets at least
 * MIN_THREAD_ROWS rows; a pool belongs to the product that wants one.
 */
#include "runtime/runtime.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define MIN_THREAD_ROWS 1024
#define MAX_THREADS 256
/* Rows of a block: a multiple of every tile that the compiler makes. */
#define BLOCK_ROWS 4096

struct job {
    const struct tn_model *model;
    uint32_t output, dtype;
    const void *rows;
    uint64_t n_rows;
    int64_t row_stride, column_stride;
    char *out;
    size_t out_width; /* bytes of a row's result */
    uint64_t block_rows;
    atomic_uint_fast64_t next; /* row that no thread has taken yet */
    atomic_int status;         /* of the first block that failed */
};

void *rt_scratch_new(const struct tn_model *model)
{
    if (model->scratch_bytes == 0 ||
        model->scratch_bytes > SIZE_MAX - TN_SCRATCH_ALIGN)
        return NULL;
    const size_t bytes = (size_t)model->scratch_bytes + TN_SCRATCH_ALIGN - 1;
    return aligned_alloc(TN_SCRATCH_ALIGN,
                         bytes - bytes % TN_SCRATCH_ALIGN);
}

static int predict_block(const struct job *job, uint64_t first, uint64_t n,
                         void *scratch)
{
    const struct tn_model *m = job->model;
    const int64_t at = (int64_t)first * job->row_stride;
    void *out = job->out + first * job->out_width;
    if (job->dtype == TN_F32)
        return m->predict_f32(job->output, (const float *)job->rows + at, n,
                              job->row_stride, job->column_stride, out,
                              scratch);
    return m->predict_f64(job->output, (const double *)job->rows + at, n,
                          job->row_stride, job->column_stride, out, scratch);
}

static void fail_job(struct job *job, int status)
{
    int none = TN_OK;
    atomic_compare_exchange_strong(&job->status, &none, status);
}

static void *work(void *argument)
{
    struct job *job = argument;
    void *scratch = rt_scratch_new(job->model);
    if (!scratch && job->model->scratch_bytes)
        fail_job(job, -1);
    while (atomic_load(&job->status) == TN_OK) {
        const uint64_t first = atomic_fetch_add(&job->next, job->block_rows);
        if (first >= job->n_rows)
            break;
        const uint64_t left = job->n_rows - first;
        const int status = predict_block(
            job, first, left < job->block_rows ? left : job->block_rows,
            scratch);
        if (status != TN_OK)
            fail_job(job, status);
    }
    free(scratch);
    return NULL;
}

/* The cores that this process may use. */
static int core_count(void)
{
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof(cores), &cores) == 0)
        return CPU_COUNT(&cores);
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

static int thread_count(int wanted, uint64_t n_rows)
{
    const uint64_t most = n_rows / MIN_THREAD_ROWS + 1;
    int n = wanted > 0 ? wanted : core_count();
    n = n < MAX_THREADS ? n : MAX_THREADS;
    return (uint64_t)n < most ? n : (int)most;
}

/* Blocks shrink until each thread can have several. */
static uint64_t block_rows(uint64_t n_rows, int n_threads)
{
    uint64_t block = BLOCK_ROWS;
    while (block > 256 && n_rows / block < 4 * (uint64_t)n_threads)
        block /= 2;
    return block;
}

int rt_predict(const struct tn_model *model, uint32_t output, uint32_t dtype,
               const void *rows, uint64_t n_rows, int64_t row_stride,
               int64_t column_stride, void *out, int n_threads)
{
    if (output >= model->n_outputs)
        return TN_BAD_OUTPUT;
    if (dtype != TN_F32 && dtype != TN_F64)
        return -1;
    const struct tn_output *o = &model->outputs[output];
    const int n = thread_count(n_threads, n_rows);
    struct job job = {
        .model = model, .output = output, .dtype = dtype, .rows = rows,
        .n_rows = n_rows, .row_stride = row_stride,
        .column_stride = column_stride, .out = out,
        .out_width = o->n_elements * tn_dtype_bytes(o->dtype),
        .block_rows = n > 1 ? block_rows(n_rows, n) : n_rows};
    pthread_t thread[MAX_THREADS];
    int n_started = 0;
    /* This thread works too; when one cannot be started, fewer do it all. */
    while (n_started < n - 1 &&
           pthread_create(&thread[n_started], NULL, work, &job) == 0)
        n_started++;
    work(&job);
    for (int i = 0; i < n_started; i++)
        pthread_join(thread[i], NULL);
    return atomic_load(&job.status);
}
