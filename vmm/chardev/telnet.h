/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The telnet protocol (RFC 854, 856, 857, 858) as far as a serial console needs it. */
#ifndef VMM_CHARDEV_TELNET_H
#define VMM_CHARDEV_TELNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TELNET_IAC 255

typedef struct TelnetParser {
    uint8_t state;
    bool after_cr;
} TelnetParser;

/* What a server says first: it echoes, suppresses go-ahead, both sides are binary. */
extern const uint8_t telnet_greeting[12];

void telnet_reset(TelnetParser *parser);
/* Takes the protocol out of data in place, returns the length of what is left; *breaks counts BREAK
 * commands. Any bytes may come, split anywhere. */
size_t telnet_decode(TelnetParser *parser, uint8_t *data, size_t len, unsigned *breaks);

#endif
