/* test_runtime.c: the loader, the self-test and threaded batches, on libraries
 * that fake_library.c makes. FAKE_DIR is where they are.
 */
#include "runtime/runtime.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *fake(const char *variant)
{
    static char path[4096];
    snprintf(path, sizeof(path), FAKE_DIR "/libfake_%s.so", variant);
    return path;
}

static void refused(const char *path, const char *because)
{
    struct rt_library library;
    assert_false(rt_library_open(&library, path));
    assert_null(library.model);
    assert_null(library.handle);
    if (!strstr(library.error, because))
        fail_msg("\"%s\" does not say \"%s\"", library.error, because);
}

/* ---------------------------------------------------------------- loader -- */

static void opens_and_proves(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("good")));
    assert_string_equal(library.model->name, "fake");
    assert_true(rt_selftest(&library));
    rt_library_close(&library);
    assert_null(library.model);
    rt_library_close(&library); /* again is no harm */
}

static void opens_without_directory(void **state)
{
    (void)state;
    struct rt_library library;
    char *here = getcwd(NULL, 0);
    assert_int_equal(chdir(FAKE_DIR), 0);
    assert_true(rt_library_open(&library, "libfake_good.so"));
    rt_library_close(&library);
    assert_int_equal(chdir(here), 0);
    free(here);
}

static void refuses_what_is_no_library(void **state)
{
    (void)state;
    refused("/nonexistent/lib.so", "No such file");
    refused(FAKE_DIR, "not a shared library");
    refused("/dev/null", "not a shared library");
    refused("/proc/self/exe", "not a");
    /* One of others: it is not even loaded. */
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], *libc = NULL;
    assert_non_null(maps);
    while (!libc && fgets(line, sizeof line, maps))
        if (strstr(line, "/libc.so") && (libc = strchr(line, '/')))
            libc[strcspn(libc, "\n")] = 0;
    fclose(maps);
    if (libc)
        refused(libc, "not a library that treenail compiled");
}

static void refuses_other_abis(void **state)
{
    (void)state;
    refused(fake("abi"), "ABI version 99 (this runtime has 2)");
    refused(fake("size"), "struct tn_model has 8 bytes");
    refused(fake("cpu"), "this CPU runs none of its ISA levels (the lowest "
                         "is low)");
    refused(fake("elements"), "columns have 2 elements (a row has 3)");
}

static void notices_a_wrong_golden_row(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("golden")));
    assert_false(rt_selftest(&library));
    assert_string_equal(library.error, "output value: golden row 1 of 3 "
                        "differs from the compiler's interpreter");
    rt_library_close(&library);
}

static void predicts_golden_rows_of_f32(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("narrow")));
    assert_true(library.model->golden_dtype == TN_F32);
    assert_true(tn_golden_number(library.model, 3) == 1.5);
    assert_true(rt_selftest(&library));
    rt_library_close(&library);
    assert_true(rt_library_open(&library, fake("narrow_golden")));
    assert_false(rt_selftest(&library));
    assert_string_equal(library.error, "output value: golden row 1 of 3 "
                        "differs from the compiler's interpreter");
    rt_library_close(&library);
}

static void takes_steps(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("good")));
    assert_null(library.stream);
    rt_library_close(&library);
    assert_true(rt_library_open(&library, fake("stream")));
    assert_int_equal(library.stream->n_steps, 2);
    assert_true(rt_selftest(&library));
    rt_library_close(&library);
    refused(fake("stream_size"), "struct tn_stream has 8 bytes");
    assert_true(rt_library_open(&library, fake("stream_share")));
    assert_false(rt_selftest(&library));
    assert_string_equal(library.error,
                        "output value: golden row 0 of 3, step by step, "
                        "differs from the compiler's interpreter");
    rt_library_close(&library);
}

/* A file's bytes, to be freed. */
static char *read_all(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *size = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*size);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

static void write_all(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

/* However short it was cut, a library is refused and nothing crashes. */
static void refuses_every_truncation(void **state)
{
    (void)state;
    size_t size;
    char *bytes = read_all(fake("good"), &size);
    char path[] = "/tmp/treenail-test-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t n = 0; n < size; n += 1 + n / 40) {
        write_all(path, bytes, n);
        refused(path, "");
    }
    unlink(path);
    free(bytes);
}

static void refuses_other_machines(void **state)
{
    (void)state;
    size_t size;
    char *bytes = read_all(fake("good"), &size);
    char path[] = "/tmp/treenail-test-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    bytes[18] = (char)243; /* e_machine: RISC-V */
    write_all(path, bytes, size);
    refused(path, "compiled for riscv64");
    bytes[18] = 22; /* S/390 */
    write_all(path, bytes, size);
    refused(path, "compiled for another machine");
    bytes[4] = 1; /* 32 bits */
    write_all(path, bytes, size);
    refused(path, "not a 64-bit");
    unlink(path);
    free(bytes);
}

/* Fields of the ELF header: e_type, and where the program headers are. */
static void refuses_other_kinds_of_file(void **state)
{
    (void)state;
    size_t size;
    char *bytes = read_all(fake("good"), &size);
    char path[] = "/tmp/treenail-test-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    memset(bytes + 32, 0xff, 8);
    write_all(path, bytes, size);
    refused(path, "damaged: no program headers");
    bytes[16] = 4; /* a core dump */
    write_all(path, bytes, size);
    refused(path, "not a shared library");
    bytes[16] = 1;
    write_all(path, bytes, size);
    refused(path, "an object file, not a shared library");
    unlink(path);
    free(bytes);
}

/* ----------------------------------------------------------------- batch -- */

enum { N = 20011 };

static void same_for_any_number_of_threads(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("good")));
    double *rows = malloc(2 * N * sizeof(*rows));
    double *out = malloc(N * sizeof(*out));
    for (int i = 0; i < 2 * N; i++)
        rows[i] = i * 0.25;
    static const int threads[] = {0, 1, 2, 3, 7, 16};
    for (size_t t = 0; t < sizeof(threads) / sizeof(threads[0]); t++) {
        memset(out, 0xff, N * sizeof(*out));
        assert_int_equal(rt_predict(library.model, 0, TN_F64, rows, N, 2, 1,
                                    out, threads[t]), TN_OK);
        for (int r = 0; r < N; r++)
            assert_true(out[r] == 2 * rows[2 * r] + rows[2 * r + 1]);
    }
    free(rows);
    free(out);
    rt_library_close(&library);
}

static void takes_columns_and_backward_rows(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("good")));
    float *rows = malloc(2 * N * sizeof(*rows));
    int32_t *out = malloc(2 * N * sizeof(*out));
    for (int i = 0; i < N; i++) {
        rows[i] = (float)i;
        rows[N + i] = N / 2;
    }
    assert_int_equal(rt_predict(library.model, 1, TN_F32, rows, N, 1, N, out,
                                3), TN_OK);
    for (int r = 0; r < N; r++) {
        assert_int_equal(out[2 * r], r > N / 2);
        assert_int_equal(out[2 * r + 1], r < N / 2);
    }
    assert_int_equal(rt_predict(library.model, 1, TN_F32, rows + N - 1, N, -1,
                                N, out, 3), TN_OK);
    for (int r = 0; r < N; r++)
        assert_int_equal(out[2 * r], N - 1 - r > N / 2);
    free(rows);
    free(out);
    rt_library_close(&library);
}

static void reports_what_is_wrong(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("good")));
    const double rows[2] = {1, 2};
    double out = 7;
    assert_int_equal(rt_predict(library.model, 9, TN_F64, rows, 1, 2, 1, &out,
                                1), TN_BAD_OUTPUT);
    assert_int_equal(rt_predict(library.model, 0, TN_I32, rows, 1, 2, 1, &out,
                                1), -1);
    assert_int_equal(rt_predict(library.model, 0, TN_F64, rows, 0, 2, 1, &out,
                                4), TN_OK);
    assert_true(out == 7);
    rt_library_close(&library);
}

/* Batches of all sizes through one pool; none is told of work that it is not
 * wanted for. */
static void pool_serves_batch_after_batch(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("good")));
    struct tn_model heavy = *library.model; /* worth all threads */
    heavy.batch_ns = 1000000;
    struct rt_pool *pool = rt_pool_new(4);
    double *rows = malloc(2 * N * sizeof(*rows));
    double *out = malloc(N * sizeof(*out));
    assert_non_null(pool);
    for (int i = 0; i < 2 * N; i++)
        rows[i] = i * 0.25;
    static const uint64_t sizes[] = {0, 1, 63, 64, 65, 127, 256, 1000, 4097, N};
    for (int i = 0; i < 300; i++) {
        const uint64_t n = sizes[i % 10];
        const struct tn_model *m = i % 3 ? &heavy : library.model;
        memset(out, 0xff, N * sizeof(*out));
        assert_int_equal(rt_pool_predict(pool, m, 0, TN_F64, rows, n, 2, 1,
                                         out), TN_OK);
        for (uint64_t r = 0; r < n; r++)
            assert_true(out[r] == 2 * rows[2 * r] + rows[2 * r + 1]);
        if (i % 100 == 99)
            usleep(1000); /* threads fall asleep */
    }
    rt_pool_free(pool);
    rt_pool_free(NULL);
    free(rows);
    free(out);
    rt_library_close(&library);
}

struct caller {
    struct rt_pool *pool;
    const struct tn_model *model;
    double *rows, out[500];
    bool good;
};

static void *call_often(void *argument)
{
    struct caller *c = argument;
    c->good = true;
    for (int i = 0; i < 50; i++) {
        memset(c->out, 0xff, sizeof(c->out));
        c->good = c->good &&
                  rt_pool_predict(c->pool, c->model, 0, TN_F64, c->rows, 500,
                                  2, 1, c->out) == TN_OK;
        for (int r = 0; r < 500; r++)
            c->good = c->good &&
                      c->out[r] == 2 * c->rows[2 * r] + c->rows[2 * r + 1];
    }
    return NULL;
}

static void pool_takes_turns(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("good")));
    struct tn_model heavy = *library.model;
    heavy.batch_ns = 1000000;
    double rows[1000];
    for (int i = 0; i < 1000; i++)
        rows[i] = i;
    static struct caller callers[3];
    pthread_t thread[3];
    struct rt_pool *pool = rt_pool_new(3);
    assert_non_null(pool);
    for (int i = 0; i < 3; i++) {
        callers[i] = (struct caller){
            .pool = pool, .model = &heavy, .rows = rows};
        assert_int_equal(pthread_create(&thread[i], NULL, call_often,
                                        &callers[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        assert_true(callers[i].good);
    }
    rt_pool_free(pool);
    rt_library_close(&library);
}

static void pool_reports_what_is_wrong(void **state)
{
    (void)state;
    struct rt_library library;
    assert_true(rt_library_open(&library, fake("good")));
    struct tn_model model = *library.model;
    struct rt_pool *pool = rt_pool_new(2);
    const double rows[2] = {1, 2};
    double out;
    assert_non_null(pool);
    assert_int_equal(rt_pool_predict(pool, &model, 9, TN_F64, rows, 1, 2, 1,
                                     &out), TN_BAD_OUTPUT);
    assert_int_equal(rt_pool_predict(pool, &model, 0, TN_I32, rows, 1, 2, 1,
                                     &out), -1);
    model.scratch_bytes = UINT64_MAX; /* more than there is */
    assert_int_equal(rt_pool_predict(pool, &model, 0, TN_F64, rows, 1, 2, 1,
                                     &out), -1);
    model.scratch_bytes = library.model->scratch_bytes;
    assert_int_equal(rt_pool_predict(pool, &model, 0, TN_F64, rows, 1, 2, 1,
                                     &out), TN_OK);
    assert_true(out == 4);
    rt_pool_free(pool);
    rt_library_close(&library);
}

static void scratch_is_aligned(void **state)
{
    (void)state;
    struct tn_model model = {.scratch_bytes = 1};
    void *scratch = rt_scratch_new(&model);
    assert_non_null(scratch);
    assert_int_equal((uintptr_t)scratch % TN_SCRATCH_ALIGN, 0);
    free(scratch);
    model.scratch_bytes = 0;
    assert_null(rt_scratch_new(&model));
    model.scratch_bytes = UINT64_MAX;
    assert_null(rt_scratch_new(&model));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_proves),
        cmocka_unit_test(opens_without_directory),
        cmocka_unit_test(refuses_what_is_no_library),
        cmocka_unit_test(refuses_other_abis),
        cmocka_unit_test(notices_a_wrong_golden_row),
        cmocka_unit_test(predicts_golden_rows_of_f32),
        cmocka_unit_test(takes_steps),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_other_machines),
        cmocka_unit_test(refuses_other_kinds_of_file),
        cmocka_unit_test(same_for_any_number_of_threads),
        cmocka_unit_test(takes_columns_and_backward_rows),
        cmocka_unit_test(reports_what_is_wrong),
        cmocka_unit_test(pool_serves_batch_after_batch),
        cmocka_unit_test(pool_takes_turns),
        cmocka_unit_test(pool_reports_what_is_wrong),
        cmocka_unit_test(scratch_is_aligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
