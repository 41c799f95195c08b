/* onnx_external.c: tensors whose data is in another file. That file has to be
 * beside the model: its name is a name, not a path. A link is followed as long
 * as it stays there, or leads beside the file that the model itself is a link
 * to, as in caches that keep all files under other names; one that leads
 * elsewhere could make a stranger's model out of any file of this machine. What
 * is read of it is checked against its size first. A model that is bytes in
 * memory has no folder, and so no such files.
 */
#include "frontend/onnx.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The value of a key, or NULL. A key that is not known may change what is
 * read. */
static bool read_entries(struct fe_onnx *g, const Onnx__TensorProto *p,
                         const char *what, const char **location,
                         const char **offset, const char **length)
{
    *location = *offset = *length = NULL;
    for (size_t i = 0; i < p->n_external_data; i++) {
        const char *key = p->external_data[i]->key;
        const char *value = p->external_data[i]->value;
        const char **to = !key ? NULL
                          : !strcmp(key, "location") ? location
                          : !strcmp(key, "offset") ? offset
                          : !strcmp(key, "length") ? length : NULL;
        if (!to && key && !strcmp(key, "checksum"))
            continue;
        if (!to || !value || *to)
            return fe_onnx_error(g, "%s: its external data has a key '%.100s' "
                                 "that is not known, comes twice or has no "
                                 "value", what, key ? key : "");
        *to = value;
    }
    return *location != NULL ||
           fe_onnx_error(g, "%s has its data in another file, and does not "
                         "say in which", what);
}

/* A number of bytes, or `fallback` without a text. */
static bool read_number(struct fe_onnx *g, const char *what, const char *name,
                        const char *text, int64_t fallback, int64_t *number)
{
    *number = fallback;
    return !text ||
           (ir_parse_int(text, text + strlen(text), number) && *number >= 0) ||
           fe_onnx_error(g, "%s: the %s of its data is '%.60s', which is no "
                         "number of bytes", what, name, text);
}

/* The path without links; NULL when there is no such file. */
static const char *real_path(struct fe_onnx *g, const char *path)
{
    char *real = realpath(path, NULL);
    const char *copy = real ? ir_strdup(&g->kept, real) : NULL;
    free(real);
    return copy;
}

/* Where a path's folder ends: after the last slash, or 0. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Whether both paths, without links, are of files of one folder. */
static bool are_together(const char *a, const char *b)
{
    const size_t n = folder_length(a);
    return n == folder_length(b) && !memcmp(a, b, n);
}

/* Whether the data's file, where it really is, is beside the model's path or
 * beside where the model really is. */
static bool is_beside(struct fe_onnx *g, const char *folder, const char *data)
{
    const char *model = real_path(g, g->path);
    const char *here = real_path(g, *folder ? folder : ".");
    return (model && are_together(model, data)) ||
           (here && are_together(ir_sprintf(&g->kept, "%s/",
                                            !strcmp(here, "/") ? "" : here),
                                 data));
}

/* The path of the file of that name beside the model; NULL with a message. */
static const char *find_path(struct fe_onnx *g, const char *what,
                             const char *name)
{
    struct stat info;
    if (g->is_memory) {
        fe_onnx_error(g, "%s keeps its data in the file '%.200s', and a model "
                      "in memory has none beside it", what, name);
        return NULL;
    }
    if (!*name || strpbrk(name, "/\\") || !strcmp(name, ".") ||
        !strcmp(name, "..") || strlen(name) > 255) {
        fe_onnx_error(g, "%s keeps its data in '%.200s': only files beside the "
                      "model are read, by their names", what, name);
        return NULL;
    }
    const char *folder =
        ir_strndup(&g->kept, g->path, folder_length(g->path));
    const char *path = ir_sprintf(&g->kept, "%s%s", folder, name);
    const char *real = real_path(g, path);
    const bool is_link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    if (!real) {
        fe_onnx_error(g, "%s keeps its data in '%.200s', %s", what, name,
                      is_link ? "which is a link to no file"
                              : "and there is no such file beside the model");
        return NULL;
    }
    if (is_link && !is_beside(g, folder, real)) {
        fe_onnx_error(g, "%s keeps its data in '%.200s', a link into another "
                      "folder than the model's, which is not followed: copy "
                      "the file there", what, name);
        return NULL;
    }
    if (stat(real, &info) != 0 || !S_ISREG(info.st_mode)) {
        fe_onnx_error(g, "%s keeps its data in '%.200s', which is no regular "
                      "file", what, name);
        return NULL;
    }
    return is_link ? real : path;
}

/* The file of that name, opened once. */
static const struct ir_file *open_file(struct fe_onnx *g, const char *what,
                                       const char *name)
{
    for (int i = 0; i < g->n_files; i++)
        if (!strcmp(g->files[i].name, name))
            return &g->files[i].file;
    if (g->n_files == FE_ONNX_MAX_FILES) {
        fe_onnx_error(g, "its data is in more than %d files",
                      FE_ONNX_MAX_FILES);
        return NULL;
    }
    const char *path = find_path(g, what, name);
    struct fe_onnx_file *file = &g->files[g->n_files];
    if (!path || !ir_file_open(&file->file, path, g->diag))
        return NULL;
    file->name = ir_strdup(&g->kept, name);
    g->n_files++;
    fe_onnx_allow_elements(g, file->file.size);
    return &file->file;
}

const uint8_t *fe_onnx_external(struct fe_onnx *g, const Onnx__TensorProto *p,
                                const char *what, int64_t bytes)
{
    const char *location, *offset_text, *length_text;
    int64_t offset, length;
    if (!read_entries(g, p, what, &location, &offset_text, &length_text) ||
        !read_number(g, what, "offset", offset_text, 0, &offset) ||
        !read_number(g, what, "length", length_text, bytes, &length))
        return NULL;
    if (length != bytes) {
        fe_onnx_error(g, "%s: its data has %lld bytes, its dims and type take "
                      "%lld", what, (long long)length, (long long)bytes);
        return NULL;
    }
    const struct ir_file *file = open_file(g, what, location);
    if (!file)
        return NULL;
    if (offset > (int64_t)file->size ||
        bytes > (int64_t)file->size - offset) {
        fe_onnx_error(g, "%s: its data is %lld bytes at %lld of '%.200s', "
                      "which has %zu", what, (long long)bytes,
                      (long long)offset, location, file->size);
        return NULL;
    }
    return file->data + offset;
}

void fe_onnx_close_files(struct fe_onnx *g)
{
    for (int i = 0; i < g->n_files; i++)
        ir_file_close(&g->files[i].file);
    ir_arena_release(&g->kept);
}
