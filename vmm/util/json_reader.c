/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON in, byte by byte, as RFC 8259 has it; as in QEMU strings may stand in single quotes as well,
 * U+0000 is kept as C0 80, and integers that fit into 64 bits stay exact. A name that comes twice
 * in an object is an error.
 *
 * The values are json-c's, its tokener is not used: a stream's characters must not be cut by a read
 * for it, it takes NaN and halves of surrogate pairs, the last of two members with one name, and
 * after a fault it does not know where the value would have ended.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include "vmm/util/json.h"
#include "vmm/error.h"

#define MAX_BYTES  (64u << 20)
#define MAX_TOKENS (256u << 10)
#define MAX_DEPTH  1024
#define SHOWN      32 /* bytes of what is wrong, in a message */

typedef enum Expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END, /* behind [ */
    EXPECT_NAME,
    EXPECT_NAME_OR_END, /* behind { */
    EXPECT_COLON,
    EXPECT_COMMA_OR_END,
} Expect;

typedef enum LexState {
    LEX_BETWEEN,
    LEX_WORD, /* a number, true, false, null */
    LEX_STRING,
    LEX_ESCAPE,
    LEX_UNICODE, /* the four digits of \u */
} LexState;

typedef struct Level {
    json_object *container;
    char *name; /* of the member that comes; NULL in arrays */
} Level;

struct JsonParser {
    GArray *levels; /* Level, outermost first */
    Expect expect;
    LexState state;
    GString *token;
    char quote;
    unsigned code, digits, high; /* of \u; high: half of a pair */
    size_t bytes, tokens;        /* of the value so far */
    bool skipping;
    unsigned skip_depth;
};

void json_reader_init(JsonReader *reader, void (*value)(void *opaque, json_object *value),
                      void (*error)(void *opaque, const char *message), void *opaque)
{
    *reader = (JsonReader){ .value = value, .error = error, .opaque = opaque };
    reader->parser = g_new0(JsonParser, 1);
    reader->parser->levels = g_array_new(FALSE, FALSE, sizeof(Level));
    reader->parser->token = g_string_new(NULL);
}

static Level *top(JsonParser *p)
{
    return p->levels->len ? &g_array_index(p->levels, Level, p->levels->len - 1) : NULL;
}

/* Forgets the value so far. */
static void restart(JsonParser *p)
{
    for (guint i = 0; i < p->levels->len; i++) {
        g_free(g_array_index(p->levels, Level, i).name);
    }
    if (p->levels->len) { /* the outermost holds the others */
        json_object_put(g_array_index(p->levels, Level, 0).container);
    }
    g_array_set_size(p->levels, 0);
    if (p->token->allocated_len > (64u << 10)) {
        g_string_free(p->token, TRUE);
        p->token = g_string_new(NULL);
    }
    g_string_truncate(p->token, 0);
    p->expect = EXPECT_VALUE;
    p->state = LEX_BETWEEN;
    p->high = 0;
    p->bytes = p->tokens = 0;
}

void json_reader_reset(JsonReader *reader)
{
    restart(reader->parser);
    reader->parser->skipping = false;
}

void json_reader_cleanup(JsonReader *reader)
{
    restart(reader->parser);
    g_array_unref(reader->parser->levels);
    g_string_free(reader->parser->token, TRUE);
    g_clear_pointer(&reader->parser, g_free);
}

/* ---- Errors ---- */

static bool in_string(const JsonParser *p)
{
    return p->state >= LEX_STRING;
}

/* The rest of the value is skipped by its brackets. */
G_GNUC_PRINTF(2, 3)
static bool fail(JsonReader *reader, const char *format, ...)
{
    JsonParser *p = reader->parser;
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    p->skip_depth = p->levels->len;
    LexState within = in_string(p) ? LEX_STRING : p->state;
    restart(p);
    p->state = within;
    p->skipping = p->skip_depth || within != LEX_BETWEEN;
    reader->error(reader->opaque, message);
    return false;
}

/* The token, shortened, with what is no text shown as \xNN. */
static char *shown(const JsonParser *p)
{
    GString *out = g_string_new(NULL);
    for (size_t i = 0; i < p->token->len && i < SHOWN; i++) {
        uint8_t byte = (uint8_t)p->token->str[i];
        if (g_ascii_isprint(byte)) {
            g_string_append_c(out, (char)byte);
        } else {
            g_string_append_printf(out, "\\x%02x", byte);
        }
    }
    g_string_append(out, p->token->len > SHOWN ? "..." : "");
    return g_string_free(out, FALSE);
}

static bool fail_stray(JsonReader *reader, char c)
{
    if (g_ascii_isprint(c)) {
        return fail(reader, "JSON: '%c' does not belong here", c);
    }
    return fail(reader, "JSON: the byte 0x%02x does not belong here", (uint8_t)c);
}

/* ---- Values ---- */

static bool counted(JsonReader *reader)
{
    return ++reader->parser->tokens <= MAX_TOKENS ||
           fail(reader, "JSON: this value has too many parts");
}

static void deliver(JsonReader *reader, json_object *value)
{
    restart(reader->parser);
    reader->value(reader->opaque, value);
}

/* Takes the reference; containers come when they open, and are delivered when they close. */
static void put_value(JsonReader *reader, json_object *value)
{
    JsonParser *p = reader->parser;
    Level *level = top(p);
    if (level && level->name) {
        json_object_object_add_ex(level->container, level->name, value,
                                  JSON_C_OBJECT_ADD_KEY_IS_NEW);
        g_clear_pointer(&level->name, g_free);
    } else if (level) {
        json_object_array_add(level->container, value);
    }
    p->expect = EXPECT_COMMA_OR_END;
}

static bool put_scalar(JsonReader *reader, json_object *value)
{
    if (!counted(reader)) {
        json_object_put(value);
        return false;
    }
    put_value(reader, value);
    if (!reader->parser->levels->len) {
        deliver(reader, value);
    }
    return true;
}

static bool open_container(JsonReader *reader, bool object)
{
    JsonParser *p = reader->parser;
    if (p->expect != EXPECT_VALUE && p->expect != EXPECT_VALUE_OR_END) {
        return fail_stray(reader, object ? '{' : '[');
    }
    if (p->levels->len == MAX_DEPTH) {
        return fail(reader, "JSON: nested too deeply, at most %d levels", MAX_DEPTH);
    }
    if (!counted(reader)) {
        return false;
    }
    Level level = { .container = object ? json_object_new_object() : json_object_new_array() };
    put_value(reader, level.container);
    g_array_append_val(p->levels, level);
    p->expect = object ? EXPECT_NAME_OR_END : EXPECT_VALUE_OR_END;
    return true;
}

static bool close_container(JsonReader *reader, bool object)
{
    JsonParser *p = reader->parser;
    Level *level = top(p);
    Expect empty = object ? EXPECT_NAME_OR_END : EXPECT_VALUE_OR_END;
    if (!level || json_object_is_type(level->container, json_type_object) != object ||
        (p->expect != EXPECT_COMMA_OR_END && p->expect != empty)) {
        return fail_stray(reader, object ? '}' : ']');
    }
    json_object *value = level->container;
    g_array_set_size(p->levels, p->levels->len - 1);
    p->expect = EXPECT_COMMA_OR_END;
    if (!p->levels->len) {
        deliver(reader, value);
    }
    return true;
}

static bool punctuation(JsonReader *reader, char c)
{
    JsonParser *p = reader->parser;
    switch (c) {
    case '{':
    case '[':
        return open_container(reader, c == '{');
    case '}':
    case ']':
        return close_container(reader, c == '}');
    case ':':
        if (p->expect == EXPECT_COLON) {
            p->expect = EXPECT_VALUE;
            return true;
        }
        break;
    case ',':
        if (p->expect == EXPECT_COMMA_OR_END && p->levels->len) {
            p->expect = json_object_is_type(top(p)->container, json_type_object) ? EXPECT_NAME
                                                                                 : EXPECT_VALUE;
            return counted(reader);
        }
        break;
    }
    return fail_stray(reader, c);
}

/* ---- Words ---- */

/* [-](0|[1-9][0-9]*)[.digits][e[+-]digits]; *whole: without the last two. */
static bool is_number(const char *text, bool *whole)
{
    text += *text == '-';
    size_t digits = strspn(text, "0123456789");
    if (!digits || (*text == '0' && digits > 1)) {
        return false;
    }
    text += digits;
    *whole = !*text;
    if (*text == '.') {
        digits = strspn(++text, "0123456789");
        text += digits;
        if (!digits) {
            return false;
        }
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        digits = strspn(text, "0123456789");
        text += digits;
        if (!digits) {
            return false;
        }
    }
    return !*text;
}

/* Integers beyond 64 bits become floating point. */
static json_object *number_value(const char *text, bool whole)
{
    errno = 0;
    if (whole && *text == '-') {
        int64_t number = g_ascii_strtoll(text, NULL, 10);
        if (!errno) {
            return json_object_new_int64(number);
        }
    } else if (whole) {
        uint64_t number = g_ascii_strtoull(text, NULL, 10);
        if (!errno) {
            return number <= INT64_MAX ? json_object_new_int64((int64_t)number)
                                       : json_object_new_uint64(number);
        }
    }
    double number = g_ascii_strtod(text, NULL);
    return isfinite(number) ? json_object_new_double(number) : NULL;
}

static bool finish_word(JsonReader *reader)
{
    JsonParser *p = reader->parser;
    const char *text = p->token->str;
    json_object *value = NULL;
    bool whole;
    p->state = LEX_BETWEEN;
    if (is_number(text, &whole)) {
        value = number_value(text, whole);
        if (!value) {
            g_autofree char *number = shown(p);
            return fail(reader, "JSON: the number %s is too large", number);
        }
    } else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        value = json_object_new_boolean(*text == 't');
    } else if (strcmp(text, "null") != 0) {
        g_autofree char *word = shown(p);
        return fail(reader, "JSON: '%s' is no value", word);
    }
    if (p->expect != EXPECT_VALUE && p->expect != EXPECT_VALUE_OR_END) {
        g_autofree char *word = shown(p);
        json_object_put(value);
        return fail(reader, "JSON: '%s' does not belong here", word);
    }
    g_string_truncate(p->token, 0);
    return put_scalar(reader, value);
}

/* ---- Strings ---- */

static bool is_text(const char *text, size_t len)
{
    const char *end;
    while (!g_utf8_validate_len(text, len, &end)) {
        if (len - (size_t)(end - text) < 2 || memcmp(end, "\xc0\x80", 2) != 0) {
            return false;
        }
        len -= (size_t)(end - text) + 2;
        text = end + 2;
    }
    return true;
}

static bool put_name(JsonReader *reader)
{
    JsonParser *p = reader->parser;
    Level *level = top(p);
    if (json_object_object_get_ex(level->container, p->token->str, NULL)) {
        g_autofree char *name = shown(p);
        return fail(reader, "JSON: the name '%s' comes twice in an object", name);
    }
    level->name = g_strndup(p->token->str, p->token->len);
    p->expect = EXPECT_COLON;
    return true;
}

static bool finish_string(JsonReader *reader)
{
    JsonParser *p = reader->parser;
    p->state = LEX_BETWEEN;
    if (!is_text(p->token->str, p->token->len)) {
        g_autofree char *string = shown(p);
        return fail(reader, "JSON: the string '%s' is not UTF-8", string);
    }
    bool good;
    if (p->expect == EXPECT_NAME || p->expect == EXPECT_NAME_OR_END) {
        good = put_name(reader);
    } else if (p->expect == EXPECT_VALUE || p->expect == EXPECT_VALUE_OR_END) {
        json_object *value = json_object_new_string_len(p->token->str, (int)p->token->len);
        good = put_scalar(reader, value);
    } else {
        g_autofree char *string = shown(p);
        good = fail(reader, "JSON: the string '%s' does not belong here", string);
    }
    g_string_truncate(p->token, 0);
    return good;
}

static void append_code(JsonParser *p, uint32_t code)
{
    if (code == 0) {
        g_string_append_len(p->token, "\xc0\x80", 2);
    } else {
        g_string_append_unichar(p->token, code);
    }
}

/* Half of a pair has to be followed by the other. */
static bool unicode_done(JsonReader *reader)
{
    JsonParser *p = reader->parser;
    bool high = p->code >= 0xd800 && p->code < 0xdc00;
    bool low = p->code >= 0xdc00 && p->code < 0xe000;
    if (low != (p->high != 0)) {
        return fail(reader, "JSON: \\u%04x is half of a surrogate pair", low ? p->code : p->high);
    }
    if (high) {
        p->high = p->code;
    } else {
        append_code(p, low ? 0x10000 + ((p->high - 0xd800) << 10) + (p->code - 0xdc00) : p->code);
        p->high = 0;
    }
    p->state = LEX_STRING;
    return true;
}

static bool unicode_digit(JsonReader *reader, char c)
{
    JsonParser *p = reader->parser;
    if (!g_ascii_isxdigit(c)) {
        p->state = LEX_STRING;
        return fail(reader, "JSON: \\u takes four hexadecimal digits");
    }
    p->code = p->code << 4 | (unsigned)g_ascii_xdigit_value(c);
    return ++p->digits < 4 || unicode_done(reader);
}

static bool escaped(JsonReader *reader, char c)
{
    static const char letters[] = "\"'\\/bfnrt";
    static const char meant[] = "\"'\\/\b\f\n\r\t";
    JsonParser *p = reader->parser;
    const char *letter = strchr(letters, c);
    p->state = LEX_STRING;
    if (c == 'u') {
        p->state = LEX_UNICODE;
        p->code = p->digits = 0;
    } else if (p->high) {
        return fail(reader, "JSON: \\u%04x is half of a surrogate pair", p->high);
    } else if (!c || !letter) {
        return fail(reader, "JSON: a string has '\\' before 0x%02x, which means nothing",
                    (uint8_t)c);
    } else {
        g_string_append_c(p->token, meant[letter - letters]);
    }
    return true;
}

/* Bytes from the start of data that stand for themselves. */
static size_t plain_run(const char *data, size_t len, char quote)
{
    size_t n = 0;
    while (n < len && (uint8_t)data[n] >= 0x20 && data[n] != quote && data[n] != '\\' &&
           data[n] != '\xff') {
        n++;
    }
    return n;
}

static size_t string_piece(JsonReader *reader, const char *data, size_t len)
{
    JsonParser *p = reader->parser;
    size_t run = plain_run(data, len, p->quote);
    if (p->high && *data != '\\') {
        fail(reader, "JSON: \\u%04x is half of a surrogate pair", p->high);
        return 0;
    }
    if (run) {
        g_string_append_len(p->token, data, (gssize)run);
        return run;
    }
    if (*data == p->quote) {
        finish_string(reader);
    } else if (*data == '\\') {
        p->state = LEX_ESCAPE;
    } else if (*data == '\xff') {
        fail(reader, "JSON: a string has the byte 0xff, which is not UTF-8");
        return 0;
    } else {
        fail(reader, "JSON: a string has the control byte 0x%02x; write it as \\u%04x",
             (uint8_t)*data, (uint8_t)*data);
        return 0;
    }
    return 1;
}

/* ---- The stream ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_word(char c)
{
    return g_ascii_isalnum(c) || c == '-' || c == '+' || c == '.' || c == '_';
}

static size_t word_piece(JsonReader *reader, const char *data, size_t len)
{
    size_t n = 0;
    while (n < len && is_word(data[n])) {
        n++;
    }
    g_string_append_len(reader->parser->token, data, (gssize)n);
    if (n < len) {
        finish_word(reader);
    }
    return n;
}

static size_t between_piece(JsonReader *reader, const char *data)
{
    JsonParser *p = reader->parser;
    if (is_word(*data)) {
        p->state = LEX_WORD;
        return 0;
    }
    if (*data == '"' || *data == '\'') {
        p->state = LEX_STRING;
        p->quote = *data;
    } else if (!is_space(*data)) {
        return punctuation(reader, *data) || !p->skipping;
    }
    return 1;
}

/* After an error: up to the end of the value by its brackets, of the line, or a byte 0xff. */
static void skip_byte(JsonParser *p, char c)
{
    if (p->state == LEX_WORD && !is_word(c)) {
        p->state = LEX_BETWEEN;
    }
    if (c == '\n' || c == '\xff') {
        p->skip_depth = 0;
        p->state = LEX_BETWEEN;
    } else if (p->state == LEX_WORD) {
        return;
    } else if (p->state == LEX_ESCAPE) {
        p->state = LEX_STRING;
    } else if (p->state == LEX_STRING) {
        p->state = c == '\\' ? LEX_ESCAPE : c == p->quote ? LEX_BETWEEN : LEX_STRING;
    } else if (c == '"' || c == '\'') {
        p->state = LEX_STRING;
        p->quote = c;
    } else if (c == '{' || c == '[') {
        p->skip_depth++;
    } else if ((c == '}' || c == ']') && p->skip_depth) {
        p->skip_depth--;
    }
    p->skipping = p->skip_depth || p->state != LEX_BETWEEN;
}

/* Returns how many bytes were used: none where the rest of a faulty value begins with the byte. */
static size_t feed_piece(JsonReader *reader, const char *data, size_t len)
{
    JsonParser *p = reader->parser;
    if (p->skipping) {
        skip_byte(p, *data);
        return 1;
    }
    switch (p->state) {
    case LEX_STRING:
        return string_piece(reader, data, len);
    case LEX_ESCAPE:
        return escaped(reader, *data);
    case LEX_UNICODE:
        return unicode_digit(reader, *data);
    case LEX_WORD:
        return word_piece(reader, data, len);
    default:
        return between_piece(reader, data);
    }
}

void json_reader_feed(JsonReader *reader, const char *data, size_t len)
{
    JsonParser *p = reader->parser;
    while (len) {
        size_t used = feed_piece(reader, data, len);
        bool within = p->levels->len || p->state != LEX_BETWEEN;
        p->bytes = within ? p->bytes + used : 0;
        if (p->bytes > MAX_BYTES && !p->skipping) {
            fail(reader, "JSON: this value is too large, more than %u MiB", MAX_BYTES >> 20);
        }
        data += used;
        len -= used;
    }
}

/* ---- One text ---- */

typedef struct Parse {
    json_object *value;
    char *fault;
    bool done;
} Parse;

static void on_value(void *opaque, json_object *value)
{
    Parse *parse = opaque;
    parse->value = value;
    parse->done = true;
}

static void on_fault(void *opaque, const char *message)
{
    Parse *parse = opaque;
    parse->fault = g_strdup(message);
    parse->done = true;
}

/* Returns where the value ends, or where the word or string begins that is wrong. */
static size_t parse_value(Parse *parse, const char *text, size_t len)
{
    JsonReader reader;
    json_reader_init(&reader, on_value, on_fault, parse);
    size_t at = 0, token = 0;
    while (at < len && !parse->done) {
        token = reader.parser->state == LEX_BETWEEN ? at : token;
        at += feed_piece(&reader, text + at, len - at);
    }
    if (!parse->done && reader.parser->state == LEX_WORD) {
        finish_word(&reader);
    }
    json_reader_cleanup(&reader);
    return parse->fault ? token : at;
}

bool json_parse(const char *text, json_object **value, GError **error)
{
    size_t len = strlen(text);
    if (len > MAX_BYTES) {
        return error_set(error, "JSON: the text is too large, more than %u MiB", MAX_BYTES >> 20);
    }
    Parse parse = { 0 };
    size_t at = parse_value(&parse, text, len);
    g_autofree char *fault = parse.fault;
    size_t rest = at + strspn(text + at, " \t\r\n");
    if (fault) {
        return error_set(error, "%s, at byte %zu", fault, at);
    }
    if (!text[strspn(text, " \t\r\n")]) {
        return error_set(error, "JSON: the text is empty");
    }
    if (!parse.done) {
        return error_set(error, "JSON: the text ends before its value does, at byte %zu", at);
    }
    if (text[rest]) {
        json_object_put(parse.value);
        return error_set(error, "JSON: there is more behind the value, at byte %zu", rest);
    }
    *value = parse.value;
    return true;
}
