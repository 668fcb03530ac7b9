/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Puts a guest's IPv4 fragments together (RFC 791, section 3.2). */
#include "net/fragments.h"

#include <glib.h>
#include <string.h>
#include "vmm/event/clock.h"
#include "vmm/util/bytes.h"

enum {
    ETHER_HEADER = 14,
    ETHERTYPE = 12,
    IP_HEADER_MIN = 20,
    IP_HEADER_MAX = 60,
    IP_LENGTH = 2,
    IP_ID = 4,
    IP_FRAGMENT = 6,
    IP_PROTOCOL = 9,
    IP_CHECKSUM = 10,
    IP_SOURCE = 12
};
#define MORE_FRAGMENTS 0x2000
#define OFFSET_MASK    0x1fff
#define UNIT           8 /* offsets count in these */
#define IP_MAX         65535

#define IN_PROGRESS 4
#define LIFETIME    (30 * NS_PER_SEC)

typedef struct Datagram {
    bool used;
    int64_t started;
    uint8_t key[11]; /* source, destination, identification, protocol */
    uint8_t header[ETHER_HEADER + IP_HEADER_MAX]; /* of the part at offset 0 */
    size_t header_len;                            /* of IP; 0: that part is missing */
    size_t total;                                 /* bytes of payload; 0: the end is missing */
    size_t received;                              /* bytes */
    size_t end;                                   /* of the farthest part */
    uint8_t units[(IP_MAX + 1) / UNIT / 8];       /* a bit for each that came */
    uint8_t payload[IP_MAX + 1];
} Datagram;

struct Fragments {
    Datagram *datagrams[IN_PROGRESS]; /* made when first needed */
    uint8_t frame[ETHER_HEADER + IP_MAX];
};

Fragments *fragments_new(void)
{
    return g_new0(Fragments, 1);
}

void fragments_free(Fragments *f)
{
    for (unsigned i = 0; f && i < IN_PROGRESS; i++) {
        g_free(f->datagrams[i]);
    }
    g_free(f);
}

bool fragments_is_part(const uint8_t *frame, size_t size)
{
    return size >= ETHER_HEADER + IP_HEADER_MIN && load_be16(frame + ETHERTYPE) == 0x0800 &&
           (load_be16(frame + ETHER_HEADER + IP_FRAGMENT) & (MORE_FRAGMENTS | OFFSET_MASK));
}

static uint16_t checksum(const uint8_t *header, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i += 2) {
        sum += load_be16(header + i);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    return ~(sum + (sum >> 16));
}

static void make_key(uint8_t *key, const uint8_t *ip)
{
    memcpy(key, ip + IP_SOURCE, 8);
    memcpy(key + 8, ip + IP_ID, 2);
    key[10] = ip[IP_PROTOCOL];
}

/* The datagram that the part belongs to; else a free place, or that of the oldest. */
static Datagram *find_datagram(Fragments *f, const uint8_t *ip, int64_t now)
{
    uint8_t key[11];
    Datagram **place = &f->datagrams[0];
    make_key(key, ip);
    for (unsigned i = 0; i < IN_PROGRESS; i++) {
        Datagram *d = f->datagrams[i];
        if (d && d->used && now - d->started > LIFETIME) {
            d->used = false;
        }
        if (d && d->used && !memcmp(d->key, key, sizeof(key))) {
            return d;
        }
        if (*place && (*place)->used && (!d || !d->used || d->started < (*place)->started)) {
            place = &f->datagrams[i];
        }
    }
    if (!*place) {
        *place = g_new0(Datagram, 1);
    }
    Datagram *d = *place;
    d->used = true;
    d->started = now;
    d->header_len = d->total = d->received = d->end = 0;
    memcpy(d->key, key, sizeof(key));
    memset(d->units, 0, sizeof(d->units));
    return d;
}

/* Marks the units of [offset, offset + len); false when one was there already. */
static bool mark_units(Datagram *d, size_t offset, size_t len)
{
    for (size_t unit = offset / UNIT; unit * UNIT < offset + len; unit++) {
        uint8_t bit = 1 << unit % 8;
        if (d->units[unit / 8] & bit) {
            return false;
        }
        d->units[unit / 8] |= bit;
    }
    return true;
}

/* False: it contradicts what came before, and the datagram is lost. */
static bool add_part(Datagram *d, const uint8_t *frame, size_t header_len, size_t ip_len)
{
    const uint8_t *ip = frame + ETHER_HEADER;
    uint16_t field = load_be16(ip + IP_FRAGMENT);
    size_t offset = (size_t)(field & OFFSET_MASK) * UNIT, len = ip_len - header_len;
    bool more = field & MORE_FRAGMENTS;
    if (!len || (more && len % UNIT) || offset + len > IP_MAX - IP_HEADER_MAX ||
        (d->total && offset + len > d->total) || (!more && d->total) ||
        !mark_units(d, offset, len)) {
        return false;
    }
    if (!more) {
        d->total = offset + len;
    }
    if (offset == 0) {
        memcpy(d->header, frame, ETHER_HEADER + header_len);
        d->header_len = header_len;
    }
    memcpy(d->payload + offset, ip + header_len, len);
    d->received += len;
    d->end = MAX(d->end, offset + len);
    return !d->total || d->end == d->total;
}

static const uint8_t *whole_frame(Fragments *f, Datagram *d, size_t *size)
{
    uint8_t *ip = f->frame + ETHER_HEADER;
    memcpy(f->frame, d->header, ETHER_HEADER + d->header_len);
    memcpy(ip + d->header_len, d->payload, d->total);
    store_be16(ip + IP_LENGTH, d->header_len + d->total);
    store_be16(ip + IP_FRAGMENT, 0);
    store_be16(ip + IP_CHECKSUM, 0);
    store_be16(ip + IP_CHECKSUM, checksum(ip, d->header_len));
    *size = ETHER_HEADER + d->header_len + d->total;
    d->used = false;
    return f->frame;
}

const uint8_t *fragments_take(Fragments *f, const uint8_t *frame, size_t *size, int64_t now)
{
    const uint8_t *ip = frame + ETHER_HEADER;
    size_t header_len = (ip[0] & 0x0f) * 4, ip_len = load_be16(ip + IP_LENGTH);
    if (ip[0] >> 4 != 4 || header_len < IP_HEADER_MIN || ip_len < header_len ||
        ip_len > *size - ETHER_HEADER || checksum(ip, header_len) != 0) {
        return NULL;
    }
    Datagram *d = find_datagram(f, ip, now);
    if (!add_part(d, frame, header_len, ip_len)) {
        d->used = false;
        return NULL;
    }
    return d->total && d->header_len && d->received == d->total ? whole_frame(f, d, size) : NULL;
}
