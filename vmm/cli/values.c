/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single option values: booleans, numbers, sizes, and suggestions for misspelt words. */
#include "vmm/cli/opts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool parse_bool(const char *text, bool *value)
{
    static const char *const on[] = { "on", "yes", "true", "y", NULL };
    static const char *const off[] = { "off", "no", "false", "n", NULL };
    if (g_strv_contains(on, text)) {
        *value = true;
        return true;
    }
    if (g_strv_contains(off, text)) {
        *value = false;
        return true;
    }
    return false;
}

bool parse_uint(const char *text, uint64_t max, uint64_t *value)
{
    if (!g_ascii_isdigit(text[0])) {
        return false;
    }
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    if (hex && !g_ascii_isxdigit(text[2])) {
        return false;
    }
    errno = 0;
    char *end;
    uint64_t parsed = strtoull(text, &end, hex ? 16 : 10);
    if (errno || *end || parsed > max) {
        return false;
    }
    *value = parsed;
    return true;
}

/* The power of 1024 that a suffix stands for, -1 for none that is known. */
static int suffix_power(char suffix)
{
    const char *letters = "bkmgtpe";
    const char *found = strchr(letters, g_ascii_tolower(suffix));
    return suffix && found ? (int)(found - letters) : -1;
}

bool parse_size(const char *text, uint64_t unit, uint64_t *value)
{
    if (!g_ascii_isdigit(text[0])) {
        return false;
    }
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        return unit == 1 && parse_uint(text, UINT64_MAX, value);
    }
    errno = 0;
    char *end;
    uint64_t whole = strtoull(text, &end, 10);
    if (errno) {
        return false;
    }
    double fraction = 0;
    if (*end == '.') {
        if (!g_ascii_isdigit(end[1])) {
            return false;
        }
        char *after = end + 1 + strspn(end + 1, "0123456789");
        g_autofree char *digits = g_strndup(end, (gsize)(after - end));
        fraction = g_ascii_strtod(digits, NULL);
        end = after;
    }
    uint64_t factor = unit;
    if (*end) {
        int power = suffix_power(*end);
        if (power < 0 || end[1]) {
            return false;
        }
        factor = 1ULL << (10 * power);
    }
    if ((fraction != 0 && factor == 1) || whole > UINT64_MAX / factor) {
        return false;
    }
    uint64_t part = (uint64_t)(fraction * (double)factor);
    if (whole * factor > UINT64_MAX - part) {
        return false;
    }
    *value = whole * factor + part;
    return true;
}

static unsigned edit_distance(const char *a, const char *b)
{
    enum { MAX_WORD = 64 };
    size_t la = strlen(a), lb = strlen(b);
    if (la >= MAX_WORD || lb >= MAX_WORD) {
        return G_MAXUINT;
    }
    unsigned row[MAX_WORD + 1];
    for (size_t j = 0; j <= lb; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= la; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[lb];
}

char *suggest_nearest(const char *word, const char *const *words)
{
    const char *best = NULL;
    unsigned best_distance = (unsigned)MAX(strlen(word) / 3, (size_t)2) + 1;
    for (; *words; words++) {
        unsigned distance = edit_distance(word, *words);
        if (distance < best_distance) {
            best = *words;
            best_distance = distance;
        }
    }
    return g_strdup(best);
}
