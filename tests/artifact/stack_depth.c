/* stack_depth.c: how much stack the calls of a library take.
 *
 *     stack_depth LIBRARY
 *
 * Each call runs on a stack of its own, painted first, which is as large as
 * the info struct says and no more: below it lies a page that may not be
 * touched, so a call that takes more dies there. Prints the deepest use of any
 * call and the bound. A first call of nothing measures what the way to the
 * call takes, and is subtracted. x86-64 and aarch64 Linux. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include ABI_HEADER

enum { PAINT = 0xa5, ROWS = 300 };

/* A call to make, and what it returned. */
static struct call {
    const struct tn_model *model;
    int kind; /* 0 nothing, 1 batch f32, 2 batch f64, 3 and 4 one row */
    uint32_t output;
    uint64_t n_rows;
    int by_columns;
    void *rows, *out, *scratch;
    int status;
} call;

static ucontext_t here, there;

static int nothing(uint32_t output, const float *rows, uint64_t n_rows,
                   int64_t row_stride, int64_t column_stride, void *out,
                   void *scratch)
{
    (void)rows, (void)n_rows, (void)row_stride, (void)column_stride;
    (void)out, (void)scratch;
    return (int)output * 0;
}

static void make_call(void)
{
    const struct tn_model *m = call.model;
    const int64_t by_row = call.by_columns ? 1 : m->n_elements;
    const int64_t by_column = call.by_columns ? (int64_t)call.n_rows : 1;
    /* Volatile, so that no call is made part of this function. */
    tn_predict_f32_fn volatile f32 =
        call.kind == 0 ? nothing : m->predict_f32;
    if (call.kind < 2)
        call.status = f32(call.output, call.rows, call.n_rows, by_row,
                          by_column, call.out, call.scratch);
    else if (call.kind == 2)
        call.status = m->predict_f64(call.output, call.rows, call.n_rows,
                                     by_row, by_column, call.out,
                                     call.scratch);
    else if (call.kind == 3)
        call.status = m->predict_one_f32(call.output, call.rows, call.out,
                                         call.scratch);
    else
        call.status = m->predict_one_f64(call.output, call.rows, call.out,
                                         call.scratch);
}

/* A stack of `size` bytes above a page that may not be touched. */
static unsigned char *new_stack(size_t size, size_t page)
{
    const size_t pages = (size + page - 1) / page * page;
    unsigned char *at = mmap(NULL, page + pages, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || mprotect(at, page, PROT_NONE) != 0)
        exit(1);
    return at + page;
}

/* Makes the call on that stack; returns how many bytes were written to. */
static size_t depth(unsigned char *stack, size_t size)
{
    memset(stack, PAINT, size);
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = size;
    there.uc_link = &here;
    makecontext(&there, make_call, 0);
    swapcontext(&here, &there);
    size_t untouched = 0;
    while (untouched < size && stack[untouched] == PAINT)
        untouched++;
    return size - untouched;
}

static void *zeroed(size_t size)
{
    void *p = aligned_alloc(64, (size + 64) / 64 * 64);
    return p ? memset(p, 0, size) : (exit(1), NULL);
}

static size_t deepest(unsigned char *stack, size_t size)
{
    static const uint64_t n_rows[] = {1, 63, 64, 65, ROWS};
    const struct tn_model *m = call.model;
    size_t most = 0;
    for (call.output = 0; call.output < m->n_outputs; call.output++)
        for (call.kind = 1; call.kind < 5; call.kind++)
            for (int i = 0; i < 10; i++) {
                call.n_rows = n_rows[i % 5];
                call.by_columns = i / 5;
                const size_t used = depth(stack, size);
                most = used > most ? used : most;
                if (call.status != TN_OK)
                    exit(1);
            }
    return most;
}

int main(int argc, char **argv)
{
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    const struct tn_model *m =
        library ? dlsym(library, "treenail_model") : NULL;
    if (!m)
        return 2;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t width = 0;
    for (uint32_t o = 0; o < m->n_outputs; o++)
        width = m->outputs[o].n_elements > width ? m->outputs[o].n_elements
                                                 : width;
    call = (struct call){
        .model = m, .n_rows = 1,
        .rows = zeroed(ROWS * m->n_elements * sizeof(double)),
        .out = zeroed(ROWS * width * sizeof(double)),
        .scratch = zeroed(m->scratch_bytes)};

    const size_t way = depth(new_stack(1 << 16, page), 1 << 16);
    const size_t size = way + m->stack_bytes;
    unsigned char *stack = new_stack(size, page);
    size_t most = 0;
    for (int level = 0; level <= m->isa_level(); level++) {
        if (m->isa_limit((uint32_t)level) != level)
            return 1;
        const size_t used = deepest(stack, size);
        most = used > most ? used : most;
        m->isa_limit(m->n_isa); /* for the condition above */
    }
    printf("%zu %llu\n", most > way ? most - way : 0,
           (unsigned long long)m->stack_bytes);
    return 0;
}
