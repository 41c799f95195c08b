/* file.c: files in and out. A file that is read is mapped; a file that is
 * written appears whole or not at all. */
#include "ir/ir.h"

#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool system_error(struct ir_diag *diag, const char *path,
                         const char *what)
{
    return ir_error(diag, ir_loc_file(path), "%s: %s", what, strerror(errno));
}

static bool map(struct ir_file *file, int fd, struct ir_diag *diag)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return system_error(diag, file->path, "cannot read");
    if (!S_ISREG(st.st_mode))
        return ir_error(diag, ir_loc_file(file->path), "%s",
                        S_ISDIR(st.st_mode) ? "a directory, not a file"
                                            : "not a regular file");
    if ((uint64_t)st.st_size > IR_MAX_FILE)
        return ir_error(diag, ir_loc_file(file->path),
                        "%lld bytes (the limit is %zu)",
                        (long long)st.st_size, IR_MAX_FILE);
    file->size = (size_t)st.st_size;
    /* An empty file cannot be mapped. */
    if (file->size == 0) {
        file->data = (const uint8_t *)"";
        file->borrowed = true;
        return true;
    }
    void *data = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return system_error(diag, file->path, "cannot map");
    file->data = data;
    return true;
}

bool ir_file_open(struct ir_file *file, const char *path,
                  struct ir_diag *diag)
{
    *file = (struct ir_file){.path = path};
    /* O_NONBLOCK: opening a FIFO must not wait for its other end. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return system_error(diag, path, "cannot open");
    const bool ok = map(file, fd, diag);
    close(fd);
    return ok;
}

void ir_file_close(struct ir_file *file)
{
    if (file->data && !file->borrowed)
        munmap((void *)(uintptr_t)file->data, file->size);
    *file = (struct ir_file){0};
}

/* ----------------------------------------------------------------- writing */

static bool write_all(int fd, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

/* The folder's own entry has to reach the disk as well. Some file systems
 * cannot sync a folder: that is no error. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;
    const int fd = open(folder ? folder : ".", O_RDONLY | O_DIRECTORY);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

bool ir_file_commit(const char *temporary, const char *path,
                    struct ir_diag *diag)
{
    const int fd = open(temporary, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return system_error(diag, path, "cannot write");
    const bool synced = fsync(fd) == 0;
    close(fd);
    if (!synced || rename(temporary, path) < 0) {
        system_error(diag, path, "cannot write");
        unlink(temporary);
        return false;
    }
    sync_folder(path);
    return true;
}

/* Devices and pipes cannot be renamed over: they are written to. */
static bool write_special(const char *path, const void *bytes, size_t n,
                          struct ir_diag *diag)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return system_error(diag, path, "cannot write");
    bool ok = write_all(fd, bytes, n);
    if (!ok)
        system_error(diag, path, "cannot write");
    if (close(fd) < 0 && ok)
        ok = system_error(diag, path, "cannot write");
    return ok;
}

bool ir_file_write(const char *path, const void *bytes, size_t n,
                   struct ir_diag *diag)
{
    struct stat st;
    const bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode))
        return ir_error(diag, ir_loc_file(path), "is a directory");
    if (exists && !S_ISREG(st.st_mode))
        return write_special(path, bytes, n, diag);
    struct ir_text name;
    ir_text_init(&name);
    ir_text_printf(&name, "%s.tmp-XXXXXX", path);
    const int fd = mkostemp(name.data, O_CLOEXEC);
    bool ok = fd >= 0;
    if (ok) {
        const mode_t mask = umask(0);
        umask(mask);
        ok = write_all(fd, bytes, n) &&
             fchmod(fd, exists ? st.st_mode & 0777 : 0666 & ~mask) == 0;
        const int error = errno;
        close(fd);
        errno = error;
    }
    if (!ok) {
        system_error(diag, path, "cannot write");
        if (fd >= 0)
            unlink(name.data);
    } else {
        ok = ir_file_commit(name.data, path, diag);
    }
    ir_text_release(&name);
    return ok;
}

void ir_sha256(const void *bytes, size_t n, char hex[65])
{
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, bytes, n);
    SHA256End(&context, hex);
}
