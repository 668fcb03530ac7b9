/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The packet layer of GDB's remote protocol (GDB manual, appendix "GDB Remote Serial Protocol",
 * "Overview"): $DATA#CHECKSUM, acknowledgements, the interrupt byte. No sockets, no machine.
 */
#ifndef VMM_GDBSTUB_PACKET_H
#define VMM_GDBSTUB_PACKET_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define GDB_PACKET_MAX 16384 /* bytes of data in a request, and what qSupported tells */

typedef enum GdbInput {
    GDB_INPUT_NONE,      /* more bytes are needed */
    GDB_INPUT_PACKET,    /* a good one: reader->data, unescaped */
    GDB_INPUT_BAD,       /* its checksum was wrong */
    GDB_INPUT_TOO_LONG,  /* it ended, and was longer than GDB_PACKET_MAX */
    GDB_INPUT_ACK,       /* '+' */
    GDB_INPUT_NAK,       /* '-': the last packet is wanted again */
    GDB_INPUT_INTERRUPT, /* Ctrl-C */
} GdbInput;

typedef struct GdbReader {
    GString *data; /* of the packet that was read last; a zero byte follows it */
    /* private */
    enum { GDB_READ_IDLE, GDB_READ_DATA, GDB_READ_ESCAPED, GDB_READ_SUM1, GDB_READ_SUM2 } state;
    uint8_t sum, given;
    bool too_long;
} GdbReader;

void gdb_reader_init(GdbReader *reader);
void gdb_reader_cleanup(GdbReader *reader);
void gdb_reader_reset(GdbReader *reader); /* forgets a packet that was begun */
GdbInput gdb_reader_feed(GdbReader *reader, uint8_t byte);

/* Appends $DATA#CHECKSUM; data is sent as it is, its special bytes escaped before
 * (gdb_append_escaped()). */
void gdb_append_packet(GString *out, const GString *data);
void gdb_append_escaped(GString *out, const void *data, size_t len);
void gdb_append_hex(GString *out, const void *data, size_t len);

/* Two hex digits a byte; false unless `text` has at least 2 * len of them. */
bool gdb_parse_hex(const char *text, uint8_t *data, size_t len);
/* A hex number of at most 64 bits at *text, which is moved behind it; false when there is none, or
 * it is too big. */
bool gdb_parse_number(const char **text, uint64_t *value);
/* The same, and then the character c. */
bool gdb_parse_number_and(const char **text, uint64_t *value, char c);

#endif
