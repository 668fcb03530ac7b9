/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The telnet protocol (RFC 854, 856, 857, 858) as far as a serial console needs it. */
#include "vmm/chardev/telnet.h"

enum {
    TELNET_SE = 240,
    TELNET_BREAK = 243,
    TELNET_SB = 250,
    TELNET_WILL,
    TELNET_WONT,
    TELNET_DO,
    TELNET_DONT
};
enum { OPTION_BINARY = 0, OPTION_ECHO = 1, OPTION_SUPPRESS_GO_AHEAD = 3 };
enum { STATE_DATA, STATE_IAC, STATE_OPTION, STATE_SUB, STATE_SUB_IAC };

const uint8_t telnet_greeting[12] = {
    TELNET_IAC, TELNET_WILL, OPTION_ECHO,   TELNET_IAC, TELNET_WILL, OPTION_SUPPRESS_GO_AHEAD,
    TELNET_IAC, TELNET_WILL, OPTION_BINARY, TELNET_IAC, TELNET_DO,   OPTION_BINARY,
};

void telnet_reset(TelnetParser *parser)
{
    *parser = (TelnetParser){ .state = STATE_DATA };
}

static uint8_t after_command(uint8_t command)
{
    switch (command) {
    case TELNET_SB:
        return STATE_SUB;
    case TELNET_WILL:
    case TELNET_WONT:
    case TELNET_DO:
    case TELNET_DONT:
        return STATE_OPTION;
    default:
        return STATE_DATA;
    }
}

/* One data byte; a client that stays out of binary mode sends Enter as CR NUL (RFC 854, page 12).
 */
static size_t put_data(TelnetParser *parser, uint8_t *data, size_t kept, uint8_t byte)
{
    bool padding = parser->after_cr && byte == 0;
    parser->after_cr = byte == '\r';
    if (!padding) {
        data[kept++] = byte;
    }
    return kept;
}

size_t telnet_decode(TelnetParser *parser, uint8_t *data, size_t len, unsigned *breaks)
{
    size_t kept = 0;
    *breaks = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = data[i];
        switch (parser->state) {
        case STATE_DATA:
            if (byte == TELNET_IAC) {
                parser->state = STATE_IAC;
            } else {
                kept = put_data(parser, data, kept, byte);
            }
            break;
        case STATE_IAC:
            parser->state = after_command(byte);
            if (byte == TELNET_IAC) {
                kept = put_data(parser, data, kept, byte);
            } else if (byte == TELNET_BREAK) {
                (*breaks)++;
            }
            break;
        case STATE_OPTION:
            parser->state = STATE_DATA;
            break;
        case STATE_SUB:
            parser->state = byte == TELNET_IAC ? STATE_SUB_IAC : STATE_SUB;
            break;
        default: /* STATE_SUB_IAC */
            parser->state = byte == TELNET_SE ? STATE_DATA : STATE_SUB;
            break;
        }
    }
    return kept;
}
