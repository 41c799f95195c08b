/* link.c: objects -> shared objects and archives, by LLVM's own tools. They
 * are spawned by argv, never through a shell, and what they write becomes
 * visible only when it is whole. */
#include "backend/llvm.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The tool in LLVM's own folder, else whatever PATH has under its name. */
static void tool_path(const char *tool, char path[512])
{
    snprintf(path, 512, "%s/%s", BE_LLVM_TOOLS, tool);
    if (access(path, X_OK) != 0)
        snprintf(path, 512, "%s", tool);
}

/* Reads what a tool said, for the message. */
static void read_tail(int fd, char *text, size_t size)
{
    size_t n = 0;
    ssize_t got;
    while ((got = read(fd, text + n, size - 1 - n)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || n + (size_t)got >= size - 1)
            break;
        n += (size_t)got;
    }
    while (n > 0 && text[n - 1] == '\n')
        n--;
    text[n] = '\0';
}

static bool run(const char *const *argv, struct ir_diag *diag)
{
    char path[512], said[2048];
    FILE *log = tmpfile();
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = 0;
    if (!log)
        return ir_error(diag, ir_loc_file(NULL),
                        "cannot make a temporary file: %s", strerror(errno));
    tool_path(argv[0], path);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(log), 1);
    posix_spawn_file_actions_adddup2(&actions, fileno(log), 2);
    const int error = posix_spawnp(&pid, path, &actions, NULL,
                                   (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        fclose(log);
        return ir_error(diag, ir_loc_file(NULL), "cannot run %s: %s", path,
                        strerror(error));
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    const bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!ok) {
        lseek(fileno(log), 0, SEEK_SET);
        read_tail(fileno(log), said, sizeof(said));
        ir_error(diag, ir_loc_file(NULL), "%s failed: %s", argv[0], said);
    }
    fclose(log);
    return ok;
}

/* A folder of our own beside `path`, so that the last step is a rename. */
struct workshop {
    char folder[4096], object[4200], result[4200];
};

static bool workshop_open(struct workshop *w, const char *path,
                          const char *name, const char *suffix,
                          const void *object, size_t size,
                          struct ir_diag *diag)
{
    const char *slash = strrchr(path, '/');
    const int n = snprintf(w->folder, sizeof(w->folder), "%.*s.treenail-XXXXXX",
                           slash ? (int)(slash - path + 1) : 0, path);
    if (n < 0 || (size_t)n >= sizeof(w->folder))
        return ir_error(diag, ir_loc_file(path), "the path is too long");
    if (!mkdtemp(w->folder))
        return ir_error(diag, ir_loc_file(path), "cannot write beside it: %s",
                        strerror(errno));
    snprintf(w->object, sizeof(w->object), "%s/%.60s.o", w->folder, name);
    snprintf(w->result, sizeof(w->result), "%s/%.60s.%s", w->folder, name,
             suffix);
    const bool good = ir_file_write(w->object, object, size, diag);
    if (!good)
        rmdir(w->folder);
    return good;
}

/* Moves the result out and leaves nothing behind. */
static bool workshop_close(struct workshop *w, const char *path, bool ok,
                           struct ir_diag *diag)
{
    if (ok)
        ok = ir_file_commit(w->result, path, diag);
    unlink(w->object);
    unlink(w->result);
    rmdir(w->folder);
    return ok;
}

bool be_link_shared(const void *object, size_t size, const char *name,
                    const char *path, struct ir_diag *diag)
{
    struct workshop w;
    char soname[300], alias[700];
    if (!workshop_open(&w, path, name, "so", object, size, diag))
        return false;
    const char *base = strrchr(path, '/');
    snprintf(soname, sizeof(soname), "-soname=%.255s", base ? base + 1 : path);
    /* The one name that a loader looks for, whatever the model's name is. */
    snprintf(alias, sizeof(alias), "--defsym=treenail_model=%.300s_model",
             name);
    const char *argv[] = {
        "ld.lld", "-shared", "-nostdlib", "--no-undefined", "-z", "now",
        "-z", "relro", "-z", "noexecstack", "--gc-sections",
        "--hash-style=gnu", "--build-id=none", "--strip-all",
        /* Its table names its own functions, also where another library of
         * the same name came first. */
        "-Bsymbolic", soname, alias,
        "-o", w.result, w.object, NULL};
    const bool ok = run(argv, diag);
    return workshop_close(&w, path, ok, diag);
}

bool be_link_wasm(const void *object, size_t size, const char *name,
                  bool streams, int64_t stack_bytes, const char *path,
                  struct ir_diag *diag)
{
    static const char *const suffixes[] = {
        "predict_f32", "predict_f64", "predict_one_f32", "predict_one_f64",
        "model", "stream", "state_init", "step_f32", "step_f64", "steps_f32",
        "steps_f64",
        "state_start_f32", "state_start_f64"};
    enum { n_suffixes = sizeof(suffixes) / sizeof(suffixes[0]), n_always = 5 };
    const char *argv[24] = {"wasm-ld", "--no-entry", "--strip-all",
                            "--export=__heap_base"};
    char stack[40], names[n_suffixes][340];
    struct workshop w;
    int n = 4;
    if (!workshop_open(&w, path, name, "wasm", object, size, diag))
        return false;
    for (int i = 0; i < (streams ? n_suffixes : n_always); i++) {
        snprintf(names[i], sizeof(names[i]), "--export-if-defined=%.300s_%s",
                 name, suffixes[i]);
        argv[n++] = names[i];
    }
    snprintf(stack, sizeof(stack), "stack-size=%lld",
             (long long)(stack_bytes + 15) / 16 * 16);
    argv[n++] = "-z";
    argv[n++] = stack;
    argv[n++] = "-o";
    argv[n++] = w.result;
    argv[n++] = w.object;
    return workshop_close(&w, path, run(argv, diag), diag);
}

bool be_archive(const void *object, size_t size, const char *name,
                const char *path, struct ir_diag *diag)
{
    struct workshop w;
    if (!workshop_open(&w, path, name, "a", object, size, diag))
        return false;
    const char *argv[] = {"llvm-ar", "rcsD", w.result, w.object, NULL};
    return workshop_close(&w, path, run(argv, diag), diag);
}
