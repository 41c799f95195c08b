/* onnx_wire.c: bytes -> Onnx__ModelProto.
 *
 * protobuf-c does the reading. It recurses, merges a message that comes twice
 * with copies that add up to a square, cuts names at a NUL, and says of bad
 * bytes only that they are bad. So the bytes are walked first, by protobuf-c's
 * own descriptors and without recursion: what passes is as deep, as large and
 * as sound as it may be, and what does not gets a message with its place.
 */
#include "frontend/onnx.h"

#include <stdlib.h>
#include <string.h>

/* A subgraph takes three: attribute, graph, node. */
#define MAX_DEPTH 64

/* What protobuf-c may take in all: each message's struct, and for each field
 * its place in a list while the message is read, and then its value. */
#define FIELD_BYTES 48
#define FREE_BYTES ((size_t)32 << 20)

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

/* A message that is being walked. */
struct frame {
    const ProtobufCMessageDescriptor *message;
    const ProtobufCFieldDescriptor *field; /* of the parent; NULL at the top */
    const uint8_t *end;
    uint64_t seen; /* single messages that came already, by their index */
};

struct walk {
    struct ir_diag *diag;
    const char *path;
    const uint8_t *begin, *at;
    size_t bytes, limit; /* of memory, so far and at most */
    int depth;
    struct frame frame[MAX_DEPTH];
};

/* ------------------------------------------------------------- messages -- */

/* "graph.node.attribute.", or "" at the top. */
static void print_place(const struct walk *w, struct ir_text *text)
{
    ir_text_puts(text, "");
    for (int i = 1; i <= w->depth; i++)
        ir_text_printf(text, "%s.", w->frame[i].field->name);
}

static bool walk_error(struct walk *w, const uint8_t *at, const char *fmt, ...)
    IR_PRINTF(3, 4);
static bool walk_error(struct walk *w, const uint8_t *at, const char *fmt, ...)
{
    char said[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    return ir_error(w->diag,
                    ir_loc_offset(w->path, (uint64_t)(at - w->begin)), "%s",
                    said);
}

static bool field_error(struct walk *w, const uint8_t *at, const char *name,
                        const char *fmt, ...) IR_PRINTF(4, 5);
static bool field_error(struct walk *w, const uint8_t *at, const char *name,
                        const char *fmt, ...)
{
    char said[256];
    struct ir_text place;
    va_list args;
    va_start(args, fmt);
    vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    ir_text_init(&place);
    print_place(w, &place);
    walk_error(w, at, "%s%s %s", place.data, name, said);
    ir_text_release(&place);
    return false;
}

/* ---------------------------------------------------------------- bytes -- */

static bool read_varint(const uint8_t **at, const uint8_t *end,
                        uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < 10 && *at < end; i++) {
        const uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 127) << (7 * i);
        if (byte < 128)
            return true;
    }
    return false;
}

/* How a field of this type is written. */
static enum wire wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32: return FIXED32;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64: return FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return BYTES;
    default: return VARINT;
    }
}

/* Counts the numbers of a packed field; false when they do not fill it. */
static bool count_packed(enum wire wire, const uint8_t *at,
                         const uint8_t *end, size_t *n)
{
    const size_t size = (size_t)(end - at);
    if (wire != VARINT) {
        const size_t each = wire == FIXED32 ? 4 : 8;
        *n = size / each;
        return size % each == 0;
    }
    uint64_t value;
    for (*n = 0; at < end; ++*n)
        if (!read_varint(&at, end, &value))
            return false;
    return true;
}

/* ----------------------------------------------------------------- walk -- */

static bool take_memory(struct walk *w, const uint8_t *at, size_t bytes)
{
    w->bytes += bytes;
    return w->bytes <= w->limit ||
           walk_error(w, at,
                      "up to here the file stands for %zu bytes of memory "
                      "(the limit is %zu)", w->bytes, w->limit);
}

static bool enter(struct walk *w, const uint8_t *tag,
                  const ProtobufCFieldDescriptor *field, const uint8_t *end)
{
    struct frame *parent = &w->frame[w->depth];
    const size_t index = (size_t)(field - parent->message->fields);
    if (field->label != PROTOBUF_C_LABEL_REPEATED && index < 64) {
        if (parent->seen >> index & 1)
            return field_error(w, tag, field->name, "comes twice");
        parent->seen |= (uint64_t)1 << index;
    }
    if (w->depth + 1 == MAX_DEPTH)
        return field_error(w, tag, field->name,
                           "is nested deeper than %d messages", MAX_DEPTH);
    const ProtobufCMessageDescriptor *message = field->descriptor;
    w->frame[++w->depth] =
        (struct frame){.message = message, .field = field, .end = end};
    return take_memory(w, tag, message->sizeof_message);
}

/* A field whose length is given: text, bytes, packed numbers or a message. */
static bool walk_bytes(struct walk *w, const uint8_t *tag,
                       const ProtobufCFieldDescriptor *field,
                       const char *name)
{
    const uint8_t *const stop = w->frame[w->depth].end;
    uint64_t length;
    if (!read_varint(&w->at, stop, &length))
        return field_error(w, tag, name, "has a length that does not end");
    if (length > (uint64_t)(stop - w->at))
        return field_error(w, tag, name, "is %llu bytes long (%llu are left)",
                           (unsigned long long)length,
                           (unsigned long long)(stop - w->at));
    const uint8_t *begin = w->at, *end = begin + length;
    size_t n = 0;
    if (field && field->type == PROTOBUF_C_TYPE_MESSAGE)
        return enter(w, tag, field, end);
    w->at = end;
    if (field && field->type == PROTOBUF_C_TYPE_STRING &&
        memchr(begin, 0, (size_t)length))
        return field_error(w, tag, name, "holds a NUL character");
    if (field && wire_of(field->type) != BYTES &&
        !count_packed(wire_of(field->type), begin, end, &n))
        return field_error(w, tag, name, "ends within a number");
    return n == 0 || take_memory(w, tag, n * 8);
}

static bool walk_number(struct walk *w, const uint8_t *tag, enum wire wire,
                        const char *name)
{
    const uint8_t *const end = w->frame[w->depth].end;
    uint64_t value;
    if (wire == VARINT)
        return read_varint(&w->at, end, &value) ||
               field_error(w, tag, name, "is a number that does not end");
    const ptrdiff_t size = wire == FIXED32 ? 4 : 8;
    if (end - w->at < size)
        return field_error(w, tag, name, "is %d bytes long (%d are left)",
                           (int)size, (int)(end - w->at));
    w->at += size;
    return true;
}

static bool walk_field(struct walk *w)
{
    const struct frame *f = &w->frame[w->depth];
    const uint8_t *const tag = w->at;
    uint64_t key;
    if (!read_varint(&w->at, f->end, &key) || key >> 3 == 0 ||
        key >> 3 > (1 << 29) - 1)
        return walk_error(w, tag, "here is no field of a protobuf message");
    const unsigned wire = key & 7;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(f->message,
                                                (unsigned)(key >> 3));
    char number[32];
    snprintf(number, sizeof number, "field %u", (unsigned)(key >> 3));
    const char *name = field ? field->name : number;
    if (wire != VARINT && wire != FIXED64 && wire != BYTES && wire != FIXED32)
        return field_error(w, tag, name, "is of wire type %u (0, 1, 2 and 5 "
                           "are read)", wire);
    if (field && wire != wire_of(field->type) &&
        !(wire == BYTES && field->label == PROTOBUF_C_LABEL_REPEATED))
        return field_error(w, tag, name, "is of wire type %u (it has %u)",
                           wire, (unsigned)wire_of(field->type));
    if (!take_memory(w, tag, FIELD_BYTES))
        return false;
    return wire == BYTES ? walk_bytes(w, tag, field, name)
                         : walk_number(w, tag, (enum wire)wire, name);
}

static bool check_bytes(const struct ir_file *file, struct ir_diag *diag)
{
    struct walk w = {.diag = diag, .path = file->path, .begin = file->data,
                     .at = file->data,
                     .limit = FREE_BYTES + FIELD_BYTES * file->size};
    w.frame[0] = (struct frame){.message = &onnx__model_proto__descriptor,
                                .end = file->data + file->size};
    while (w.depth > 0 || w.at < w.frame[0].end) {
        if (w.at == w.frame[w.depth].end)
            w.depth--;
        else if (!walk_field(&w))
            return false;
    }
    return true;
}

/* --------------------------------------------------------------- memory -- */

/* What check_bytes() counted is what is taken, but protobuf-c doubles its
 * lists; past four times as much something is wrong. */
struct budget {
    size_t taken, limit;
};

static void *budget_alloc(void *data, size_t size)
{
    struct budget *b = data;
    if (size > b->limit - b->taken)
        return NULL;
    b->taken += size;
    return malloc(size ? size : 1);
}

static void budget_free(void *data, void *pointer)
{
    (void)data;
    free(pointer);
}

Onnx__ModelProto *fe_onnx_decode(const struct ir_file *file,
                                 struct ir_diag *diag)
{
    if (!check_bytes(file, diag))
        return NULL;
    struct budget budget = {
        .limit = 4 * (FREE_BYTES + FIELD_BYTES * file->size)};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    Onnx__ModelProto *model =
        onnx__model_proto__unpack(&allocator, file->size, file->data);
    if (!model)
        ir_error(diag, ir_loc_file(file->path),
                 "this is no protobuf message of ONNX (ModelProto)");
    return model;
}

void fe_onnx_discard(Onnx__ModelProto *model)
{
    ProtobufCAllocator allocator = {budget_alloc, budget_free, NULL};
    if (model)
        onnx__model_proto__free_unpacked(model, &allocator);
}

/* --------------------------------------------------------------- detect -- */

/* protobuf has no magic number: the fields at the top must be a model's, of
 * the right kinds, up to the graph, which no model lacks. Lengths are jumped
 * over; a graph may be cut off, and gets its message later. */
bool fe_detect_onnx(const uint8_t *data, size_t size)
{
    const uint8_t *at = data, *const end = data + size;
    for (int i = 0; i < 64 && at < end; i++) {
        uint64_t key, value;
        if (!read_varint(&at, end, &key) || key >> 3 > 25)
            return false;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(
                &onnx__model_proto__descriptor, (unsigned)(key >> 3));
        if (!field || (key & 7) != wire_of(field->type) ||
            !read_varint(&at, end, &value))
            return false;
        if (field->descriptor == &onnx__graph_proto__descriptor)
            return true;
        if ((key & 7) == VARINT)
            continue;
        if (value > (uint64_t)(end - at))
            return false;
        at += value;
    }
    return false;
}
