/* test_hostile.c: damaged models, of every format the same damage.
 *
 *   test_hostile [--all | --megabytes=N] [--text] [--any] FILE...
 *
 * Each sample file is cut off, has bytes, words and numbers changed, and
 * pieces taken out or put in twice; and its parts are exchanged, renamed and
 * taken out, see fuzz/mutate.h. Whatever comes of it is imported: either there
 * is one message, which begins with the file's name, or a module that verifies.
 * Nothing may crash, and no import may take more than the stack, the memory and
 * the seconds below.
 *
 * All samples together get so many megabytes to import: a small one is damaged
 * at every place in every way, a larger one at places equally far apart. --all
 * does it everywhere; --text to the sample's text form (.tnir). FILE may be a
 * folder of folders that have a model.onnx each. A sample must be a model, but
 * for --any. HOSTILE_SAVE=FILE in the environment gets what was not survived.
 *
 * What a format alone can get wrong is in cases/frontend; what nobody thought
 * of is for the fuzzers.
 */
#include "frontend/frontend.h"
#include "fuzz/fuzz.h"
#include "fuzz/mutate.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum {
    STACK_KB = SANITIZED ? 2048 : 256,
    MEMORY_MB = 512, /* of addresses, where there is no sanitizer */
    SECONDS = SANITIZED ? 20 : 2,
    BUDGET_MB = SANITIZED ? 100 : 400, /* to import, of all samples */
    ONCE = 3000, /* bytes' worth of time that every import takes */
    MAX_SAMPLES = 4096,
    ROOM = 1 << 16 /* that parts may add */
};

/* What is done at one place of a file. */
enum damage {
    CUT,      /* the file ends there */
    BYTE,     /* another byte */
    WORD,     /* four other bytes */
    NUMBER,   /* of digits: another number */
    TAKE_OUT, /* a piece of up to 64 bytes */
    TWICE,    /* such a piece */
    PARTS,    /* the place is a seed */
    N_DAMAGES
};

static const char *const damage_names[N_DAMAGES] = {
    "cut off", "byte", "word", "number", "taken out", "twice", "parts"};
static const int n_variants[N_DAMAGES] = {1, 7, 4, 9, 4, 4, 1};

struct sample {
    const char *path, *name;
    const uint8_t *data;
    size_t size;
    double budget;    /* bytes that it may still import */
    uint8_t *damaged; /* the file's size and ROOM */
    size_t damaged_size;
    enum damage damage;
    size_t place;
    int variant;
    int64_t n_tried, n_models, n_whole; /* whole: models that were cut off */
    double slowest;
};

/* For the handlers below: what is being tried, or NULL. */
static const struct sample *volatile trying;

static void say_where(void)
{
    const struct sample *s = trying;
    const char *save = getenv("HOSTILE_SAVE");
    if (!s)
        return;
    fprintf(stderr, "%s: %s at %zu, variant %d: not survived\n", s->path,
            damage_names[s->damage], s->place, s->variant);
    FILE *file = save ? fopen(save, "wb") : NULL;
    if (file) {
        fwrite(s->damaged, 1, s->damaged_size, file);
        fclose(file);
    }
}

static void on_signal(int signal_number)
{
    say_where();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* -------------------------------------------------------------- damage -- */

static bool is_digit(uint8_t b)
{
    return b >= '0' && b <= '9';
}

static size_t put(struct sample *s, size_t from, size_t to, const void *bytes,
                  size_t n)
{
    memcpy(s->damaged, s->data, from);
    memcpy(s->damaged + from, bytes, n);
    memcpy(s->damaged + from + n, s->data + to, s->size - to);
    return from + n + s->size - to;
}

static size_t put_byte(struct sample *s)
{
    const uint8_t b = s->data[s->place];
    const uint8_t bytes[] = {0, 0xff, b ^ 1, b ^ 0x80, '9', '"', '\n'};
    if (s->variant >= (int)sizeof bytes)
        return 0;
    return put(s, s->place, s->place + 1, &bytes[s->variant], 1);
}

static size_t put_word(struct sample *s)
{
    static const uint32_t words[] = {UINT32_MAX, INT32_MAX, 0x80000000, 0};
    const size_t end = s->place + 4 < s->size ? s->place + 4 : s->size;
    if (s->variant >= 4)
        return 0;
    return put(s, s->place, end, &words[s->variant], end - s->place);
}

static size_t put_number(struct sample *s)
{
    static const char *const numbers[] = {
        "-1", "0", "2147483647", "4294967296", "99999999999999999999",
        "1e999", "nan", "0.5", ""};
    size_t end = s->place;
    if (!is_digit(s->data[end]) || (end && is_digit(s->data[end - 1])) ||
        s->variant >= (int)(sizeof numbers / sizeof *numbers))
        return 0;
    while (end < s->size && is_digit(s->data[end]))
        end++;
    return put(s, s->place, end, numbers[s->variant],
               strlen(numbers[s->variant]));
}

/* Damages the file; the new size, or 0 when there is no such variant here. */
static size_t damage(struct sample *s)
{
    static const size_t pieces[] = {1, 3, 8, 64};
    const size_t left = s->size - s->place;
    size_t piece = pieces[s->variant & 3];
    if (piece > left)
        piece = left;
    switch (s->damage) {
    case CUT:
        memcpy(s->damaged, s->data, s->place);
        return s->variant == 0 ? s->place : 0;
    case BYTE:
        return put_byte(s);
    case WORD:
        return put_word(s);
    case NUMBER:
        return put_number(s);
    case TAKE_OUT:
        return s->variant < 4 ? put(s, s->place, s->place + piece, "", 0) : 0;
    case TWICE:
        return s->variant < 4
                   ? put(s, s->place, s->place, s->data + s->place, piece)
                   : 0;
    case PARTS:
        memcpy(s->damaged, s->data, s->size);
        return mutate_model(s->damaged, s->size, s->size + ROOM,
                            (struct mutate_file){s->data, s->size}, s->place);
    case N_DAMAGES:
        break;
    }
    return 0;
}

/* ----------------------------------------------------------------- try -- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Of an import, in bytes. */
static double cost(const struct sample *s)
{
    return (double)s->size + ONCE;
}

static void try_bytes(struct sample *s, size_t size)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    s->damaged_size = size;
    /* Exactly as large, so that a sanitizer sees its end. */
    uint8_t *bytes = ir_realloc_array(NULL, size, 1);
    memcpy(bytes, s->damaged, size);
    const double begin = seconds();
    struct ir_module *module = fe_import_bytes(bytes, size, s->name, &diag);
    const double took = seconds() - begin;
    if (!module)
        fuzz_check_refusal(&diag, s->name);
    else
        CHECK(ir_verify(module, &diag));
    CHECK(took < SECONDS);
    s->slowest = took > s->slowest ? took : s->slowest;
    s->budget -= cost(s);
    s->n_tried++;
    s->n_models += module != NULL;
    s->n_whole += module != NULL && s->damage == CUT;
    ir_module_free(module);
    ir_diag_release(&diag);
    free(bytes);
}

/* `n` of the variants at a place, each place beginning with another one. */
static void try_place(struct sample *s, int64_t k, int64_t n)
{
    const int most = n_variants[s->damage];
    for (int i = 0; i < n && i < most; i++) {
        s->variant = (int)((k * n + i) % most);
        const size_t size = damage(s);
        if (size || s->damage == CUT)
            try_bytes(s, size);
    }
}

/* The next place where there is something of the kind. */
static size_t next_place(const struct sample *s, size_t place)
{
    if (s->damage == NUMBER)
        while (place < s->size && (!is_digit(s->data[place]) ||
                                   (place && is_digit(s->data[place - 1]))))
            place++;
    return place;
}

/* All of a kind of damage, or as many as may be tried. */
static void try_damage(struct sample *s, double most)
{
    const double size = (double)s->size, variants = n_variants[s->damage];
    double n = 0, next = 0;
    most = fmax(most, 1);
    int64_t k = 0;
    for (size_t p = next_place(s, 0); p < s->size; p = next_place(s, p + 1))
        n++;
    if (s->damage == PARTS) /* as many as there are other changes */
        n = 8 * size;
    const double per_place = fmin(fmax(floor(most / n), 1), variants);
    const double step = fmax(n * per_place / most, 1);
    if (s->damage == PARTS) {
        for (s->place = 0; (double)s->place < n / step; s->place++)
            try_place(s, 0, 1);
        return;
    }
    double i = 0;
    for (size_t p = next_place(s, 0); p < s->size; p = next_place(s, p + 1)) {
        s->place = p;
        if (i++ < next)
            continue;
        next += step;
        try_place(s, k++, (int64_t)per_place);
    }
}

/* What a kind of damage leaves over is for the next ones; parts get half. */
static void *try_sample(void *argument)
{
    struct sample *s = argument;
    trying = s;
    for (s->damage = 0; s->damage < N_DAMAGES; s->damage++) {
        const int shares =
            s->damage == PARTS ? 1 : 2 * (PARTS - (int)s->damage);
        try_damage(s, s->budget / shares / cost(s));
    }
    trying = NULL;
    return NULL;
}

/* ---------------------------------------------------------------- main -- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* In a thread with a small stack. */
static bool run(struct sample *s)
{
    pthread_attr_t attributes;
    pthread_t thread;
    s->damaged = ir_realloc_array(NULL, s->size + ROOM, 1);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)STACK_KB << 10);
    const bool good =
        pthread_create(&thread, &attributes, try_sample, s) == 0 &&
        pthread_join(thread, NULL) == 0;
    pthread_attr_destroy(&attributes);
    free(s->damaged);
    printf("%s: %" PRId64 " damaged files, %" PRId64 " of them still models "
           "(%" PRId64 " cut off); the slowest import took %.1f ms\n",
           base_name(s->name), s->n_tried, s->n_models, s->n_whole,
           s->slowest * 1e3);
    return good;
}

struct options {
    bool all, text, any;
    double budget; /* bytes to import, of the samples that are left */
    int n_samples; /* that are left */
};

/* The sample is a model, or any will do. */
static bool run_file(const char *path, struct options *o)
{
    struct ir_diag diag;
    struct ir_file file;
    struct ir_text printed;
    ir_diag_init(&diag);
    ir_text_init(&printed);
    struct ir_module *module = fe_import(path, &diag);
    bool good = (module || o->any) && ir_file_open(&file, path, &diag);
    if (good) {
        const double share =
            o->all ? INFINITY : fmax(o->budget / o->n_samples, 1);
        /* By its path, beside which other files of it are. */
        struct sample s = {.path = path, .name = path,
                           .data = file.data, .size = file.size,
                           .budget = share};
        if (o->text) {
            ir_print(module, &printed);
            s.data = (const uint8_t *)printed.data;
            s.size = printed.length;
            s.name = "text.tnir";
        }
        good = run(&s);
        o->budget -= share - s.budget;
        o->n_samples--;
        ir_file_close(&file);
    }
    if (!o->any)
        ir_diag_print(&diag, stderr);
    ir_module_free(module);
    ir_text_release(&printed);
    ir_diag_release(&diag);
    return good;
}

/* ------------------------------------------------------------- samples -- */

struct paths {
    int n;
    struct path {
        char name[512];
        off_t size;
    } at[MAX_SAMPLES];
};

static void add_path(struct paths *paths, const char *name)
{
    struct stat info;
    struct path *path = &paths->at[paths->n];
    if (paths->n == MAX_SAMPLES || stat(name, &info) != 0)
        return;
    snprintf(path->name, sizeof path->name, "%s", name);
    path->size = info.st_size;
    paths->n++;
}

static void add_paths(struct paths *paths, const char *name)
{
    char model[512];
    struct dirent *entry;
    DIR *folder = opendir(name);
    if (!folder) {
        add_path(paths, name);
        return;
    }
    while ((entry = readdir(folder)) != NULL) {
        const int n = snprintf(model, sizeof model, "%s/%s/model.onnx", name,
                               entry->d_name);
        if (entry->d_name[0] != '.' && n > 0 && (size_t)n < sizeof model)
            add_path(paths, model);
    }
    closedir(folder);
}

/* Small ones first, which leave something over. */
static int compare_paths(const void *a, const void *b)
{
    const struct path *x = a, *y = b;
    return x->size != y->size ? (x->size > y->size) - (x->size < y->size)
                              : strcmp(x->name, y->name);
}

static void set_limits(void)
{
    const rlim_t bytes = (rlim_t)MEMORY_MB << 20;
    const struct rlimit limit = {bytes, bytes};
    if (!SANITIZED)
        setrlimit(RLIMIT_AS, &limit);
    atexit(say_where); /* as when memory runs out */
    signal(SIGABRT, on_signal);
    if (!SANITIZED)
        signal(SIGSEGV, on_signal);
}

int main(int argc, char **argv)
{
    struct options o = {.budget = BUDGET_MB * 1e6};
    struct paths *paths = ir_realloc_array(NULL, 1, sizeof *paths);
    bool good = true;
    paths->n = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--all"))
            o.all = true;
        else if (!strcmp(argv[i], "--text"))
            o.text = true;
        else if (!strcmp(argv[i], "--any"))
            o.any = true;
        else if (!strncmp(argv[i], "--megabytes=", 12))
            o.budget = strtod(argv[i] + 12, NULL) * 1e6;
        else
            add_paths(paths, argv[i]);
    }
    set_limits();
    o.n_samples = paths->n;
    qsort(paths->at, (size_t)paths->n, sizeof *paths->at, compare_paths);
    for (int i = 0; i < paths->n; i++)
        good = run_file(paths->at[i].name, &o) && good;
    good = good && paths->n > 0;
    free(paths);
    return good ? 0 : 1;
}
