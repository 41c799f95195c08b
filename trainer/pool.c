/* pool.c: a few threads that run a loop's iterations. Which thread runs which
 * is left to chance, so what an iteration computes must not depend on it.
 */
#include "trainer/private.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

struct worker {
    struct tr_pool *pool;
    pthread_t thread;
    int index;
};

struct tr_pool {
    int n_threads; /* the caller's included */
    struct worker worker[TR_MAX_THREADS];
    pthread_mutex_t mutex;
    pthread_cond_t work, idle;
    /* Of the loop at hand: written while no worker is at it. */
    void (*task)(void *user, int64_t i, int thread);
    void *user;
    int64_t n;
    atomic_int_least64_t next; /* iteration that nobody has taken */
    atomic_uint round;         /* loops so far */
    atomic_int busy;           /* workers that have not finished the loop */
    bool stop;                 /* under the mutex */
};

static void run_iterations(struct tr_pool *pool, int thread)
{
    for (;;) {
        const int64_t i = atomic_fetch_add(&pool->next, 1);
        if (i >= pool->n)
            return;
        pool->task(pool->user, i, thread);
    }
}

/* Loops come in quick succession: wait a little before going to sleep. */
static void await_round(struct tr_pool *pool, unsigned seen)
{
    for (int i = 0; i < 4000; i++)
        if (atomic_load(&pool->round) != seen)
            return;
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->round) == seen)
        pthread_cond_wait(&pool->work, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *argument)
{
    const struct worker *me = argument;
    struct tr_pool *pool = me->pool;
    for (unsigned seen = 0;; seen++) {
        await_round(pool, seen);
        if (pool->stop)
            return NULL;
        run_iterations(pool, me->index);
        if (atomic_fetch_sub(&pool->busy, 1) == 1) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->idle);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

static int count_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    return CPU_COUNT(&set);
}

struct tr_pool *tr_pool_new(int n_threads)
{
    struct tr_pool *pool = ir_realloc_array(NULL, 1, sizeof(*pool));
    *pool = (struct tr_pool){.n_threads = 1};
    int want = n_threads > 0 ? n_threads : count_cores();
    want = want < TR_MAX_THREADS ? want : TR_MAX_THREADS;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->idle, NULL);
    for (int i = 1; i < want; i++) {
        struct worker *worker = &pool->worker[i];
        worker->pool = pool;
        worker->index = i;
        if (pthread_create(&worker->thread, NULL, work, worker) != 0)
            break;
        pool->n_threads++;
    }
    return pool;
}

/* Lets the workers begin the next round. */
static void start_round(struct tr_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->round, 1);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

void tr_pool_free(struct tr_pool *pool)
{
    if (!pool)
        return;
    pool->stop = true;
    start_round(pool);
    for (int i = 1; i < pool->n_threads; i++)
        pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

int tr_pool_threads(const struct tr_pool *pool)
{
    return pool->n_threads;
}

void tr_pool_run(struct tr_pool *pool, int64_t n,
                 void (*task)(void *user, int64_t i, int thread), void *user)
{
    if (pool->n_threads == 1 || n < 2) {
        for (int64_t i = 0; i < n; i++)
            task(user, i, 0);
        return;
    }
    pool->task = task;
    pool->user = user;
    pool->n = n;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->busy, pool->n_threads - 1);
    start_round(pool);
    run_iterations(pool, 0);
    for (int i = 0; i < 4000 && atomic_load(&pool->busy) > 0; i++)
        ;
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->busy) > 0)
        pthread_cond_wait(&pool->idle, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
