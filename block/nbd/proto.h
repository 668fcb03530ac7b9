/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD protocol's numbers: NetworkBlockDevice/nbd, doc/proto.md. All fields are big-endian. */
#ifndef BLOCK_NBD_PROTO_H
#define BLOCK_NBD_PROTO_H

#define NBD_INIT_MAGIC             0x4e42444d41474943ULL /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC           0x49484156454f5054ULL /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC     0x0003e889045565a9ULL
#define NBD_REQUEST_MAGIC          0x25609513U
#define NBD_SIMPLE_REPLY_MAGIC     0x67446698U
#define NBD_STRUCTURED_REPLY_MAGIC 0x668e33efU

#define NBD_DEFAULT_PORT "10809"

/* Sizes in bytes. */
enum {
    NBD_GREETING_SIZE = 18,
    NBD_CLIENT_FLAGS_SIZE = 4,
    NBD_OPTION_SIZE = 16,
    NBD_OPTION_REPLY_SIZE = 20,
    NBD_REQUEST_SIZE = 28,
    NBD_SIMPLE_REPLY_SIZE = 16,
    NBD_CHUNK_SIZE = 20,
    NBD_EXTENT_SIZE = 8,
    NBD_MAX_STRING = 4096,
    NBD_MAX_REQUEST = 32 << 20,
};

/* Handshake flags, and the client's answer. */
enum { NBD_FIXED_NEWSTYLE = 1 << 0, NBD_NO_ZEROES = 1 << 1 };

/* Transmission flags. */
enum {
    NBD_FLAG_HAS_FLAGS = 1 << 0,
    NBD_FLAG_READ_ONLY = 1 << 1,
    NBD_FLAG_SEND_FLUSH = 1 << 2,
    NBD_FLAG_SEND_FUA = 1 << 3,
    NBD_FLAG_SEND_TRIM = 1 << 5,
    NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
    NBD_FLAG_SEND_DF = 1 << 7,
    NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
    NBD_FLAG_SEND_CACHE = 1 << 10,
    NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
};

enum {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ACK          1U
#define NBD_REP_SERVER       2U
#define NBD_REP_INFO         3U
#define NBD_REP_META_CONTEXT 4U
#define NBD_REP_ERR_UNSUP    0x80000001U
#define NBD_REP_ERR_POLICY   0x80000002U
#define NBD_REP_ERR_INVALID  0x80000003U
#define NBD_REP_ERR_UNKNOWN  0x80000006U
#define NBD_REP_ERR_TOO_BIG  0x80000009U

enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };

enum {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};

enum {
    NBD_CMD_FLAG_FUA = 1 << 0,
    NBD_CMD_FLAG_NO_HOLE = 1 << 1,
    NBD_CMD_FLAG_DF = 1 << 2,
    NBD_CMD_FLAG_REQ_ONE = 1 << 3,
    NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
};

enum { NBD_REPLY_FLAG_DONE = 1 << 0 };
enum {
    NBD_REPLY_TYPE_NONE = 0,
    NBD_REPLY_TYPE_OFFSET_DATA = 1,
    NBD_REPLY_TYPE_OFFSET_HOLE = 2,
    NBD_REPLY_TYPE_BLOCK_STATUS = 5,
    NBD_REPLY_TYPE_ERROR = 0x8001,
};

/* base:allocation */
enum { NBD_STATE_HOLE = 1 << 0, NBD_STATE_ZERO = 1 << 1 };
/* Of qemu:dirty-bitmap:NAME (QEMU's docs/interop/nbd.txt). */
enum { NBD_STATE_DIRTY = 1 << 0 };

/* Error values on the wire: Linux' numbers, whatever the host's are. */
enum {
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108,
};

#endif
