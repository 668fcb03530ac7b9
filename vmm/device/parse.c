/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The texts of property values. */
#include "vmm/device/parse.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX_LENGTH 64

bool value_parse_bool(const char *text, bool *value)
{
    static const char *const on[] = { "on", "yes", "true", "y" };
    static const char *const off[] = { "off", "no", "false", "n" };
    for (size_t i = 0; i < G_N_ELEMENTS(on); i++) {
        if (strcmp(text, on[i]) == 0 || strcmp(text, off[i]) == 0) {
            *value = strcmp(text, on[i]) == 0;
            return true;
        }
    }
    return false;
}

bool value_parse_uint(const char *text, uint64_t *value)
{
    if (!g_ascii_isdigit(text[0])) {
        return false;
    }
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 0);
    if (errno || *end) {
        return false;
    }
    *value = parsed;
    return true;
}

bool value_parse_int(const char *text, int64_t *value)
{
    if (!g_ascii_isdigit(text[0]) && !(text[0] == '-' && g_ascii_isdigit(text[1]))) {
        return false;
    }
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 0);
    if (errno || *end) {
        return false;
    }
    *value = parsed;
    return true;
}

static bool suffix_shift(const char *suffix, unsigned *shift)
{
    static const char letters[] = "BKMGTPE";
    *shift = 0;
    if (!suffix[0]) {
        return true;
    }
    const char *found = strchr(letters, g_ascii_toupper(suffix[0]));
    if (!found || suffix[1]) {
        return false;
    }
    *shift = (unsigned)(found - letters) * 10;
    return true;
}

bool value_parse_size(const char *text, uint64_t *value)
{
    if (!g_ascii_isdigit(text[0])) {
        return false;
    }
    char *end;
    errno = 0;
    bool hex = text[0] == '0' && g_ascii_tolower(text[1]) == 'x';
    unsigned long long whole = strtoull(text, &end, hex ? 16 : 10);
    double fraction = 0;
    if (errno) {
        return false;
    }
    if (*end == '.') {
        double scale = 0.1;
        for (end++; g_ascii_isdigit(*end); end++, scale /= 10) {
            fraction += (*end - '0') * scale;
        }
    }
    unsigned shift;
    if (!suffix_shift(end, &shift) || (shift && whole >> (64 - shift)) ||
        (fraction > 0 && shift == 0)) {
        return false;
    }
    *value = ((uint64_t)whole << shift) + (uint64_t)(fraction * (double)(1ULL << shift));
    return true;
}

bool value_parse_mac(const char *text, uint8_t mac[6])
{
    uint8_t parsed[6];
    for (int i = 0; i < 6; i++) {
        if (!g_ascii_isxdigit(text[0]) || !g_ascii_isxdigit(text[1])) {
            return false;
        }
        parsed[i] = (uint8_t)(g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]));
        text += 2;
        if (i < 5 && *text != ':' && *text != '-') {
            return false;
        }
        text += i < 5;
    }
    if (*text) {
        return false;
    }
    memcpy(mac, parsed, sizeof(parsed));
    return true;
}

bool value_parse_devfn(const char *text, int32_t *devfn)
{
    char *end;
    if (!g_ascii_isxdigit(text[0])) {
        return false;
    }
    unsigned long slot = strtoul(text, &end, 16);
    unsigned long function = 0;
    if (*end == '.' && g_ascii_isxdigit(end[1])) {
        function = strtoul(end + 1, &end, 16);
    }
    if (*end || slot > 31 || function > 7) {
        return false;
    }
    *devfn = (int32_t)(slot << 3 | function);
    return true;
}

unsigned word_distance(const char *a, const char *b)
{
    size_t width = strlen(b);
    if (width > WORD_MAX_LENGTH || strlen(a) > WORD_MAX_LENGTH) {
        return G_MAXUINT;
    }
    unsigned row[WORD_MAX_LENGTH + 1];
    for (size_t j = 0; j <= width; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 0; a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 1; j <= width; j++) {
            unsigned change = diagonal + (a[i] != b[j - 1]);
            diagonal = row[j];
            row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[width];
}

bool word_is_near(const char *word, unsigned distance)
{
    size_t length = strlen(word);
    return distance <= 1 + length / 4;
}
