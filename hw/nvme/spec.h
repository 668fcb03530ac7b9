/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers of the NVM Express Base Specification 1.4. */
#ifndef HW_NVME_SPEC_H
#define HW_NVME_SPEC_H

#include <stdint.h>

/* Registers (3.1). */
enum {
    NVME_REG_CAP = 0x00,
    NVME_REG_VS = 0x08,
    NVME_REG_INTMS = 0x0c,
    NVME_REG_INTMC = 0x10,
    NVME_REG_CC = 0x14,
    NVME_REG_CSTS = 0x1c,
    NVME_REG_AQA = 0x24,
    NVME_REG_ASQ = 0x28,
    NVME_REG_ACQ = 0x30,
    NVME_REG_DOORBELLS = 0x1000,
};

#define NVME_CC_EN        (1u << 0)
#define NVME_CC_CSS(cc)   ((cc) >> 4 & 7)
#define NVME_CC_MPS(cc)   ((cc) >> 7 & 0xf)
#define NVME_CC_AMS(cc)   ((cc) >> 11 & 7)
#define NVME_CC_SHN(cc)   ((cc) >> 14 & 3)
#define NVME_CC_IOSQES(c) ((c) >> 16 & 0xf)
#define NVME_CC_IOCQES(c) ((c) >> 20 & 0xf)
#define NVME_CC_WRITABLE  0x00fffff1u

#define NVME_CSTS_RDY       (1u << 0)
#define NVME_CSTS_CFS       (1u << 1)
#define NVME_CSTS_SHST_MASK (3u << 2)
#define NVME_CSTS_SHST_BUSY (1u << 2)
#define NVME_CSTS_SHST_DONE (2u << 2)

/* Command sets that CC.CSS selects. */
enum { NVME_CSS_NVM = 0, NVME_CSS_ALL = 6, NVME_CSS_ADMIN_ONLY = 7 };

#define NVME_NSID_ALL 0xffffffffu

enum {
    NVME_ADMIN_DELETE_SQ = 0x00,
    NVME_ADMIN_CREATE_SQ = 0x01,
    NVME_ADMIN_GET_LOG = 0x02,
    NVME_ADMIN_DELETE_CQ = 0x04,
    NVME_ADMIN_CREATE_CQ = 0x05,
    NVME_ADMIN_IDENTIFY = 0x06,
    NVME_ADMIN_ABORT = 0x08,
    NVME_ADMIN_SET_FEATURES = 0x09,
    NVME_ADMIN_GET_FEATURES = 0x0a,
    NVME_ADMIN_ASYNC_EVENT = 0x0c,
    NVME_ADMIN_DOORBELL_BUFFER = 0x7c,
    NVME_ADMIN_FORMAT = 0x80,
};

enum {
    NVME_IO_FLUSH = 0x00,
    NVME_IO_WRITE = 0x01,
    NVME_IO_READ = 0x02,
    NVME_IO_COMPARE = 0x05,
    NVME_IO_WRITE_ZEROES = 0x08,
    NVME_IO_DATASET = 0x09,
    NVME_IO_VERIFY = 0x0c,
};

enum {
    NVME_FEATURE_ARBITRATION = 0x01,
    NVME_FEATURE_POWER = 0x02,
    NVME_FEATURE_TEMPERATURE = 0x04,
    NVME_FEATURE_ERROR_RECOVERY = 0x05,
    NVME_FEATURE_WRITE_CACHE = 0x06,
    NVME_FEATURE_QUEUES = 0x07,
    NVME_FEATURE_COALESCING = 0x08,
    NVME_FEATURE_VECTOR = 0x09,
    NVME_FEATURE_ATOMICITY = 0x0a,
    NVME_FEATURE_ASYNC_EVENT = 0x0b,
    NVME_FEATURE_TIMESTAMP = 0x0e,
    NVME_FEATURE_HOST_BEHAVIOR = 0x16,
    NVME_FEATURE_COMMAND_SETS = 0x19,
};

enum {
    NVME_LOG_ERROR = 0x01,
    NVME_LOG_SMART = 0x02,
    NVME_LOG_FIRMWARE = 0x03,
    NVME_LOG_CHANGED_NS = 0x04,
    NVME_LOG_COMMANDS = 0x05,
};

/* Status: type in bits 8 to 10, code below (4.6.1). */
enum {
    NVME_SUCCESS = 0x000,
    NVME_INVALID_OPCODE = 0x001,
    NVME_INVALID_FIELD = 0x002,
    NVME_DATA_TRANSFER = 0x004,
    NVME_INTERNAL = 0x006,
    NVME_ABORTED = 0x007,
    NVME_INVALID_NAMESPACE = 0x00b,
    NVME_SGL_SEGMENT = 0x00d,
    NVME_SGL_COUNT = 0x00e,
    NVME_SGL_LENGTH = 0x00f,
    NVME_SGL_TYPE = 0x011,
    NVME_INVALID_PRP = 0x013,
    NVME_SGL_OFFSET = 0x016,
    NVME_WRITE_PROTECTED = 0x020,
    NVME_LBA_RANGE = 0x080,
    NVME_CAPACITY = 0x081,
    NVME_FORMAT_BUSY = 0x084,
    NVME_INVALID_CQ = 0x100,
    NVME_INVALID_QID = 0x101,
    NVME_INVALID_QUEUE_SIZE = 0x102,
    NVME_TOO_MANY_EVENTS = 0x105,
    NVME_INVALID_VECTOR = 0x108,
    NVME_INVALID_LOG = 0x109,
    NVME_INVALID_FORMAT = 0x10a,
    NVME_INVALID_DELETION = 0x10c,
    NVME_NOT_SAVEABLE = 0x10d,
    NVME_NOT_CHANGEABLE = 0x10e,
    NVME_SETS_REJECTED = 0x12b,
    NVME_WRITE_FAULT = 0x280,
    NVME_READ_ERROR = 0x281,
    NVME_COMPARE_FAILURE = 0x285,
    NVME_MORE = 0x2000,    /* the error log has more on it */
    NVME_DNR = 0x4000,     /* the same again fails again */
    NVME_PENDING = 0xffff, /* our own: completes later */
};

/* Asynchronous events: type, information, log page (5.2). */
enum { NVME_EVENT_ERROR = 0, NVME_EVENT_SMART = 1, NVME_EVENT_NOTICE = 2, NVME_EVENT_TYPES = 3 };
enum { NVME_ERROR_DOORBELL_REGISTER = 0, NVME_ERROR_DOORBELL_VALUE = 1 };
enum { NVME_SMART_TEMPERATURE = 1 };
enum { NVME_NOTICE_NS_CHANGED = 0 };

/* CDW0 flags: PRP or SGL, fused operations. */
#define NVME_FLAG_FUSE(flags) ((flags)&3)
#define NVME_FLAG_PSDT(flags) ((flags) >> 6)

/* SGL descriptor types (4.4), in the high half of the last byte. */
enum { NVME_SGL_DATA = 0, NVME_SGL_SEGMENT_TYPE = 2, NVME_SGL_LAST_SEGMENT = 3 };

typedef struct NvmeSgl {
    uint64_t address;
    uint32_t length;
    uint8_t reserved[3];
    uint8_t type;
} NvmeSgl;

typedef struct NvmeCommand {
    uint8_t opcode;
    uint8_t flags;
    uint16_t cid;
    uint32_t nsid;
    uint32_t cdw2, cdw3;
    uint64_t mptr;
    union {
        struct {
            uint64_t prp1, prp2;
        };
        NvmeSgl sgl;
    };
    uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
} NvmeCommand;

typedef struct NvmeCompletion {
    uint32_t dw0, dw1;
    uint16_t sq_head, sq_id;
    uint16_t cid, status;
} NvmeCompletion;

_Static_assert(sizeof(NvmeCommand) == 64, "submission queue entry");
_Static_assert(sizeof(NvmeCompletion) == 16, "completion queue entry");

#endif
