/* test_file.c: files are mapped whole, and appear whole or not at all. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/treenail-test-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[2][200];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    return path[turn];
}

static int count_files(void)
{
    DIR *dir = opendir(folder);
    int n = -2; /* . and .. */
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void check_bytes(const char *name, const char *bytes, size_t n)
{
    struct ir_diag diag;
    struct ir_file file;
    ir_diag_init(&diag);
    assert_true(ir_file_open(&file, path_of(name), &diag));
    assert_int_equal(file.size, n);
    assert_memory_equal(file.data, bytes, n);
    ir_file_close(&file);
    assert_null(file.data);
    ir_diag_release(&diag);
}

static void put(const char *name, const char *bytes, size_t n)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    assert_true(ir_file_write(path_of(name), bytes, n, &diag));
    assert_int_equal(diag.n_messages, 0);
    ir_diag_release(&diag);
}

/* The message, without the folder; the caller frees it. */
static char *refusal(bool ok, struct ir_diag *diag)
{
    assert_false(ok);
    assert_int_equal(diag->n_messages, 1);
    const char *said = diag->message[0];
    assert_memory_equal(said, folder, strlen(folder));
    char *copy = strdup(said + strlen(folder) + 1);
    ir_diag_release(diag);
    return copy;
}

static char *open_refusal(const char *name)
{
    struct ir_diag diag;
    struct ir_file file;
    ir_diag_init(&diag);
    return refusal(ir_file_open(&file, path_of(name), &diag), &diag);
}

static char *write_refusal(const char *name)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    return refusal(ir_file_write(path_of(name), "new", 3, &diag), &diag);
}

static void check_said(char *said, const char *want)
{
    assert_string_equal(said, want);
    free(said);
}

static void what_is_written_is_read(void **state)
{
    char *large = malloc(1 << 20);
    (void)state;
    for (size_t i = 0; i < 1 << 20; i++)
        large[i] = (char)ir_random(1, i);
    put("a", "", 0);
    check_bytes("a", "", 0);
    put("a", "one\0two", 7);
    check_bytes("a", "one\0two", 7);
    put("a", large, 1 << 20);
    check_bytes("a", large, 1 << 20);
    put("a", "x", 1);
    check_bytes("a", "x", 1);
    assert_int_equal(count_files(), 1);
    free(large);
}

static void a_mapped_file_outlives_its_replacement(void **state)
{
    struct ir_diag diag;
    struct ir_file file;
    (void)state;
    ir_diag_init(&diag);
    put("a", "old", 3);
    assert_true(ir_file_open(&file, path_of("a"), &diag));
    put("a", "newer", 5);
    assert_memory_equal(file.data, "old", 3);
    check_bytes("a", "newer", 5);
    ir_file_close(&file);
    ir_diag_release(&diag);
}

static mode_t mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(path_of(name), &st), 0);
    return st.st_mode & 0777;
}

static void permissions(void **state)
{
    (void)state;
    const mode_t mask = umask(027);
    put("mode", "1", 1);
    assert_int_equal(mode_of("mode"), 0640);
    assert_int_equal(chmod(path_of("mode"), 0604), 0);
    put("mode", "2", 1);
    assert_int_equal(mode_of("mode"), 0604);
    umask(mask);
    unlink(path_of("mode"));
}

static void what_cannot_be_read(void **state)
{
    (void)state;
    check_said(open_refusal("none"),
               "none: cannot open: No such file or directory");
    check_said(open_refusal("."), ".: a directory, not a file");
    /* A FIFO without a writer must not be waited for. */
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    check_said(open_refusal("fifo"), "fifo: not a regular file");
    unlink(path_of("fifo"));
    /* A file with a hole: large, and no disk is used. */
    const int fd = open(path_of("huge"), O_CREAT | O_WRONLY, 0600);
    if (ftruncate(fd, (off_t)IR_MAX_FILE + 1) == 0)
        check_said(open_refusal("huge"),
                   "huge: 17179869185 bytes (the limit is 17179869184)");
    close(fd);
    unlink(path_of("huge"));
}

static void a_failure_leaves_the_old_file(void **state)
{
    struct rlimit old, small = {2, 2};
    struct ir_diag diag;
    (void)state;
    put("a", "old", 3);
    /* What is too large to write: no room on the disk looks the same. */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    char *said = write_refusal("a");
    setrlimit(RLIMIT_FSIZE, &old);
    check_said(said, "a: cannot write: File too large");
    check_bytes("a", "old", 3);
    assert_int_equal(count_files(), 1);
    check_said(write_refusal("none/a"),
               "none/a: cannot write: No such file or directory");
    assert_int_equal(mkdir(path_of("sub"), 0700), 0);
    check_said(write_refusal("sub"), "sub: is a directory");
    /* A temporary of someone else's that is not there. */
    ir_diag_init(&diag);
    char *temporary = strdup(path_of("temporary"));
    check_said(refusal(ir_file_commit(temporary, path_of("a"), &diag), &diag),
               "a: cannot write: No such file or directory");
    /* One that cannot be renamed is taken away. */
    put("temporary", "new", 3);
    ir_diag_init(&diag);
    check_said(refusal(ir_file_commit(temporary, path_of("sub"), &diag),
                       &diag), "sub: cannot write: Is a directory");
    assert_int_equal(access(temporary, F_OK), -1);
    free(temporary);
    rmdir(path_of("sub"));
    check_bytes("a", "old", 3);
    assert_int_equal(count_files(), 1);
}

static void what_is_no_file_is_written_to(void **state)
{
    struct ir_diag diag;
    (void)state;
    ir_diag_init(&diag);
    assert_true(ir_file_write("/dev/null", "x", 1, &diag));
    assert_int_equal(diag.n_messages, 0);
    assert_false(ir_file_write("/dev/full", "x", 1, &diag));
    assert_string_equal(diag.message[0], "/dev/full: cannot write: "
                        "No space left on device");
    ir_diag_release(&diag);
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void sha256(void **state)
{
    char hex[65];
    (void)state;
    ir_sha256("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb924"
                             "27ae41e4649b934ca495991b7852b855");
    ir_sha256("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223"
                             "b00361a396177a9cb410ff61f20015ad");
}

static int set_up(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(folder) ? 0 : -1;
}

static int clear_up(void **state)
{
    (void)state;
    unlink(path_of("a"));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_mapped_file_outlives_its_replacement),
        cmocka_unit_test(permissions),
        cmocka_unit_test(what_cannot_be_read),
        cmocka_unit_test(a_failure_leaves_the_old_file),
        cmocka_unit_test(what_is_no_file_is_written_to),
        cmocka_unit_test(sha256),
    };
    return cmocka_run_group_tests(tests, set_up, clear_up);
}
