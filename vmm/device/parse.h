/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The texts of property values. False (and nothing stored) when the whole text does not parse. */
#ifndef VMM_DEVICE_PARSE_H
#define VMM_DEVICE_PARSE_H

#include <stdbool.h>
#include <stdint.h>

bool value_parse_bool(const char *text, bool *value);     /* on off yes no true false y n */
bool value_parse_uint(const char *text, uint64_t *value); /* decimal, 0x, 0 octal */
bool value_parse_int(const char *text, int64_t *value);
bool value_parse_size(const char *text, uint64_t *value); /* bytes, "1.5G": b k M G T P E */
bool value_parse_mac(const char *text, uint8_t mac[6]);   /* six pairs with ':' or '-' */
bool value_parse_devfn(const char *text, int32_t *devfn); /* hex "slot[.function]" */

/* The edit distance of two words, for suggestions. */
unsigned word_distance(const char *a, const char *b);
/* Whether a name at that distance is worth suggesting for the word. */
bool word_is_near(const char *word, unsigned distance);

#endif
