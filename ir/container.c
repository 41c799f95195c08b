/* container.c: the .tn file, a safetensors container: 8 bytes of header
 * length, little-endian; a JSON header that names each tensor's dtype, shape
 * and offsets; the tensors' bytes, end to end without a hole. The module's
 * text is in the header's __metadata__, with @N for tensor N.
 *
 * Tensors are ordered by the size of their elements, largest first, so that
 * each is aligned to its dtype without padding; the header is padded with
 * spaces to a multiple of 64 (the format allows both). Format: the
 * safetensors project's README, section "Format". */
#include "ir/ir_impl.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { format_version = 1 };

/* By dtype: the name that safetensors has for it. */
static const char *const names[IR_N_DTYPES] = {
    [IR_F32] = "F32", [IR_F64] = "F64", [IR_U8] = "U8", [IR_U16] = "U16",
    [IR_U32] = "U32", [IR_I32] = "I32", [IR_I64] = "I64",
    [IR_BF16] = "BF16", [IR_I8] = "I8"};

/* ------------------------------------------------------------------- write */

/* A JSON string: quotes, backslashes and control bytes escaped. */
static void json_string(struct ir_text *text, const char *s)
{
    ir_text_puts(text, "\"");
    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            ir_text_printf(text, "\\%c", c);
        else if (c == '\n')
            ir_text_puts(text, "\\n");
        else if (c < ' ')
            ir_text_printf(text, "\\u%04x", c);
        else
            ir_text_append(text, s, 1);
    }
    ir_text_puts(text, "\"");
}

static void json_tensor(struct ir_text *text, int number,
                        const struct ir_tensor *tensor, size_t at)
{
    ir_text_printf(text, ",\"%d\":{\"dtype\":\"%s\",\"shape\":[", number,
                   names[tensor->type.dtype]);
    for (int i = 0; i < tensor->type.rank; i++)
        ir_text_printf(text, "%s%lld", i ? "," : "",
                       (long long)tensor->type.dim[i]);
    ir_text_printf(text, "],\"data_offsets\":[%zu,%zu]}", at,
                   at + ir_tensor_bytes(tensor));
}

void ir_container_encode(const struct ir_module *module, struct ir_text *bytes)
{
    struct ir_text ir, header;
    const struct ir_tensor **tensors;
    int n;
    ir_text_init(&ir);
    ir_text_init(&header);
    ir_print_manifest(module, &ir, &tensors, &n);
    ir_text_printf(&header, "{\"__metadata__\":{\"treenail\":\"%d\",\"ir\":",
                   format_version);
    json_string(&header, ir.data);
    ir_text_puts(&header, "}");
    size_t at = 0;
    for (size_t size = 8; size > 0; size /= 2)
        for (int i = 0; i < n; i++)
            if (ir_dtype_bytes(tensors[i]->type.dtype) == size) {
                json_tensor(&header, i, tensors[i], at);
                at += ir_tensor_bytes(tensors[i]);
            }
    ir_text_puts(&header, "}");
    while ((8 + header.length) % 64)
        ir_text_puts(&header, " ");
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)header.length >> (8 * i));
    ir_text_append(bytes, length, 8);
    ir_text_append(bytes, header.data, header.length);
    for (size_t size = 8; size > 0; size /= 2)
        for (int i = 0; i < n; i++)
            if (ir_dtype_bytes(tensors[i]->type.dtype) == size)
                ir_text_append(bytes, tensors[i]->data,
                               ir_tensor_bytes(tensors[i]));
    free(tensors);
    ir_text_release(&ir);
    ir_text_release(&header);
}

bool ir_container_write(const struct ir_module *module, const char *path,
                        struct ir_diag *diag)
{
    struct ir_text bytes;
    ir_text_init(&bytes);
    ir_container_encode(module, &bytes);
    const bool ok = ir_file_write(path, bytes.data, bytes.length, diag);
    ir_text_release(&bytes);
    return ok;
}

/* -------------------------------------------------------------------- read */

struct reader {
    const char *path;
    const uint8_t *data; /* of the file */
    size_t size;
    size_t header;       /* bytes of JSON, from offset 8 */
    struct ir_tensor *tensor; /* by number */
    size_t *start;            /* likewise, in the data section */
    int n_tensors;
    struct ir_diag *diag;
};

static bool refuse(struct reader *r, const char *fmt, ...) IR_PRINTF(2, 3);
static bool refuse(struct reader *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    ir_verror(r->diag, ir_loc_offset(r->path, 8), fmt, args);
    va_end(args);
    return false;
}

static bool header_length(const uint8_t *data, size_t size, uint64_t *length)
{
    *length = 0;
    if (size < 8)
        return false;
    for (int i = 0; i < 8; i++)
        *length |= (uint64_t)data[i] << (8 * i);
    return true;
}

bool ir_container_detect(const uint8_t *data, size_t size)
{
    uint64_t length;
    return header_length(data, size, &length) && size > 8 &&
           length < IR_MAX_FILE && data[8] == '{';
}

/* A whole number that a double holds exactly. */
static bool whole(const cJSON *item, uint64_t *value)
{
    const double v = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(v >= 0 && v <= 0x1p53) || v != (double)(uint64_t)v)
        return false;
    *value = (uint64_t)v;
    return true;
}

static bool read_type(struct reader *r, const cJSON *entry,
                      struct ir_type *type)
{
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    const cJSON *dim;
    int d = 0;
    while (d < IR_N_DTYPES &&
           !(cJSON_IsString(dtype) && !strcmp(dtype->valuestring, names[d])))
        d++;
    if (d == IR_N_DTYPES)
        return refuse(r, "tensor %s: dtype is '%.20s', not F32, F64, U8, U16, "
                      "U32, I32, I64, BF16 or I8", entry->string,
                      cJSON_IsString(dtype) ? dtype->valuestring : "");
    *type = (struct ir_type){.dtype = (enum ir_dtype)d};
    if (!cJSON_IsArray(shape))
        return refuse(r, "tensor %s: shape is no array", entry->string);
    cJSON_ArrayForEach(dim, shape) {
        uint64_t n;
        if (type->rank == IR_MAX_RANK)
            return refuse(r, "tensor %s: rank above %d", entry->string,
                          IR_MAX_RANK);
        if (!whole(dim, &n) || n > (uint64_t)1 << 40)
            return refuse(r, "tensor %s: dim %d of shape is no whole number "
                          "up to 2^40", entry->string, type->rank);
        type->dim[type->rank++] = (int64_t)n;
    }
    return true;
}

/* Bytes that the type takes; false on an overflow. */
static bool type_bytes(const struct ir_type *type, uint64_t *bytes)
{
    *bytes = ir_dtype_bytes(type->dtype);
    for (int i = 0; i < type->rank; i++)
        if (__builtin_mul_overflow(*bytes, (uint64_t)type->dim[i], bytes))
            return false;
    return true;
}

static bool read_tensor(struct reader *r, const cJSON *entry)
{
    const cJSON *offsets =
        cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    const size_t room = r->size - 8 - r->header;
    struct ir_type type;
    uint64_t start, end, bytes;
    int64_t number;
    const char *name = entry->string;
    if (!ir_parse_int(name, name + strlen(name), &number) || number < 0 ||
        number >= r->n_tensors || (*name == '0' && name[1]) || *name == '-')
        return refuse(r, "tensor '%.40s' is none of 0 to %d", name,
                      r->n_tensors - 1);
    if (r->tensor[number].data)
        return refuse(r, "tensor %s is given twice", name);
    /* So none of the three is there twice. */
    if (cJSON_GetArraySize(entry) != 3)
        return refuse(r, "tensor %s has %d entries, not dtype, shape and "
                      "data_offsets", name, cJSON_GetArraySize(entry));
    if (!read_type(r, entry, &type))
        return false;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !whole(cJSON_GetArrayItem(offsets, 0), &start) ||
        !whole(cJSON_GetArrayItem(offsets, 1), &end))
        return refuse(r, "tensor %s: data_offsets are no two whole numbers",
                      name);
    if (start > end || end > room)
        return refuse(r, "tensor %s: data_offsets %" PRIu64 " to %" PRIu64
                      " are out of range (there are %zu bytes)", name, start,
                      end, room);
    if (!type_bytes(&type, &bytes) || bytes != end - start)
        return refuse(r, "tensor %s: %" PRIu64 " bytes of data are not those "
                      "of its shape", name, end - start);
    const uint8_t *data = r->data + 8 + r->header + start;
    if ((uintptr_t)data % ir_dtype_bytes(type.dtype))
        return refuse(r, "tensor %s is not aligned to its dtype", name);
    r->tensor[number] = (struct ir_tensor){type, data};
    r->start[number] = (size_t)start;
    return true;
}

struct span {
    size_t start, end;
};

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    if (x->start != y->start)
        return x->start > y->start ? 1 : -1;
    return (x->end > y->end) - (x->end < y->end);
}

/* The tensors cover the data section: no hole, no overlap, no slack. */
static bool check_cover(struct reader *r)
{
    struct span *spans =
        ir_realloc_array(NULL, (size_t)r->n_tensors + 1, sizeof(*spans));
    size_t at = 0;
    bool ok = true;
    for (int i = 0; i < r->n_tensors; i++)
        spans[i] = (struct span){
            r->start[i], r->start[i] + ir_tensor_bytes(&r->tensor[i])};
    qsort(spans, (size_t)r->n_tensors, sizeof(*spans), compare_spans);
    for (int i = 0; ok && i < r->n_tensors; i++) {
        if (spans[i].start != at)
            ok = refuse(r, "the tensors leave a hole or overlap at byte %zu",
                        at);
        at = spans[i].end;
    }
    free(spans);
    if (ok && at != r->size - 8 - r->header)
        ok = refuse(r, "the tensors end at byte %zu, the data at %zu", at,
                    r->size - 8 - r->header);
    return ok;
}

static int count_named(const cJSON *object, const char *name)
{
    const cJSON *item;
    int n = 0;
    cJSON_ArrayForEach(item, object)
        n += item->string && !strcmp(item->string, name);
    return n;
}

/* The module's text, or NULL. */
static const char *read_metadata(struct reader *r, const cJSON *root)
{
    const cJSON *meta =
        cJSON_GetObjectItemCaseSensitive(root, "__metadata__");
    const cJSON *version =
        cJSON_GetObjectItemCaseSensitive(meta, "treenail");
    const cJSON *ir = cJSON_GetObjectItemCaseSensitive(meta, "ir");
    if (count_named(root, "__metadata__") > 1 ||
        count_named(meta, "treenail") > 1 || count_named(meta, "ir") > 1) {
        refuse(r, "__metadata__, or what is in it, is given twice");
        return NULL;
    }
    if (!cJSON_IsString(version) || !cJSON_IsString(ir)) {
        refuse(r, "__metadata__ has no 'treenail' and 'ir': these are plain "
                  "tensors (safetensors), without the net that they are the "
                  "weights of; load them into it and write it with Python's "
                  "treenail.export(module, \"model.tn\", example_input=x)");
        return NULL;
    }
    if (strcmp(version->valuestring, "1") != 0) {
        refuse(r, "format version '%.20s' (this is version %d)",
               version->valuestring, format_version);
        return NULL;
    }
    return ir->valuestring;
}

static bool read_tensors(struct reader *r, const cJSON *root)
{
    const cJSON *entry;
    r->n_tensors = cJSON_GetArraySize(root) - 1;
    r->tensor = calloc((size_t)r->n_tensors + 1, sizeof(*r->tensor));
    r->start = calloc((size_t)r->n_tensors + 1, sizeof(*r->start));
    if (!r->tensor || !r->start)
        ir_out_of_memory();
    cJSON_ArrayForEach(entry, root)
        if (strcmp(entry->string, "__metadata__") != 0 &&
            !read_tensor(r, entry))
            return false;
    return check_cover(r);
}

static struct ir_module *read_module(struct reader *r, const cJSON *root)
{
    if (!cJSON_IsObject(root)) {
        refuse(r, "the header is no JSON object");
        return NULL;
    }
    const char *text = read_metadata(r, root);
    if (!text || !read_tensors(r, root))
        return NULL;
    struct ir_text name;
    ir_text_init(&name);
    ir_text_printf(&name, "%s[ir]", r->path);
    struct ir_module *module = ir_parse(text, strlen(text), name.data,
                                        r->tensor, r->n_tensors, r->diag);
    ir_text_release(&name);
    return module;
}

/* cJSON makes C strings, which a NUL would end early: the text would then
 * differ from what other readers see. */
static bool holds_nul(const char *json, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (json[i] == '\0')
            return true;
        if (json[i] != '\\')
            continue;
        if (n - i >= 6 && !memcmp(json + i, "\\u0000", 6))
            return true;
        i++;
    }
    return false;
}

/* Takes all of the header, but for blanks at the end. */
static cJSON *read_json(struct reader *r)
{
    const char *json = (const char *)r->data + 8, *stop = json;
    const char *end = json + r->header;
    if (holds_nul(json, r->header)) {
        refuse(r, "the header holds a NUL character");
        return NULL;
    }
    cJSON *root = cJSON_ParseWithLengthOpts(json, r->header, &stop, 0);
    if (!root) {
        ir_error(r->diag, ir_loc_offset(r->path, (uint64_t)(stop - json) + 8),
                 "the header is no JSON from here on");
        return NULL;
    }
    while (stop < end && strchr(" \t\r\n", *stop))
        stop++;
    if (stop == end)
        return root;
    ir_error(r->diag, ir_loc_offset(r->path, (uint64_t)(stop - json) + 8),
             "the header goes on after its JSON");
    cJSON_Delete(root);
    return NULL;
}

struct ir_module *ir_container_read(struct ir_file file, struct ir_diag *diag)
{
    struct reader r = {.path = file.path, .data = file.data,
                       .size = file.size, .diag = diag};
    struct ir_module *module = NULL;
    uint64_t length;
    if (!header_length(file.data, file.size, &length)) {
        ir_error(diag, ir_loc_offset(file.path, file.size),
                 "the file ends within the header's length");
    } else if (length > file.size - 8) {
        ir_error(diag, ir_loc_offset(file.path, 0),
                 "the header has %" PRIu64 " bytes, the file has %zu left",
                 length, file.size - 8);
    } else {
        r.header = (size_t)length;
        cJSON *root = read_json(&r);
        if (root)
            module = read_module(&r, root);
        cJSON_Delete(root);
    }
    free(r.tensor);
    free(r.start);
    if (module)
        module->file = file;
    else
        ir_file_close(&file);
    return module;
}
