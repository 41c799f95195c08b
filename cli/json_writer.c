/* json_writer.c: writes JSON, whatever bytes the names in a model are made
 * of. */
#include "cli/cli.h"

#include <math.h>
#include <string.h>

void cli_json_init(struct cli_json *json)
{
    *json = (struct cli_json){.first = true};
    ir_text_init(&json->text);
}

void cli_json_release(struct cli_json *json)
{
    ir_text_release(&json->text);
}

static void put_quoted(struct ir_text *text, const char *s)
{
    ir_text_puts(text, "\"");
    for (size_t n; *s; s += n ? n : 1) {
        const unsigned char c = (unsigned char)*s;
        n = ir_utf8_length(s);
        if (n == 0)
            ir_text_puts(text, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            ir_text_printf(text, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            ir_text_printf(text, "\\u%04x", c);
        else
            ir_text_append(text, s, n);
    }
    ir_text_puts(text, "\"");
}

/* Everything before a value. */
static void begin(struct cli_json *json, const char *key)
{
    if (!json->first)
        ir_text_puts(&json->text, ",");
    if (json->depth > 0)
        ir_text_printf(&json->text, "\n%*s", 2 * json->depth, "");
    json->first = false;
    if (key) {
        put_quoted(&json->text, key);
        ir_text_puts(&json->text, ": ");
    }
}

void cli_json_open(struct cli_json *json, const char *key, char bracket)
{
    begin(json, key);
    ir_text_append(&json->text, &bracket, 1);
    json->depth++;
    json->first = true;
}

void cli_json_close(struct cli_json *json, char bracket)
{
    json->depth--;
    if (!json->first)
        ir_text_printf(&json->text, "\n%*s", 2 * json->depth, "");
    ir_text_append(&json->text, &bracket, 1);
    json->first = false;
}

void cli_json_string(struct cli_json *json, const char *key, const char *s)
{
    begin(json, key);
    put_quoted(&json->text, s);
}

void cli_json_int(struct cli_json *json, const char *key, int64_t i)
{
    begin(json, key);
    ir_text_printf(&json->text, "%lld", (long long)i);
}

void cli_json_real(struct cli_json *json, const char *key, double f)
{
    begin(json, key);
    if (isfinite(f))
        ir_text_double(&json->text, f);
    else
        ir_text_puts(&json->text, "null");
}

void cli_json_bool(struct cli_json *json, const char *key, bool b)
{
    begin(json, key);
    ir_text_puts(&json->text, b ? "true" : "false");
}

void cli_json_print(struct cli_json *json)
{
    fwrite(json->text.data, 1, json->text.length, stdout);
    putchar('\n');
}
