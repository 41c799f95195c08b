/* runtime.h: the host side of a compiled library: load it, check it, run it
 * on threads. libc only; products that link a library need none of this.
 */
#ifndef TREENAIL_RUNTIME_H
#define TREENAIL_RUNTIME_H

#include "runtime/abi.h"
#include "runtime/abi_stream.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A loaded library. */
struct rt_library {
    const struct tn_model *model; /* in the library; valid while it is open */
    const struct tn_stream *stream; /* NULL when it has no time steps */
    void *handle;                 /* of dlopen */
    char error[512];              /* why the last call on it failed */
};

/* ----------------------------------------------------------- library.c -- */

/* Loads `path` and checks its ABI version, struct size and that this CPU has
 * one of its ISA levels. Loading runs code of the file: never load a library
 * that you do not trust. False with `error` set on failure. */
bool rt_library_open(struct rt_library *library, const char *path);
void rt_library_close(struct rt_library *library);

/* Runs the golden rows at the current ISA level, and step by step where the
 * library streams. True when every bit of every
 * output agrees; else `error` names the output and the row. */
bool rt_selftest(struct rt_library *library);

/* ------------------------------------------------------------- batch.c -- */

/* A batch split over `n_threads` threads (0: one a core) that live for this
 * call; each takes blocks of rows and has scratch of its own. Fewer do it when
 * no more can be had, or when the batch is not worth more. dtype is TN_F32 or
 * TN_F64. Returns an enum tn_status, or -1 when there is no memory. */
int rt_predict(const struct tn_model *model, uint32_t output, uint32_t dtype,
               const void *rows, uint64_t n_rows, int64_t row_stride,
               int64_t column_stride, void *out, int n_threads);

/* Threads that wait for batches, for who has many of a few hundred rows. The
 * caller counts as one of n_threads (0: one a core). It may serve any number of
 * models and callers, one batch at a time: others wait for their turn. NULL
 * when there is no memory. Free it when no call is under way: that ends its
 * threads and waits until they are gone. */
struct rt_pool;
struct rt_pool *rt_pool_new(int n_threads);
void rt_pool_free(struct rt_pool *pool);
/* As rt_predict() on the pool's threads. */
int rt_pool_predict(struct rt_pool *pool, const struct tn_model *model,
                    uint32_t output, uint32_t dtype, const void *rows,
                    uint64_t n_rows, int64_t row_stride, int64_t column_stride,
                    void *out);

/* Aligned scratch for one caller, NULL when the model needs none or there is
 * no memory; free() it. */
void *rt_scratch_new(const struct tn_model *model);

#ifdef __cplusplus
}
#endif

#endif
