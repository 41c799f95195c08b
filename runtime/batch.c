/* batch.c: one batch on several threads.
 *
 * Threads take blocks of rows from a shared counter, so that a slow core takes
 * fewer. Rows are independent and a row's result depends on nothing but the
 * row, so the number of threads changes no bit.
 *
 * A pool's threads wait for the next batch: awake for a short while, since a
 * caller with many small batches comes back at once, then asleep. Waking one
 * costs some 5 us and starting one 20 to 50, so a batch gets only as many as it
 * keeps busy for a multiple of that, by the library's own estimate of a row.
 * rt_predict() is a pool for one call.
 *
 * All fields of a pool that change are atomic or under its lock. A batch's job
 * is on the caller's stack: it is closed once no rows are left, and the caller
 * waits for those that took part, not for who comes late because other programs
 * have the cores.
 */
#include "runtime/runtime.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 256
/* Work for which a thread is woken, and for which one is started. */
#define WAKE_NS 50000.0
#define START_NS 100000.0
/* Rows to start a thread for, when a library does not say what one takes. */
#define START_ROWS 1024.0
/* How long a pool's threads, and who waits for them, stay awake. */
#define AWAKE_NS 50000
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

/* A thread and the scratch that it keeps from batch to batch. */
struct worker {
    struct rt_pool *pool;
    pthread_t thread;
    void *scratch;
    uint64_t scratch_bytes;
};

struct rt_pool {
    pthread_mutex_t turn; /* held by who predicts */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t posted, finished;
    struct job *job;      /* NULL when it is closed */
    int n_wanted;         /* threads that may still join it */
    bool ends;
    atomic_uint n_posted; /* jobs so far */
    atomic_int n_busy;    /* threads at the job; rises under the lock */
    int n_workers;
    struct worker worker[]; /* the first one is whoever calls */
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

/* ------------------------------------------------------------------- job -- */

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

/* Whether the worker has the scratch that the model needs. */
static bool have_scratch(struct worker *w, const struct tn_model *model)
{
    if (model->scratch_bytes <= w->scratch_bytes)
        return true;
    free(w->scratch);
    w->scratch = rt_scratch_new(model);
    w->scratch_bytes = w->scratch ? model->scratch_bytes : 0;
    return w->scratch;
}

static void work(struct worker *w, struct job *job)
{
    if (!have_scratch(w, job->model))
        fail_job(job, -1);
    while (atomic_load(&job->status) == TN_OK) {
        const uint64_t first = atomic_fetch_add(&job->next, job->block_rows);
        if (first >= job->n_rows)
            break;
        const uint64_t left = job->n_rows - first;
        const int status = predict_block(
            job, first, left < job->block_rows ? left : job->block_rows,
            w->scratch);
        if (status != TN_OK)
            fail_job(job, status);
    }
}

/* ------------------------------------------------------------------ pool -- */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Looks for a while; whether *n changed from `old` meanwhile. */
static bool changes_soon(atomic_uint *n, unsigned old)
{
    const int64_t end = now_ns() + AWAKE_NS;
    do
        for (int i = 0; i < 64; i++)
            if (atomic_load(n) != old)
                return true;
    while (now_ns() < end);
    return false;
}

static bool finish_soon(struct rt_pool *pool)
{
    const int64_t end = now_ns() + AWAKE_NS;
    do
        for (int i = 0; i < 64; i++)
            if (atomic_load(&pool->n_busy) == 0)
                return true;
    while (now_ns() < end);
    return false;
}

static void finish(struct rt_pool *pool)
{
    if (atomic_fetch_sub(&pool->n_busy, 1) > 1)
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->finished);
    pthread_mutex_unlock(&pool->lock);
}

/* Waits for a job that the thread has not seen and joins it; NULL when there is
 * nothing to do at it. */
static struct job *join_job(struct rt_pool *pool, unsigned *seen, bool *ends)
{
    changes_soon(&pool->n_posted, *seen);
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->n_posted) == *seen && !pool->ends)
        pthread_cond_wait(&pool->posted, &pool->lock);
    *seen = atomic_load(&pool->n_posted);
    *ends = pool->ends;
    struct job *job = pool->n_wanted > 0 ? pool->job : NULL;
    if (job) {
        pool->n_wanted--;
        atomic_fetch_add(&pool->n_busy, 1);
    }
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *serve(void *argument)
{
    struct worker *w = argument;
    unsigned seen = 0;
    for (bool ends = false; !ends;) {
        struct job *job = join_job(w->pool, &seen, &ends);
        if (job) {
            work(w, job);
            finish(w->pool);
        }
    }
    return NULL;
}

static void post(struct rt_pool *pool, struct job *job, int n_wanted)
{
    pthread_mutex_lock(&pool->lock);
    pool->job = job;
    pool->n_wanted = n_wanted;
    atomic_fetch_add(&pool->n_posted, 1);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < n_wanted; i++)
        pthread_cond_signal(&pool->posted);
}

/* Nobody joins any more; waits for who did. */
static void close_job(struct rt_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->job = NULL;
    pthread_mutex_unlock(&pool->lock);
    if (finish_soon(pool))
        return;
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->n_busy) > 0)
        pthread_cond_wait(&pool->finished, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

/* The caller works too. */
static void run_job(struct rt_pool *pool, struct job *job, int n_threads)
{
    pthread_mutex_lock(&pool->turn);
    if (n_threads > 1)
        post(pool, job, n_threads - 1);
    work(&pool->worker[0], job);
    if (n_threads > 1)
        close_job(pool);
    pthread_mutex_unlock(&pool->turn);
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

struct rt_pool *rt_pool_new(int n_threads)
{
    int n = n_threads > 0 ? n_threads : core_count();
    n = n < MAX_THREADS ? n : MAX_THREADS;
    struct rt_pool *pool =
        calloc(1, sizeof(*pool) + (size_t)n * sizeof(pool->worker[0]));
    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->turn, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->posted, NULL);
    pthread_cond_init(&pool->finished, NULL);
    for (int i = 0; i < n; i++) {
        struct worker *w = &pool->worker[i];
        w->pool = pool;
        /* When one cannot be started, fewer do it all. */
        if (i > 0 && pthread_create(&w->thread, NULL, serve, w) != 0)
            break;
        pool->n_workers++;
    }
    return pool;
}

void rt_pool_free(struct rt_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ends = true;
    atomic_fetch_add(&pool->n_posted, 1);
    pthread_cond_broadcast(&pool->posted);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i < pool->n_workers; i++)
        pthread_join(pool->worker[i].thread, NULL);
    for (int i = 0; i < pool->n_workers; i++)
        free(pool->worker[i].scratch);
    pthread_cond_destroy(&pool->posted);
    pthread_cond_destroy(&pool->finished);
    pthread_mutex_destroy(&pool->turn);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* ----------------------------------------------------------------- calls -- */

/* Threads, of n, that a batch keeps busy when each is worth it from so much
 * work on. */
static int worth(const struct tn_model *model, uint64_t n_rows, int n,
                 double each_ns)
{
    const double row_ns =
        model->batch_ns ? model->batch_ns : START_NS / START_ROWS;
    const double most = (double)n_rows * row_ns / each_ns;
    return most < 1 ? 1 : most < n ? (int)most : n;
}

/* Small shares are done in one go, since a tile that is not full costs as much
 * as a full one; of large ones each thread gets several blocks. */
static uint64_t block_rows(uint64_t n_rows, int n_threads)
{
    const uint64_t n = (uint64_t)n_threads;
    uint64_t rows = n_rows / n + (n_rows % n > 0);
    if (rows > BLOCK_ROWS)
        rows = rows / 4 < BLOCK_ROWS ? rows / 4 : BLOCK_ROWS;
    const uint64_t unit = rows < 512 ? 64 : 512;
    return rows ? (rows + unit - 1) / unit * unit : unit;
}

static bool make_job(struct job *job, int n_threads, int *status)
{
    const struct tn_model *m = job->model;
    *status = job->output >= m->n_outputs ? TN_BAD_OUTPUT
              : job->dtype != TN_F32 && job->dtype != TN_F64 ? -1 : TN_OK;
    if (*status != TN_OK)
        return false;
    const struct tn_output *o = &m->outputs[job->output];
    job->out_width = o->n_elements * tn_dtype_bytes(o->dtype);
    job->block_rows =
        n_threads > 1 ? block_rows(job->n_rows, n_threads) : job->n_rows;
    return true;
}

int rt_pool_predict(struct rt_pool *pool, const struct tn_model *model,
                    uint32_t output, uint32_t dtype, const void *rows,
                    uint64_t n_rows, int64_t row_stride, int64_t column_stride,
                    void *out)
{
    const int n = worth(model, n_rows, pool->n_workers, WAKE_NS);
    struct job job = {.model = model, .output = output, .dtype = dtype,
                      .rows = rows, .n_rows = n_rows,
                      .row_stride = row_stride,
                      .column_stride = column_stride, .out = out};
    int status;
    if (!make_job(&job, n, &status))
        return status;
    run_job(pool, &job, n);
    return atomic_load(&job.status);
}

int rt_predict(const struct tn_model *model, uint32_t output, uint32_t dtype,
               const void *rows, uint64_t n_rows, int64_t row_stride,
               int64_t column_stride, void *out, int n_threads)
{
    const int most = n_threads > 0 ? n_threads : core_count();
    struct rt_pool *pool = rt_pool_new(
        worth(model, n_rows, most < MAX_THREADS ? most : MAX_THREADS,
              START_NS));
    if (!pool)
        return -1;
    const int status =
        rt_pool_predict(pool, model, output, dtype, rows, n_rows, row_stride,
                        column_stride, out);
    rt_pool_free(pool);
    return status;
}
