/* library.c: loads a compiled library and proves it.
 *
 * The file is looked at before the system's loader sees it: a truncated file
 * would be mapped past its end and kill the process, one for another machine
 * would be refused in words that do not say so, and one that treenail did not
 * make would have its constructors run. The look also finds the model's name:
 * a library exports one data object, its `struct tn_model`.
 *
 * This is no protection against a file that means harm; loading runs its code.
 */
#include "runtime/runtime.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
#define HOST_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define HOST_MACHINE EM_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define HOST_MACHINE EM_RISCV
#else
#define HOST_MACHINE EM_NONE
#endif

__attribute__((format(printf, 2, 3)))
static bool fail(struct rt_library *library, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(library->error, sizeof(library->error), fmt, args);
    va_end(args);
    return false;
}

/* ----------------------------------------------------------- the file -- */

/* A mapped file and its ELF header. */
struct image {
    const uint8_t *data;
    size_t size;
    const Elf64_Ehdr *header;
};

static bool image_open(struct image *image, const char *path,
                       struct rt_library *library)
{
    *image = (struct image){0};
    /* O_NONBLOCK: opening a FIFO must not wait for its other end. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        fail(library, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(Elf64_Ehdr)) {
        close(fd);
        return fail(library, "%s: not a shared library", path);
    }
    image->size = (size_t)st.st_size;
    image->data = mmap(NULL, image->size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (image->data == MAP_FAILED)
        return fail(library, "%s: %s", path, strerror(errno));
    image->header = (const void *)image->data;
    return true;
}

static void image_close(struct image *image)
{
    munmap((void *)image->data, image->size);
}

/* `n` entries of `size` bytes at `offset`, aligned as tables are; NULL when
 * the file is shorter. */
static const void *image_table(const struct image *image, uint64_t offset,
                               uint64_t n, uint64_t size)
{
    uint64_t bytes, end;
    if (__builtin_mul_overflow(n, size, &bytes) ||
        __builtin_add_overflow(offset, bytes, &end) || end > image->size ||
        offset % 8 != 0)
        return NULL;
    return image->data + offset;
}

static const char *machine_name(unsigned machine)
{
    return machine == EM_X86_64 ? "x86_64"
         : machine == EM_AARCH64 ? "aarch64"
         : machine == EM_RISCV ? "riscv64" : "another machine";
}

static bool check_header(const struct image *image, const char *path,
                         struct rt_library *library)
{
    const Elf64_Ehdr *h = image->header;
    if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return fail(library, "%s: not a shared library", path);
    if (h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_ident[EI_DATA] != ELFDATA2LSB)
        return fail(library, "%s: not a 64-bit little-endian library", path);
    if (h->e_machine != HOST_MACHINE)
        return fail(library, "%s: compiled for %s (this machine is %s)", path,
                    machine_name(h->e_machine), machine_name(HOST_MACHINE));
    if (h->e_type == ET_REL)
        return fail(library, "%s: an object file, not a shared library",
                    path);
    if (h->e_type != ET_DYN)
        return fail(library, "%s: not a shared library", path);
    return true;
}

/* Every segment that the system's loader maps must be in the file. */
static bool check_segments(const struct image *image, const char *path,
                           struct rt_library *library)
{
    const Elf64_Ehdr *h = image->header;
    const Elf64_Phdr *segment =
        image_table(image, h->e_phoff, h->e_phnum, sizeof(*segment));
    if (!segment || h->e_phentsize != sizeof(*segment))
        return fail(library, "%s: damaged: no program headers", path);
    for (int i = 0; i < h->e_phnum; i++) {
        const Elf64_Phdr *s = &segment[i];
        uint64_t end;
        if (__builtin_add_overflow(s->p_offset, s->p_filesz, &end) ||
            end > image->size)
            return fail(library,
                        "%s: damaged: segment %d ends at byte %llu (the file "
                        "has %zu)", path, i, (unsigned long long)end,
                        image->size);
    }
    return true;
}

/* Whether a symbol is a model; `room` bytes are left for its name. */
static bool is_model(const Elf64_Sym *symbol, const char *name, uint64_t room)
{
    if (ELF64_ST_TYPE(symbol->st_info) != STT_OBJECT ||
        symbol->st_shndx == SHN_UNDEF ||
        symbol->st_size < sizeof(struct tn_model) || !memchr(name, 0, room))
        return false;
    const size_t n = strlen(name);
    return n > 6 && !strcmp(name + n - 6, "_model");
}

/* The name of the model in the dynamic symbol table. */
static const char *find_model(const struct image *image)
{
    const Elf64_Ehdr *h = image->header;
    const Elf64_Shdr *section =
        image_table(image, h->e_shoff, h->e_shnum, sizeof(*section));
    for (int i = 0; section && i < h->e_shnum; i++) {
        const Elf64_Shdr *s = &section[i];
        if (s->sh_type != SHT_DYNSYM || s->sh_link >= h->e_shnum)
            continue;
        const Elf64_Shdr *names = &section[s->sh_link];
        const uint64_t n = s->sh_size / sizeof(Elf64_Sym);
        const Elf64_Sym *symbol =
            image_table(image, s->sh_offset, n, sizeof(*symbol));
        if (!symbol || names->sh_offset > image->size ||
            names->sh_size > image->size - names->sh_offset)
            return NULL;
        const char *text = (const char *)image->data + names->sh_offset;
        for (uint64_t k = 0; k < n; k++)
            if (symbol[k].st_name < names->sh_size &&
                is_model(&symbol[k], text + symbol[k].st_name,
                         names->sh_size - symbol[k].st_name))
                return text + symbol[k].st_name;
    }
    return NULL;
}

/* The model's symbol, to be freed; NULL with `error` set. */
static char *model_symbol(const char *path, struct rt_library *library)
{
    struct image image;
    if (!image_open(&image, path, library))
        return NULL;
    char *symbol = NULL;
    if (check_header(&image, path, library) &&
        check_segments(&image, path, library)) {
        const char *name = find_model(&image);
        symbol = name ? strdup(name) : NULL;
        if (!symbol)
            fail(library, "%s: not a library that treenail compiled", path);
    }
    image_close(&image);
    return symbol;
}

/* ------------------------------------------------------------ loading -- */

/* dlopen() searches for a name without a slash; a path never is one. */
static void *load(const char *path)
{
    if (strchr(path, '/'))
        return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const size_t n = strlen(path);
    char *here = malloc(n + 3);
    if (!here)
        return NULL;
    memcpy(here, "./", 2);
    memcpy(here + 2, path, n + 1);
    void *handle = dlopen(here, RTLD_NOW | RTLD_LOCAL);
    free(here);
    return handle;
}

/* The ABI's version stands first in every version of the struct, so it alone
 * is read before it is known to be ours. */
static bool check_model(const struct tn_model *model, const char *path,
                        struct rt_library *library)
{
    if (model->abi_version != TN_ABI_VERSION)
        return fail(library, "%s: ABI version %u (this runtime has %u)", path,
                    model->abi_version, TN_ABI_VERSION);
    if (model->struct_size != sizeof(*model))
        return fail(library, "%s: struct tn_model has %u bytes (this runtime "
                    "has %zu)", path, model->struct_size, sizeof(*model));
    uint64_t n_elements = 0;
    for (uint32_t i = 0; i < model->n_columns; i++)
        n_elements += model->columns[i].n_elements;
    if (n_elements != model->n_elements)
        return fail(library, "%s: damaged: columns have %llu elements (a row "
                    "has %u)", path, (unsigned long long)n_elements,
                    model->n_elements);
    if (model->n_outputs == 0 || model->n_isa == 0)
        return fail(library, "%s: damaged: %u outputs, %u ISA levels", path,
                    model->n_outputs, model->n_isa);
    if (model->isa_level() < 0)
        return fail(library, "%s: this CPU runs none of its ISA levels "
                    "(the lowest is %s)", path, model->isa[0]);
    return true;
}

/* The steps of a library that streams: false when they are not ours. */
static bool find_stream(struct rt_library *library, const char *path)
{
    char symbol[512];
    const struct tn_model *m = library->model;
    const int n = snprintf(symbol, sizeof(symbol), "%s_stream", m->name);
    if (n < 0 || (size_t)n >= sizeof(symbol))
        return true;
    const struct tn_stream *stream = dlsym(library->handle, symbol);
    if (stream && stream->struct_size != sizeof(*stream))
        return fail(library, "%s: struct tn_stream has %u bytes (this runtime "
                    "has %zu)", path, stream->struct_size, sizeof(*stream));
    library->stream = stream;
    return true;
}

bool rt_library_open(struct rt_library *library, const char *path)
{
    *library = (struct rt_library){0};
    char *symbol = model_symbol(path, library);
    if (!symbol)
        return false;
    library->handle = load(path);
    if (!library->handle) {
        free(symbol);
        const char *why = dlerror();
        return fail(library, "%s", why ? why : "out of memory");
    }
    const struct tn_model *model = dlsym(library->handle, symbol);
    free(symbol);
    if (!model)
        fail(library, "%s: not a library that treenail compiled", path);
    if (!model || !check_model(model, path, library)) {
        rt_library_close(library);
        return false;
    }
    library->model = model;
    if (find_stream(library, path))
        return true;
    rt_library_close(library);
    return false;
}

void rt_library_close(struct rt_library *library)
{
    if (library->handle)
        dlclose(library->handle);
    library->handle = NULL;
    library->model = NULL;
    library->stream = NULL;
}

/* ---------------------------------------------------------- self-test -- */

static bool selftest_output(struct rt_library *library, uint32_t output,
                            void *scratch)
{
    const struct tn_model *model = library->model;
    const struct tn_output *o = &model->outputs[output];
    size_t bytes;
    if (__builtin_mul_overflow((size_t)model->n_golden * o->n_elements,
                               tn_dtype_bytes(o->dtype), &bytes))
        return fail(library, "output %s: too many golden rows", o->name);
    void *out = malloc(bytes ? bytes : 1);
    if (!out)
        return fail(library, "out of memory");
    const int64_t row = tn_selftest_output(model, output, out, scratch);
    free(out);
    if (row >= 0)
        return fail(library, "output %s: golden row %lld of %u differs from "
                    "the compiler's interpreter", o->name, (long long)row,
                    model->n_golden);
    return true;
}

static void *aligned(uint64_t bytes)
{
    return bytes > SIZE_MAX / 2 ? NULL
                                : aligned_alloc(TN_SCRATCH_ALIGN,
                                                (bytes / 64 + 1) * 64);
}

/* The golden rows of one output, step by step. */
static bool selftest_steps(struct rt_library *library, uint32_t output)
{
    const struct tn_model *model = library->model;
    const struct tn_stream *stream = library->stream;
    const struct tn_output *o = &model->outputs[output];
    void *state = aligned(stream->state_bytes);
    void *scratch = aligned(stream->scratch_bytes);
    const uint64_t n_row = stream->n_elements > stream->n_start
                               ? stream->n_elements
                               : stream->n_start;
    void *row = aligned(n_row * 8);
    void *out = aligned((uint64_t)o->n_elements * 8);
    int64_t differs = 0;
    if (state && scratch && row && out)
        differs = tn_selftest_steps(model, stream, output, state, row, out,
                                    scratch);
    const bool good = state && scratch && row && out && differs < 0;
    if (!state || !scratch || !row || !out)
        fail(library, "out of memory");
    else if (!good)
        fail(library, "output %s: golden row %lld of %u, step by step, differs "
             "from the compiler's interpreter", o->name, (long long)differs,
             model->n_golden);
    free(state);
    free(scratch);
    free(row);
    free(out);
    return good;
}

bool rt_selftest(struct rt_library *library)
{
    const struct tn_model *model = library->model;
    void *scratch = rt_scratch_new(model);
    if (!scratch && model->scratch_bytes)
        return fail(library, "out of memory");
    bool good = true;
    for (uint32_t i = 0; i < model->n_outputs && good; i++)
        good = selftest_output(library, i, scratch) &&
               (!library->stream || selftest_steps(library, i));
    free(scratch);
    return good;
}
