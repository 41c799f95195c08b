/* output.c: what commands write, and the memory they ask for by numbers that
 * the user gave.
 *
 * A result file appears whole or not at all. What is no regular file (a
 * terminal, a pipe, /dev/null) cannot be renamed over and is written to.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The length of the directory's part of a path, with its slash. */
static int directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (int)(slash - path) + 1 : 0;
}

static bool fail(struct ir_diag *diag, const char *path, int error)
{
    return ir_error(diag, ir_loc_file(path), "%s",
                    error ? strerror(error) : "could not be written");
}

/* A name beside `path` that no file should have; `i` numbers the attempts. */
static char *name_beside(const char *path, unsigned i)
{
    const int directory = directory_length(path);
    const size_t size = strlen(path) + 48;
    char *name = ir_realloc_array(NULL, size, 1);
    snprintf(name, size, "%.*s.%s.%ld.%u", directory, path, path + directory,
             (long)getpid(), i);
    return name;
}

static bool is_link(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

/* Where a symbolic link leads, to be freed. Links that lead to no name stay:
 * /dev/stdout may be one, to a file that has no name any more. */
static char *resolved(const char *path)
{
    char *target = is_link(path) ? realpath(path, NULL) : NULL;
    if (target)
        return target;
    const size_t size = strlen(path) + 1;
    return memcpy(ir_realloc_array(NULL, size, 1), path, size);
}

enum { attempts = 1000 };

/* A new file beside `path`. Its mode is what a plain open gives, which is why
 * it is not mkstemp's. */
static int open_beside(const char *path, char **temporary)
{
    for (unsigned i = 0; i < attempts; i++) {
        *temporary = name_beside(path, i);
        const int fd = open(*temporary,
                            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST || i + 1 == attempts)
            return fd;
        free(*temporary);
    }
    return -1;
}

static void put_descriptor(char name[64], int fd)
{
    snprintf(name, 64, "/proc/self/fd/%d", fd);
}

/* A new file in the folder of `path` that has no name, so that nothing is left
 * of it however this process ends; -1 where the file system has none such. */
static int open_nameless(const char *path)
{
    char name[64];
    char *folder = ir_realloc_array(NULL, strlen(path) + 3, 1);
    snprintf(folder, strlen(path) + 3, "%.*s.", directory_length(path), path);
    int fd = open(folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    free(folder);
    put_descriptor(name, fd);
    if (fd >= 0 && access(name, F_OK) != 0) { /* no /proc to name it by */
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool give_name(struct cli_output *output, struct ir_diag *diag)
{
    char name[64];
    put_descriptor(name, fileno(output->file));
    for (unsigned i = 0; i < attempts; i++) {
        output->temporary = name_beside(output->path, i);
        if (linkat(AT_FDCWD, name, AT_FDCWD, output->temporary,
                   AT_SYMLINK_FOLLOW) == 0) {
            output->nameless = false;
            return true;
        }
        free(output->temporary);
        output->temporary = NULL;
        if (errno != EEXIST)
            break;
    }
    return fail(diag, output->path, errno);
}

/* Opens output->path. */
static int open_path(struct cli_output *output)
{
    struct stat st;
    const char *path = output->path;
    const bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    if (there && (!S_ISREG(st.st_mode) || is_link(path)))
        return open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    const int fd = open_nameless(path);
    output->nameless = fd >= 0;
    return fd >= 0 ? fd : open_beside(path, &output->temporary);
}

bool cli_output_open(struct cli_output *output, const char *path,
                     struct ir_diag *diag)
{
    *output = (struct cli_output){0};
    if (!path || !strcmp(path, "-")) {
        output->file = stdout;
        return true;
    }
    output->path = resolved(path);
    const int fd = open_path(output);
    output->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (output->file)
        return true;
    fail(diag, path, errno);
    if (fd >= 0)
        close(fd);
    cli_output_abandon(output);
    return false;
}

static const char *shown_path(const struct cli_output *output)
{
    return output->path ? output->path : "standard output";
}

bool cli_output_good(const struct cli_output *output, struct ir_diag *diag)
{
    return !ferror(output->file) || fail(diag, shown_path(output), errno);
}

/* Puts a whole file under its name. */
static bool commit(struct cli_output *output, struct ir_diag *diag)
{
    struct cli_signals signals;
    cli_signals_hold(&signals);
    bool good = !output->nameless || give_name(output, diag);
    if (fclose(output->file) != 0 && good)
        good = fail(diag, output->path, errno);
    output->file = NULL;
    if (good && output->temporary) {
        good = ir_file_commit(output->temporary, output->path, diag);
        if (good) {
            free(output->temporary);
            output->temporary = NULL;
        }
    }
    cli_output_abandon(output);
    cli_signals_release(&signals);
    return good;
}

bool cli_output_close(struct cli_output *output, struct ir_diag *diag)
{
    bool good = cli_output_good(output, diag);
    if (good && fflush(output->file) != 0)
        good = fail(diag, shown_path(output), errno);
    if (output->file == stdout) {
        /* Said once: main() would say it again. */
        if (!good)
            clearerr(stdout);
        return good;
    }
    if (good)
        return commit(output, diag);
    cli_output_abandon(output);
    return false;
}

void cli_output_abandon(struct cli_output *output)
{
    if (output->file && output->file != stdout)
        fclose(output->file);
    output->file = NULL;
    if (output->temporary)
        unlink(output->temporary);
    free(output->temporary);
    free(output->path);
    output->temporary = output->path = NULL;
}

/* --------------------------------------------------------------- paths -- */

bool cli_is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

bool cli_can_write(const char *path, struct ir_diag *diag)
{
    struct stat st;
    if (stat(path, &st) == 0 && (!S_ISREG(st.st_mode) || is_link(path)))
        return ir_error(diag, ir_loc_file(path), "%s",
                        S_ISDIR(st.st_mode) ? "a directory, not a file"
                                            : "not a regular file");
    char *temporary;
    const int fd = open_beside(path, &temporary);
    const int error = errno;
    if (fd >= 0) {
        unlink(temporary);
        close(fd);
    }
    free(temporary);
    return fd >= 0 || fail(diag, path, error);
}

const char *cli_resolve(struct ir_arena *arena, const char *path)
{
    char *target = resolved(strcmp(path, "-") ? path : "/dev/stdout");
    const char *copy = ir_strdup(arena, target);
    free(target);
    return copy;
}

void cli_signals_hold(struct cli_signals *signals)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_BLOCK, &held, &signals->before);
}

void cli_signals_release(const struct cli_signals *signals)
{
    sigprocmask(SIG_SETMASK, &signals->before, NULL);
}

int64_t cli_file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

const char *cli_size_text(int64_t bytes, char text[32])
{
    static const char *const unit[] = {"KB", "MB", "GB"};
    double size = (double)bytes;
    int i = -1;
    while (size >= 1000 && i < CLI_COUNT(unit) - 1) {
        size /= 1000;
        i++;
    }
    if (i < 0)
        snprintf(text, 32, "%d bytes", (int)bytes);
    else
        snprintf(text, 32, "%.1f %s", size, unit[i]);
    return text;
}

void *cli_alloc(uint64_t n, uint64_t size, const char *what,
                struct ir_diag *diag)
{
    const uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) *
                             (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t bytes;
    void *memory = NULL;
    if (!__builtin_mul_overflow(n, size, &bytes) && bytes <= machine)
        memory = calloc(bytes ? bytes : 1, 1);
    if (!memory)
        ir_error(diag, ir_loc_file(NULL),
                 "not enough memory for %llu %s of %llu bytes (this machine "
                 "has %llu bytes)", (unsigned long long)n, what,
                 (unsigned long long)size, (unsigned long long)machine);
    return memory;
}

int cli_finish(struct ir_diag *diag, int code)
{
    ir_diag_print(diag, stderr);
    ir_diag_release(diag);
    return code;
}
