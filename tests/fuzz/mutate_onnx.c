/* mutate_onnx.c: an ONNX file -> another: see mutate.h.
 *
 * The bytes are taken apart into elements, which are fields as they stand in
 * the file, by protobuf-c's descriptors. One of them is chosen on a way down
 * from the top that takes each field of a message as often as another, so that
 * a thousand weights do not hide one name. It is replaced by other bytes, and
 * the lengths of the messages around it are mended.
 */
#include "frontend/onnx.h"
#include "fuzz/mutate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ELEMENTS = 1 << 14, MAX_DEEP = 60, VARINT = 0, FIXED64 = 1,
       BYTES = 2, FIXED32 = 5 };

struct element {
    size_t begin, body, end; /* of the tag, of what is after its length */
    int parent;              /* -1 at the top */
    const ProtobufCFieldDescriptor *field; /* NULL: not in the schema */
    bool packed;                           /* numbers without tags */
};

/* A file taken apart. Elements stand before those within them. */
struct parts {
    const uint8_t *data;
    size_t size;
    int n, most;
    struct element *at; /* [most] */
};

/* What is being made. */
struct maker {
    uint64_t seed, n_drawn;
    struct parts *own, *other;
    struct ir_text text; /* what takes the place of an element */
};

static uint64_t draw(struct maker *m, uint64_t n)
{
    return ir_random(m->seed, m->n_drawn++) % n;
}

/* --------------------------------------------------------------- parts -- */

static bool read_varint(const struct parts *p, size_t *at, size_t end,
                        uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < 10 && *at < end; i++) {
        const uint8_t byte = p->data[(*at)++];
        *value |= (uint64_t)(byte & 127) << (7 * i);
        if (byte < 128)
            return true;
    }
    return false;
}

static const ProtobufCMessageDescriptor *message_of(const struct parts *p,
                                                    int i)
{
    return i < 0 ? &onnx__model_proto__descriptor
                 : p->at[i].field->descriptor;
}

static bool is_message(const struct element *e)
{
    return e->field && e->field->type == PROTOBUF_C_TYPE_MESSAGE;
}

static bool is_bytes(const struct element *e)
{
    return e->field && (e->field->type == PROTOBUF_C_TYPE_STRING ||
                        e->field->type == PROTOBUF_C_TYPE_BYTES);
}

/* The element at `at` within the one of number `parent`. */
static bool read_element(struct parts *p, size_t at, size_t end, int parent)
{
    uint64_t key, value = 0;
    struct element e = {.begin = at, .parent = parent};
    if (p->n == p->most || !read_varint(p, &at, end, &key))
        return false;
    const unsigned wire = key & 7;
    e.field = protobuf_c_message_descriptor_get_field(
        message_of(p, parent), (unsigned)(key >> 3));
    e.body = at;
    if (wire == FIXED64 || wire == FIXED32)
        value = wire == FIXED64 ? 8 : 4;
    else if (!read_varint(p, &at, end, &value))
        return false;
    if (wire == BYTES)
        e.body = at;
    if (wire != VARINT) {
        if (value > end - at)
            return false;
        at += (size_t)value;
    }
    if (is_message(&e) ? wire != BYTES : wire == BYTES && !is_bytes(&e)) {
        if (is_message(&e) || !e.field)
            return false;
        e.packed = true;
    }
    e.end = at;
    p->at[p->n++] = e;
    return true;
}

static bool take_apart(struct parts *p, const uint8_t *data, size_t size)
{
    int up = -1, deep = 0;
    size_t at = 0;
    const size_t most = size / 2 + 1; /* of two bytes at least */
    *p = (struct parts){.data = data, .size = size,
                        .most = most < MAX_ELEMENTS ? (int)most
                                                    : MAX_ELEMENTS};
    p->at = ir_realloc_array(NULL, (size_t)p->most, sizeof(*p->at));
    while (up >= 0 || at < size) {
        const size_t end = up < 0 ? size : p->at[up].end;
        if (at == end) {
            up = p->at[up].parent;
            deep--;
            continue;
        }
        if (!read_element(p, at, end, up))
            return false;
        const struct element *e = &p->at[p->n - 1];
        at = e->end;
        if (is_message(e)) {
            if (++deep > MAX_DEEP)
                return false;
            at = e->body;
            up = p->n - 1;
        }
    }
    return p->n > 0;
}

/* ------------------------------------------------------------- writing -- */

static void put_varint(struct ir_text *text, uint64_t value)
{
    do {
        const uint8_t byte = (uint8_t)((value & 127) | (value > 127) << 7);
        ir_text_append(text, &byte, 1);
        value >>= 7;
    } while (value);
}

static void put_bytes(struct ir_text *text, unsigned id, const void *bytes,
                      size_t n)
{
    put_varint(text, id << 3 | BYTES);
    put_varint(text, n);
    ir_text_append(text, bytes, n);
}

static void put_string(struct ir_text *text, unsigned id, const char *s)
{
    put_bytes(text, id, s, strlen(s));
}

static unsigned id_of(const ProtobufCMessageDescriptor *message,
                      const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(message, name)->id;
}

/* The element i as it stands. */
static void put_element(struct ir_text *text, const struct parts *p, int i)
{
    ir_text_append(text, p->data + p->at[i].begin,
                   p->at[i].end - p->at[i].begin);
}

/* An empty text has no bytes, not even at NULL. */
static void put_text(struct ir_text *text, const struct ir_text *from)
{
    if (from->length > 0)
        ir_text_append(text, from->data, from->length);
}

/* `text` takes the place of [begin, end) of the file, which is within element
 * i. The file's new size; 0 when it has no room. Empties `text`. */
static size_t replace(const struct parts *p, size_t begin, size_t end, int i,
                      struct ir_text *text, uint8_t *data, size_t most)
{
    size_t size;
    for (; i >= 0; i = p->at[i].parent) {
        const struct element *e = &p->at[i];
        struct ir_text around;
        ir_text_init(&around);
        put_varint(&around, e->field->id << 3 | BYTES);
        put_varint(&around, begin - e->body + text->length + e->end - end);
        ir_text_append(&around, p->data + e->body, begin - e->body);
        put_text(&around, text);
        ir_text_append(&around, p->data + end, e->end - end);
        ir_text_release(text);
        *text = around;
        begin = e->begin;
        end = e->end;
    }
    size = begin + text->length + p->size - end;
    if (size <= most) {
        memmove(data + begin + text->length, data + end, p->size - end);
        if (text->length > 0)
            memcpy(data + begin, text->data, text->length);
    }
    ir_text_release(text);
    ir_text_init(text);
    return size <= most ? size : 0;
}

/* ------------------------------------------------------------ choosing -- */

enum { N_FIELDS = 64 }; /* of a message, by the low bits of their number */

static int key_of(const struct parts *p, int i)
{
    return p->at[i].field ? (int)(p->at[i].field->id % N_FIELDS) : 0;
}

/* One within `up`, each field of it as often as another; -1 for none. */
static int choose_within(struct maker *m, const struct parts *p, int up)
{
    int n[N_FIELDS] = {0}, n_fields = 0;
    for (int i = up + 1; i < p->n; i++)
        if (p->at[i].parent == up)
            n_fields += n[key_of(p, i)]++ == 0;
    if (n_fields == 0)
        return -1;
    int key = 0;
    for (uint64_t nth = draw(m, (uint64_t)n_fields); n[key] == 0 || nth--;)
        key++;
    uint64_t nth = draw(m, (uint64_t)n[key]);
    for (int i = up + 1;; i++)
        if (p->at[i].parent == up && key_of(p, i) == key && nth-- == 0)
            return i;
}

/* One of the file, on a way down from the top, where the graph is. */
static int choose(struct maker *m, const struct parts *p)
{
    int up = -1;
    for (int i = 0; i < p->n && draw(m, 8); i++)
        if (p->at[i].parent < 0 && is_message(&p->at[i]) &&
            p->at[i].field->descriptor == &onnx__graph_proto__descriptor) {
            up = i;
            break;
        }
    for (;;) {
        const int i = choose_within(m, p, up);
        if (i < 0)
            return up < 0 ? 0 : up;
        if (!is_message(&p->at[i]) || draw(m, 4) == 0)
            return i;
        up = i;
    }
}

static bool same_kind(const struct element *a, const struct element *b)
{
    return a->field && b->field && a->field->type == b->field->type &&
           a->packed == b->packed &&
           (a->field->type == PROTOBUF_C_TYPE_STRING ||
            a->field->descriptor == b->field->descriptor);
}

/* One for which same_kind() holds; -1 for none. */
static int choose_like(struct maker *m, const struct parts *p,
                       const struct element *like)
{
    int found = -1;
    uint64_t n = 0;
    for (int i = 0; i < p->n; i++)
        if (same_kind(&p->at[i], like) && draw(m, ++n) == 0)
            found = i;
    return found;
}

/* A message of this kind; -1 for none. */
static int choose_message(struct maker *m, const struct parts *p,
                          const ProtobufCMessageDescriptor *kind)
{
    int found = -1;
    uint64_t n = 0;
    for (int i = 0; i < p->n; i++)
        if (is_message(&p->at[i]) && p->at[i].field->descriptor == kind &&
            draw(m, ++n) == 0)
            found = i;
    return found;
}

static bool is_name(const struct parts *p, int i)
{
    const struct element *e = &p->at[i];
    return e->field && e->field->type == PROTOBUF_C_TYPE_STRING &&
           e->parent >= 0 &&
           message_of(p, e->parent) == &onnx__node_proto__descriptor &&
           (!strcmp(e->field->name, "input") ||
            !strcmp(e->field->name, "output"));
}

/* A name that a node reads or gives; -1 for none. */
static int choose_name(struct maker *m, const struct parts *p)
{
    int found = -1;
    uint64_t n = 0;
    for (int i = 0; i < p->n; i++)
        if (is_name(p, i) && draw(m, ++n) == 0)
            found = i;
    return found;
}

/* ------------------------------------------------------------- numbers -- */

static uint64_t odd_whole(struct maker *m, uint64_t was)
{
    static const int64_t odd[] = {0, 1, 2, 3, -1, -2, 7, 8, 16, 17, 255,
                                  INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN,
                                  (int64_t)1 << 32, 1 << 20};
    const uint64_t n = sizeof odd / sizeof *odd, k = draw(m, n + 12);
    return k < n ? (uint64_t)odd[k]
           : k < n + 4 ? was + 1
           : k < n + 8 ? was - 1 : draw(m, 24);
}

static double odd_real(struct maker *m)
{
    static const double odd[] = {0, -0.0, 1, -1, 0.5, 2, 1e30, -1e30, 1e-30,
                                 3, INFINITY, NAN};
    return odd[draw(m, sizeof odd / sizeof *odd)];
}

static void put_fixed(struct maker *m, bool wide)
{
    const double real = odd_real(m);
    const float narrow = (float)real;
    if (wide)
        ir_text_append(&m->text, &real, 8);
    else
        ir_text_append(&m->text, &narrow, 4);
}

/* Raw data, or numbers without tags: of bytes, as far as is known here. */
static void put_changed(struct maker *m, const struct element *e)
{
    const uint8_t *bytes = m->own->data + e->body;
    const size_t n = e->end - e->body;
    const size_t at = n ? (size_t)draw(m, n) : 0;
    const size_t piece = (size_t)1 << draw(m, 4);
    const uint64_t way = draw(m, 5);
    if (way == 0 || at + piece > n) { /* shorter */
        ir_text_append(&m->text, bytes, n > piece ? n - piece : 0);
        return;
    }
    ir_text_append(&m->text, bytes, at);
    if (way == 1) { /* longer */
        ir_text_append(&m->text, bytes + at, piece);
        ir_text_append(&m->text, bytes + at, n - at);
        return;
    }
    if (way == 2 && piece >= 4)
        put_fixed(m, piece >= 8);
    else
        for (size_t i = 0; i < piece; i++)
            ir_text_append(&m->text, (const uint8_t[]){
                (uint8_t)odd_whole(m, bytes[at + i])}, 1);
    const size_t done = m->text.length;
    ir_text_append(&m->text, bytes + at, done < n ? n - done : 0);
}

/* ------------------------------------------------------------- strings -- */

static const char *word(struct maker *m)
{
    static const char *const words[] = {
        "", "zz", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "forward",
        "reverse", "bidirectional", "Relu", "Tanh", "Sigmoid", "HardSigmoid",
        "LeakyRelu", "Affine", "nearest", "linear", "cubic", "constant",
        "reflect", "edge", "wrap", "half_pixel", "align_corners",
        "asymmetric", "tf_crop_and_resize", "floor", "round_prefer_ceil",
        "SUM", "AVERAGE", "MIN", "MAX", "NONE", "SOFTMAX", "LOGISTIC",
        "SOFTMAX_ZERO", "PROBIT", "BRANCH_LEQ", "BRANCH_EQ", "LEAF", "L1",
        "mean", "sum", "mul", "CRD", "DCR", "add", "max",
        "ij,jk->ik", "bij,bkj->bik", "...i->...", "iij->ji", "tanh", "none"};
    return words[draw(m, sizeof words / sizeof *words)];
}

static void put_body(struct maker *m, const struct parts *p, int i)
{
    ir_text_append(&m->text, p->data + p->at[i].body,
                   p->at[i].end - p->at[i].body);
}

/* A name, seldom one that is nowhere else. */
static void put_name(struct maker *m)
{
    const int i = choose_name(m, m->own);
    if (i < 0 || draw(m, 8) == 0)
        ir_text_puts(&m->text, draw(m, 2) ? "zz" : "");
    else
        put_body(m, m->own, i);
}

static void put_string_changed(struct maker *m, const struct element *e)
{
    const int i = choose_like(m, m->other, e);
    const size_t n = e->end - e->body;
    switch (draw(m, 4)) {
    case 0:
        ir_text_append(&m->text, m->own->data + e->body, n ? n - 1 : 0);
        break;
    case 1:
        ir_text_puts(&m->text, word(m));
        break;
    case 2:
        put_name(m);
        break;
    default:
        if (i >= 0)
            put_body(m, m->other, i);
        break;
    }
}

/* --------------------------------------------------------------- nodes -- */

/* The message or string made in `from`, which is emptied. */
static void put_message(struct ir_text *text, unsigned id,
                        struct ir_text *from)
{
    put_varint(text, id << 3 | BYTES);
    put_varint(text, from->length);
    put_text(text, from);
    ir_text_release(from);
    ir_text_init(from);
}

/* A copy of a message of this kind from anywhere; false for none. */
static bool put_copy(struct maker *m, struct ir_text *text, unsigned id,
                     const ProtobufCMessageDescriptor *kind)
{
    const struct parts *p = draw(m, 2) ? m->other : m->own;
    const int i = choose_message(m, p, kind);
    if (i >= 0)
        put_bytes(text, id, p->data + p->at[i].body,
                  p->at[i].end - p->at[i].body);
    return i >= 0;
}

/* What an attribute of this kind (a letter of the table of ops) holds, and
 * its AttributeType. */
static unsigned put_held(struct maker *m, struct ir_text *text, char kind)
{
    const ProtobufCMessageDescriptor *d = &onnx__attribute_proto__descriptor;
    const uint64_t n = kind == 'I' || kind == 'F' ? draw(m, 5) : 1;
    for (uint64_t i = 0; i < n; i++) {
        const float real = (float)odd_real(m);
        switch (kind) {
        case 'f': case 'F':
            put_varint(text, id_of(d, kind == 'f' ? "f" : "floats") << 3 |
                       FIXED32);
            ir_text_append(text, &real, 4);
            break;
        case 's': case 'S':
            put_string(text, id_of(d, kind == 's' ? "s" : "strings"), word(m));
            break;
        case 't':
            put_copy(m, text, id_of(d, "t"), &onnx__tensor_proto__descriptor);
            break;
        case 'g':
            put_copy(m, text, id_of(d, "g"), &onnx__graph_proto__descriptor);
            break;
        default:
            put_varint(text, id_of(d, kind == 'i' ? "i" : "ints") << 3);
            put_varint(text, draw(m, 4) ? draw(m, 5) : odd_whole(m, 4));
            break;
        }
    }
    static const char types[] = "?fistgFIS"; /* AttributeType in order */
    return (unsigned)(strchr(types, kind) - types);
}

/* One of those that the op has by the table, of `n` in "name:kind name:..". */
static void put_attribute(struct maker *m, struct ir_text *text,
                          const struct fe_onnx_op_info *op)
{
    const ProtobufCMessageDescriptor *d = &onnx__attribute_proto__descriptor;
    const char *found = op->attributes, *at = found;
    uint64_t n = 0;
    for (; (at = strchr(at, ':')) != NULL; at++) {
        const char *name = at;
        while (name > op->attributes && name[-1] != ' ')
            name--;
        if (draw(m, ++n) == 0)
            found = name;
    }
    if (n == 0)
        return;
    const char *colon = strchr(found, ':');
    struct ir_text made;
    ir_text_init(&made);
    put_bytes(&made, id_of(d, "name"), found, (size_t)(colon - found));
    const unsigned type = put_held(m, &made, colon[1]);
    put_varint(&made, id_of(d, "type") << 3);
    put_varint(&made, type);
    put_message(text, id_of(&onnx__node_proto__descriptor, "attribute"), &made);
}

static const struct fe_onnx_op_info *any_op(struct maker *m,
                                            const char **domain)
{
    int n = 0;
    while (fe_onnx_op_at(n, domain))
        n++;
    return fe_onnx_op_at((int)draw(m, (uint64_t)n), domain);
}

static void put_names(struct maker *m, struct ir_text *text, const char *field,
                      uint64_t n)
{
    const unsigned id = id_of(&onnx__node_proto__descriptor, field);
    for (uint64_t i = 0; i < n; i++) {
        put_name(m);
        put_message(text, id, &m->text);
    }
}

static void put_op(struct ir_text *text, const struct fe_onnx_op_info *op,
                   const char *domain)
{
    const ProtobufCMessageDescriptor *d = &onnx__node_proto__descriptor;
    put_string(text, id_of(d, "op_type"), op->name);
    if (*domain)
        put_string(text, id_of(d, "domain"), domain);
}

/* A node of any op of the table, on names that there are. */
static void put_node(struct maker *m)
{
    const char *domain;
    const struct fe_onnx_op_info *op = any_op(m, &domain);
    const int most = op->max_inputs < 9 ? op->max_inputs : 9;
    const int span = most > op->min_inputs ? most - op->min_inputs : 0;
    struct ir_text made;
    ir_text_init(&made);
    put_names(m, &made, "input",
              (uint64_t)op->min_inputs + draw(m, (uint64_t)span + 1));
    if (draw(m, 2))
        put_names(m, &made, "output", 1);
    else
        put_string(&made, id_of(&onnx__node_proto__descriptor, "output"),
                   "fresh");
    put_op(&made, op, domain);
    for (uint64_t n = draw(m, 4); n > 0; n--)
        put_attribute(m, &made, op);
    put_message(&m->text, id_of(&onnx__graph_proto__descriptor, "node"),
                &made);
}

/* Node i with another op, and without attributes. */
static void put_other_op(struct maker *m, int i)
{
    const struct parts *p = m->own;
    const char *domain;
    const struct fe_onnx_op_info *op = any_op(m, &domain);
    struct ir_text made;
    ir_text_init(&made);
    for (int k = i + 1; k < p->n; k++)
        if (p->at[k].parent == i && is_name(p, k))
            put_element(&made, p, k);
    put_op(&made, op, domain);
    for (uint64_t n = draw(m, 3); n > 0; n--)
        put_attribute(m, &made, op);
    put_message(&m->text, p->at[i].field->id, &made);
}

/* Node i as it is, and one more of the attributes that its op has. */
static void put_node_and_attribute(struct maker *m, int i)
{
    const struct parts *p = m->own;
    const unsigned id = id_of(&onnx__node_proto__descriptor, "op_type");
    struct ir_text made;
    ir_text_init(&made);
    ir_text_append(&made, p->data + p->at[i].body,
                   p->at[i].end - p->at[i].body);
    for (int k = i + 1; k < p->n; k++) {
        const struct element *e = &p->at[k];
        if (e->parent != i || !e->field || e->field->id != id)
            continue;
        const char *domain;
        const struct fe_onnx_op_info *op;
        for (int at = 0; (op = fe_onnx_op_at(at, &domain)) != NULL; at++)
            if (strlen(op->name) == e->end - e->body &&
                !memcmp(op->name, p->data + e->body, e->end - e->body))
                put_attribute(m, &made, op);
        break;
    }
    put_message(&m->text, p->at[i].field->id, &made);
}

/* ----------------------------------------------------------- mutations -- */

/* Each puts into m->text what takes the place of element i, which has a
 * field; false when there is nothing to do. */

static void put_tagged(struct maker *m, const struct element *e,
                       struct ir_text *body)
{
    const bool counted = is_message(e) || is_bytes(e) || e->packed;
    struct ir_text made = *body;
    ir_text_init(body);
    put_varint(body, e->field->id << 3 |
               (counted ? BYTES : (unsigned)(m->own->data[e->begin] & 7)));
    if (counted)
        put_varint(body, made.length);
    put_text(body, &made);
    ir_text_release(&made);
}

static bool put_another(struct maker *m, int i)
{
    const int k = choose_like(m, m->other, &m->own->at[i]);
    if (k < 0)
        return false;
    put_body(m, m->other, k);
    put_tagged(m, &m->own->at[i], &m->text);
    return true;
}

/* A message with one more field, as another of its kind has it. */
static bool put_richer(struct maker *m, int i)
{
    if (!is_message(&m->own->at[i]))
        return false;
    const int k = choose_like(m, m->other, &m->own->at[i]);
    const int part = k < 0 ? -1 : choose_within(m, m->other, k);
    if (part < 0)
        return false;
    put_body(m, m->own, i);
    put_element(&m->text, m->other, part);
    put_tagged(m, &m->own->at[i], &m->text);
    return true;
}

static bool put_change(struct maker *m, int i)
{
    const struct element *e = &m->own->at[i];
    if (is_message(e))
        return put_richer(m, i);
    if (e->field->type == PROTOBUF_C_TYPE_STRING) {
        put_string_changed(m, e);
    } else if (is_bytes(e) || e->packed) {
        put_changed(m, e);
    } else if ((m->own->data[e->begin] & 7) == VARINT) {
        size_t at = e->body;
        uint64_t was;
        if (!read_varint(m->own, &at, e->end, &was))
            return false;
        put_varint(&m->text, odd_whole(m, was));
    } else {
        put_fixed(m, e->end - e->body == 8);
    }
    put_tagged(m, e, &m->text);
    return true;
}

/* What takes the place of [begin, end) within element `up`. */
struct edit {
    size_t begin, end;
    int up;
};

static struct edit edit_of(const struct parts *p, int i)
{
    return (struct edit){p->at[i].begin, p->at[i].end, p->at[i].parent};
}

/* Two of the same field change places. */
static bool swap(struct maker *m, int i, struct edit *edit)
{
    const struct parts *p = m->own;
    int found = -1;
    uint64_t n = 0;
    for (int k = i + 1; k < p->n; k++)
        if (p->at[k].parent == p->at[i].parent &&
            p->at[k].field == p->at[i].field && draw(m, ++n) == 0)
            found = k;
    if (found < 0)
        return false;
    const size_t first = p->at[i].end, last = p->at[found].begin;
    put_element(&m->text, p, found);
    ir_text_append(&m->text, p->data + first, last - first);
    put_element(&m->text, p, i);
    edit->end = p->at[found].end;
    return true;
}

static bool mutate_node(struct maker *m, struct edit *edit)
{
    const int i = choose_message(m, m->own, &onnx__node_proto__descriptor);
    if (i < 0)
        return false;
    *edit = edit_of(m->own, i);
    switch (draw(m, 4)) {
    case 0:
        put_node(m);
        if (draw(m, 2))
            put_element(&m->text, m->own, i);
        return true;
    case 1:
        put_element(&m->text, m->own, i);
        put_node(m);
        return true;
    case 2:
        put_other_op(m, i);
        return true;
    default:
        put_node_and_attribute(m, i);
        return true;
    }
}

static bool mutate_name(struct maker *m, struct edit *edit)
{
    const int i = choose_name(m, m->own);
    if (i < 0)
        return false;
    *edit = edit_of(m->own, i);
    put_name(m);
    put_tagged(m, &m->own->at[i], &m->text);
    return true;
}

static bool mutate(struct maker *m, struct edit *edit)
{
    const uint64_t way = draw(m, 16);
    if (way < 3)
        return mutate_node(m, edit);
    if (way < 5)
        return mutate_name(m, edit);
    const int i = choose(m, m->own);
    *edit = edit_of(m->own, i);
    if (way == 5)
        return true; /* taken out */
    if (way == 6) {
        put_element(&m->text, m->own, i);
        put_element(&m->text, m->own, i);
        return true;
    }
    if (!m->own->at[i].field)
        return false;
    return way == 7   ? swap(m, i, edit)
           : way == 8 ? put_richer(m, i)
           : way < 11 ? put_another(m, i)
                      : put_change(m, i);
}

size_t mutate_onnx(uint8_t *data, size_t size, size_t most,
                   struct mutate_file other, uint64_t seed)
{
    struct parts own = {0}, from = {0};
    struct maker m = {.seed = seed, .own = &own, .other = &from};
    struct edit edit;
    size_t changed = 0;
    ir_text_init(&m.text);
    if (take_apart(m.own, data, size) &&
        take_apart(m.other, other.data, other.size))
        for (int i = 0; i < 8 && !changed; i++) {
            m.text.length = 0;
            if (mutate(&m, &edit))
                changed = replace(m.own, edit.begin, edit.end, edit.up,
                                  &m.text, data, most);
        }
    ir_text_release(&m.text);
    free(own.at);
    free(from.at);
    return changed;
}
