/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's expressions: 64-bit integers, as QEMU's monitor reads them. */
#include "vmm/monitor/hmp.h"

#include <errno.h>
#include <string.h>

#define DEPTH_MAX    64 /* of parentheses and signs */
#define REGISTER_MAX 32 /* characters of a register's name */

typedef struct Parser {
    const char *at;
    HmpRegisterFn *reg;
    void *opaque;
    unsigned depth;
    GError **error;
} Parser;

static bool read_sum(Parser *p, uint64_t *value);
static bool read_unary(Parser *p, uint64_t *value);

static void skip_blanks(Parser *p)
{
    p->at += strspn(p->at, " \t\r\n\v\f");
}

static bool read_number(Parser *p, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = g_ascii_strtoull(p->at, &end, 0);
    if (errno == ERANGE) {
        return error_set(p->error, "a number has more than 64 bits");
    }
    if (g_ascii_isalnum(*end)) {
        return error_set(p->error, "'%c' is no digit of a number", *end);
    }
    p->at = end;
    return true;
}

static bool read_register(Parser *p, uint64_t *value)
{
    char name[REGISTER_MAX + 1];
    size_t length = 0;
    p->at++;
    while (g_ascii_isalnum(p->at[length]) || p->at[length] == '_' || p->at[length] == '.') {
        length++;
    }
    if (!length || length > REGISTER_MAX) {
        return error_set(p->error, "behind $ comes a register's name");
    }
    memcpy(name, p->at, length);
    name[length] = '\0';
    if (!p->reg || !p->reg(p->opaque, name, value)) {
        return error_set(p->error, "there is no register '%s' to be read", name);
    }
    p->at += length;
    return true;
}

static bool read_character(Parser *p, uint64_t *value)
{
    if (!p->at[1] || p->at[2] != '\'') {
        return error_set(p->error, "a character stands between two '");
    }
    *value = (uint8_t)p->at[1];
    p->at += 3;
    return true;
}

static bool read_group(Parser *p, uint64_t *value)
{
    p->at++;
    if (!read_sum(p, value)) {
        return false;
    }
    skip_blanks(p);
    if (*p->at != ')') {
        return error_set(p->error, "a ( has no )");
    }
    p->at++;
    return true;
}

static bool read_signed(Parser *p, uint64_t *value)
{
    char sign = *p->at++;
    if (!read_unary(p, value)) {
        return false;
    }
    *value = sign == '-' ? -*value : sign == '~' ? ~*value : *value;
    return true;
}

static bool read_nested(Parser *p, uint64_t *value)
{
    if (p->depth == DEPTH_MAX) {
        return error_set(p->error, "an expression is no deeper than %d", DEPTH_MAX);
    }
    p->depth++;
    bool ok = *p->at == '(' ? read_group(p, value) : read_signed(p, value);
    p->depth--;
    return ok;
}

static bool read_unary(Parser *p, uint64_t *value)
{
    skip_blanks(p);
    switch (*p->at) {
    case '(':
    case '+':
    case '-':
    case '~':
        return read_nested(p, value);
    case '$':
        return read_register(p, value);
    case '\'':
        return read_character(p, value);
    case '\0':
        return error_set(p->error, "the expression ends where a number should stand");
    default:
        return g_ascii_isdigit(*p->at)
                   ? read_number(p, value)
                   : error_set(p->error, "'%.8s' is neither a number nor a $register", p->at);
    }
}

static bool divide(Parser *p, char operation, uint64_t *value, uint64_t by)
{
    int64_t a = (int64_t)*value, b = (int64_t)by;
    if (b == 0) {
        return error_set(p->error, "division by zero");
    }
    if (b == -1) { /* the least number has no positive counterpart */
        *value = operation == '/' ? -*value : 0;
    } else {
        *value = (uint64_t)(operation == '/' ? a / b : a % b);
    }
    return true;
}

static bool read_product(Parser *p, uint64_t *value)
{
    if (!read_unary(p, value)) {
        return false;
    }
    for (;;) {
        uint64_t by;
        skip_blanks(p);
        char operation = *p->at;
        if (operation != '*' && operation != '/' && operation != '%') {
            return true;
        }
        p->at++;
        if (!read_unary(p, &by)) {
            return false;
        }
        if (operation == '*') {
            *value *= by;
        } else if (!divide(p, operation, value, by)) {
            return false;
        }
    }
}

static bool read_bits(Parser *p, uint64_t *value)
{
    if (!read_product(p, value)) {
        return false;
    }
    for (;;) {
        uint64_t with;
        skip_blanks(p);
        char operation = *p->at;
        if (operation != '&' && operation != '|' && operation != '^') {
            return true;
        }
        p->at++;
        if (!read_product(p, &with)) {
            return false;
        }
        *value = operation == '&'   ? *value & with
                 : operation == '|' ? *value | with
                                    : *value ^ with;
    }
}

static bool read_sum(Parser *p, uint64_t *value)
{
    if (!read_bits(p, value)) {
        return false;
    }
    for (;;) {
        uint64_t with;
        skip_blanks(p);
        char operation = *p->at;
        if (operation != '+' && operation != '-') {
            return true;
        }
        p->at++;
        if (!read_bits(p, &with)) {
            return false;
        }
        *value = operation == '+' ? *value + with : *value - with;
    }
}

bool hmp_expression(const char **text, HmpRegisterFn *reg, void *opaque, int64_t *value,
                    GError **error)
{
    Parser p = { .at = *text, .reg = reg, .opaque = opaque, .error = error };
    uint64_t result;
    if (!read_sum(&p, &result)) {
        return false;
    }
    *value = (int64_t)result;
    *text = p.at;
    return true;
}
