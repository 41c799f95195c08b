/* test_hostile.c: damaged models, of every format the same damage.
 *
 *   test_hostile [--all] [--text] FILE...
 *
 * Each sample file is cut off, has bytes, words and numbers changed, and pieces
 * taken out or put in twice. Whatever comes of it is imported: either there is
 * one message, which begins with the file's name, or a module that verifies.
 * Nothing may crash, and no import may take more than the stack, the memory and
 * the seconds below. --all tries every place of a file instead of some hundred;
 * --text does it to the sample's text form (.tnir).
 *
 * What a format alone can get wrong is in cases/frontend; what nobody thought
 * of is for the fuzzers.
 */
#include "frontend/frontend.h"
#include "fuzz/fuzz.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
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
    SOME = SANITIZED ? 150 : 400, /* places of each kind */
    CUTS = SANITIZED ? 1000 : 1 << 20
};

/* What is done at one place of a file. */
enum damage {
    CUT,      /* the file ends there */
    BYTE,     /* another byte */
    WORD,     /* four other bytes */
    NUMBER,   /* of digits: another number */
    TAKE_OUT, /* a piece of up to 64 bytes */
    TWICE,    /* such a piece */
    N_DAMAGES
};

static const char *const damage_names[N_DAMAGES] = {
    "cut off", "byte", "word", "number", "taken out", "twice"};

struct sample {
    const char *path, *name;
    const uint8_t *data;
    size_t size;
    bool all;
    uint8_t *damaged; /* room for the file and 64 bytes */
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
    if (s)
        fprintf(stderr, "%s: %s at %zu, variant %d: not survived\n", s->path,
                damage_names[s->damage], s->place, s->variant);
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

static void try_bytes(struct sample *s, size_t size)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
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
    s->n_tried++;
    s->n_models += module != NULL;
    s->n_whole += module != NULL && s->damage == CUT;
    ir_module_free(module);
    ir_diag_release(&diag);
    free(bytes);
}

/* One after the other of the variants at a place that is not the only one, so
 * that each is tried somewhere; all of them with --all. */
static void try_place(struct sample *s, size_t k)
{
    enum { most = 9 };
    int found = 0;
    for (int i = 0; i < most && (s->all || found == 0); i++) {
        s->variant = s->all ? i : (int)((k + (size_t)i) % most);
        const size_t size = damage(s);
        found += size > 0;
        if (size)
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

static void *try_sample(void *argument)
{
    struct sample *s = argument;
    trying = s;
    for (s->damage = 0; s->damage < N_DAMAGES; s->damage++) {
        size_t n = 0;
        for (size_t p = next_place(s, 0); p < s->size; p = next_place(s, p + 1))
            n++;
        const size_t most = s->damage == CUT ? CUTS : SOME;
        const size_t step = s->all || n <= most ? 1 : n / most;
        size_t k = 0;
        for (size_t p = next_place(s, 0); p < s->size;
             p = next_place(s, p + 1), k++) {
            s->place = p;
            if (k % step == 0)
                try_place(s, k / step);
        }
    }
    trying = NULL;
    return NULL;
}

/* ---------------------------------------------------------------- main -- */

/* In a thread with a small stack. */
static bool run(struct sample *s)
{
    pthread_attr_t attributes;
    pthread_t thread;
    s->damaged = ir_realloc_array(NULL, s->size + 64, 1);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)STACK_KB << 10);
    const bool good =
        pthread_create(&thread, &attributes, try_sample, s) == 0 &&
        pthread_join(thread, NULL) == 0;
    pthread_attr_destroy(&attributes);
    free(s->damaged);
    printf("%s: %" PRId64 " damaged files, %" PRId64 " of them still models "
           "(%" PRId64 " cut off); the slowest import took %.1f ms\n",
           s->name, s->n_tried, s->n_models, s->n_whole, s->slowest * 1e3);
    return good;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The sample itself must be a model. */
static bool run_file(const char *path, bool all, bool text)
{
    struct ir_diag diag;
    struct ir_file file;
    struct ir_text printed;
    ir_diag_init(&diag);
    ir_text_init(&printed);
    struct ir_module *module = fe_import(path, &diag);
    bool good = module && ir_file_open(&file, path, &diag);
    if (good) {
        struct sample s = {.path = path, .name = base_name(path),
                           .data = file.data, .size = file.size, .all = all};
        if (text) {
            ir_print(module, &printed);
            s.data = (const uint8_t *)printed.data;
            s.size = printed.length;
            s.name = "text.tnir";
        }
        good = run(&s);
        ir_file_close(&file);
    }
    ir_diag_print(&diag, stderr);
    ir_module_free(module);
    ir_text_release(&printed);
    ir_diag_release(&diag);
    return good;
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
    bool all = false, text = false, good = argc > 1;
    set_limits();
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--all"))
            all = true;
        else if (!strcmp(argv[i], "--text"))
            text = true;
        else
            good = run_file(argv[i], all, text) && good;
    }
    return good ? 0 : 1;
}
