/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libnbd, loaded when the first connection wants it: with it come TLS and XML libraries whose start
 * takes longer than Vireo's own.
 */
#ifndef BLOCK_NBD_LIBNBD_H
#define BLOCK_NBD_LIBNBD_H

#include <glib.h>
#include <libnbd.h>
#include <stdbool.h>

#define LIBNBD_FUNCTIONS(f)                                                                        \
    f(add_meta_context) f(aio_block_status) f(aio_connect_socket) f(aio_disconnect) f(aio_flush)   \
        f(aio_get_direction) f(aio_is_closed) f(aio_is_dead) f(aio_is_ready) f(aio_notify_read)    \
            f(aio_notify_write) f(aio_pread) f(aio_pwrite) f(aio_trim) f(aio_zero) f(can_cache)    \
                f(can_df) f(can_fast_zero) f(can_flush) f(can_fua) f(can_meta_context)             \
                    f(can_multi_conn) f(can_trim) f(can_zero) f(close) f(connect_tcp)              \
                        f(connect_unix) f(create) f(get_block_size) f(get_errno) f(get_error)      \
                            f(get_size) f(is_read_only) f(is_rotational) f(opt_abort) f(opt_info)  \
                                f(opt_list) f(opt_list_meta_context) f(set_export_name)            \
                                    f(set_handshake_flags) f(set_opt_mode)

#define LIBNBD_MEMBER(name) __typeof__(nbd_##name) *name;
typedef struct Libnbd {
    LIBNBD_FUNCTIONS(LIBNBD_MEMBER)
} Libnbd;
#undef LIBNBD_MEMBER

/* Its functions, each without the prefix nbd_; all are there once libnbd_load() was true. */
extern Libnbd libnbd;

/* Any thread; the second call costs nothing. */
bool libnbd_load(GError **error);

#endif
