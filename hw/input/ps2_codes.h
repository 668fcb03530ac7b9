/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scan codes: what a key sends in each set, and the 8042's translation of set 2 into set 1. */
#ifndef HW_INPUT_PS2_CODES_H
#define HW_INPUT_PS2_CODES_H

#include "ui/input.h"

#define PS2_SEQUENCE_MAX 8
#define PS2_RELEASE      0xf0 /* in front of a release in sets 2 and 3 */

/* A key's bytes in a set (1 to 3): how many, 0 for none. `ctrl`, `shift`, `alt`: what is held. */
typedef struct Ps2Modifiers {
    bool ctrl, shift, alt;
} Ps2Modifiers;

unsigned ps2_sequence(InputKey key, bool down, unsigned set, Ps2Modifiers held, uint8_t *out);

/* The byte that the controller makes of one of set 2 (0xf0 is not for it). */
uint8_t ps2_translate(uint8_t byte);

/* How keys of set 3 behave after a reset. */
typedef enum Ps2KeyType {
    PS2_KEY_TYPEMATIC, /* repeats, says nothing of its release */
    PS2_KEY_MAKE,      /* one code a press */
    PS2_KEY_MAKE_BREAK,
    PS2_KEY_ALL, /* repeats, and tells its release */
} Ps2KeyType;
Ps2KeyType ps2_default_type(uint8_t code);

#endif
