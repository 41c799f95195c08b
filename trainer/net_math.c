/* net_math.c: products by OpenBLAS, and loops that the compiler makes vectors
 * of. Sums are in one order, whatever the machine's cores.
 */
#include "trainer/private.h"

#include <cblas.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ blas -- */

#ifdef TR_NET_F64
#define GEMM cblas_dgemm
#else
#define GEMM cblas_sgemm
#endif
#define NAME_OF(x) #x
#define SYMBOL(x) NAME_OF(x)

struct tr_blas {
    void (*gemm)(enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE a_turned,
                 enum CBLAS_TRANSPOSE b_turned, blasint m, blasint n,
                 blasint k, tr_real alpha, const tr_real *a, blasint a_stride,
                 const tr_real *b, blasint b_stride, tr_real beta, tr_real *c,
                 blasint c_stride);
};

/* Loaded when a net is fitted, and not before: OpenBLAS starts a thread a core
 * when it is loaded, which would be 4 of the 16 ms that any command takes. With
 * one thread results are the same for any number of cores. */
bool tr_blas_load(struct tr_net *net, struct ir_diag *diag)
{
    static const char library[] = "libopenblas.so.0";
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    void *gemm = handle ? dlsym(handle, SYMBOL(GEMM)) : NULL;
    if (!gemm)
        return ir_error(diag, ir_loc_file(NULL),
                        "%s cannot be loaded, and nets are trained by it: %s",
                        library, dlerror());
    net->blas = ir_realloc_array(NULL, 1, sizeof(*net->blas));
    memcpy(&net->blas->gemm, &gemm, sizeof(gemm)); /* data to function */
    return true;
}

void tr_gemm(const struct tr_net *net, bool transpose_a, bool transpose_b,
             int64_t m, int64_t n, int64_t k, const tr_real *a,
             int64_t a_stride, const tr_real *b, int64_t b_stride,
             tr_real beta, tr_real *c, int64_t c_stride)
{
    net->blas->gemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                    transpose_b ? CblasTrans : CblasNoTrans, (int)m, (int)n,
                    (int)k, 1, a, (int)a_stride, b, (int)b_stride, beta, c,
                    (int)c_stride);
}

tr_real *tr_reals(int64_t n)
{
    const size_t bytes = ((size_t)n + 1) * sizeof(tr_real);
    const size_t size = (bytes + 63) / 64 * 64;
    tr_real *reals = aligned_alloc(64, size);
    if (!reals)
        ir_out_of_memory();
    memset(reals, 0, size);
    return reals;
}

/* ------------------------------------------------------------ functions -- */

#ifdef TR_NET_F64
static inline tr_real exp_real(tr_real x)
{
    return exp(x);
}
#else
/* e^x of x within [-87, 88]: 2^n e^r, with n whole, |r| <= ln(2) / 2 and the
 * Taylor polynomial of degree 6, whose error is below 1e-7 of the result.
 * Adding 1.5 * 2^23 rounds to a whole number, which is then in the low bits. */
static inline float exp_real(float x)
{
    const float shifted = x * 1.44269504f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    union {
        float f;
        uint32_t u;
    } bits = {shifted}, scale;
    scale.u = (bits.u + 127) << 23;
    return p * scale.f;
}
#endif

static inline tr_real within(tr_real x, tr_real bound)
{
    x = x < -bound ? -bound : x;
    return x > bound ? bound : x;
}

void tr_vector_sigmoid(int64_t n, const tr_real *x, tr_real *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = 1 / (1 + exp_real(-within(x[i], 87)));
}

/* tanh(x) = (1 - e) / (1 + e) with e = exp(-2x). */
void tr_vector_tanh(int64_t n, const tr_real *x, tr_real *y)
{
    for (int64_t i = 0; i < n; i++) {
        const tr_real e = exp_real(-2 * within(x[i], 20));
        y[i] = (1 - e) / (1 + e);
    }
}

/* ---------------------------------------------------------------- arrays -- */

void tr_column_sums(int64_t rows, int64_t n, const tr_real *a, tr_real *sum)
{
    memset(sum, 0, (size_t)n * sizeof(*sum));
    for (int64_t r = 0; r < rows; r++, a += n)
        for (int64_t j = 0; j < n; j++)
            sum[j] += a[j];
}

void tr_fill_rows(int64_t rows, int64_t n, const tr_real *row, tr_real *y)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy(y + r * n, row, (size_t)n * sizeof(*y));
}

void tr_swap_leads(int64_t a, int64_t n, int64_t b, const tr_real *x,
                   tr_real *y)
{
    for (int64_t r = 0; r < n; r++)
        for (int64_t i = 0; i < a; i++)
            memcpy(y + (r * a + i) * b, x + (i * n + r) * b,
                   (size_t)b * sizeof(*y));
}

/* --------------------------------------------------------------- drawing -- */

double tr_draw_even(uint64_t seed, uint64_t i)
{
    return (double)(int64_t)(ir_random(seed, i) >> 11) * 0x1p-52 - 1;
}

void tr_draw_reals(uint64_t seed, double most, int64_t n, tr_real *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (tr_real)(most * tr_draw_even(seed, (uint64_t)i));
}
