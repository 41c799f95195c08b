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

/* A new file beside `path`. Its mode is what a plain open gives, which is why
 * it is not mkstemp's. */
static int open_beside(const char *path, char **temporary)
{
    const int directory = directory_length(path);
    const size_t size = strlen(path) + 48;
    *temporary = ir_realloc_array(NULL, size, 1);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(*temporary, size, "%.*s.%s.%ld.%u", directory, path,
                 path + directory, (long)getpid(), i);
        const int fd = open(*temporary,
                            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

bool cli_output_open(struct cli_output *output, const char *path,
                     struct ir_diag *diag)
{
    *output = (struct cli_output){.path = path};
    if (!path || !strcmp(path, "-")) {
        output->path = "standard output";
        output->file = stdout;
        return true;
    }
    struct stat st;
    const bool there = stat(path, &st) == 0;
    int fd = -1;
    if (there && S_ISDIR(st.st_mode))
        errno = EISDIR;
    else if (there && !S_ISREG(st.st_mode))
        fd = open(path, O_WRONLY | O_CLOEXEC);
    else
        fd = open_beside(path, &output->temporary);
    output->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (output->file)
        return true;
    fail(diag, path, errno);
    if (fd >= 0)
        close(fd);
    cli_output_abandon(output);
    return false;
}

bool cli_output_good(const struct cli_output *output, struct ir_diag *diag)
{
    return !ferror(output->file) || fail(diag, output->path, errno);
}

bool cli_output_close(struct cli_output *output, struct ir_diag *diag)
{
    bool good = cli_output_good(output, diag);
    if (good && fflush(output->file) != 0)
        good = fail(diag, output->path, errno);
    if (output->file == stdout) {
        /* Said once: main() would say it again. */
        if (!good)
            clearerr(stdout);
        return good;
    }
    if (fclose(output->file) != 0 && good)
        good = fail(diag, output->path, errno);
    output->file = NULL;
    if (good && output->temporary)
        good = ir_file_commit(output->temporary, output->path, diag);
    if (good) {
        free(output->temporary);
        output->temporary = NULL;
    }
    cli_output_abandon(output);
    return good;
}

void cli_output_abandon(struct cli_output *output)
{
    if (output->file && output->file != stdout)
        fclose(output->file);
    output->file = NULL;
    if (output->temporary)
        unlink(output->temporary);
    free(output->temporary);
    output->temporary = NULL;
}

bool cli_can_write(const char *path, struct ir_diag *diag)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return ir_error(diag, ir_loc_file(path), "not a regular file");
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
